package transporttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
)

// rooming: what only a connection with several rooms has.
func rooming() []scenario {
	return []scenario{
		{name: "several rooms", on: rooms, run: severalRooms},
		{name: "leave and come back", on: rooms, run: leaveAndComeBack},
		{name: "leave what is not joined", on: rooms, run: leaveNothing},
		{name: "messages that are refused", on: rooms, run: refusedMessages},
		{name: "messages that are odd", on: rooms, run: oddMessages},
		{name: "messages that end the connection", on: codes, run: fatalMessages},
		{name: "too many messages", mode: fakeOnly, on: codes, run: messageLimit},
		{name: "room limit", on: rooms, run: roomLimit},
		{name: "signs of life on a socket", mode: fakeOnly, on: rooms, run: socketLife},
		{name: "signs of life while events flow", mode: fakeOnly, on: rooms, run: busyLife},
		{name: "a silent peer", mode: fakeOnly, on: rooms, run: silentPeer},
	}
}

// connect opens a connection without a room.
func (s *stage) connect() Connection {
	s.Helper()
	c, err := s.tr.Connect(s.ctx, s.caller())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	s.until(c, "connected")
	return c
}

func (s *stage) tell(c Connection, event string, data any) {
	s.Helper()
	if err := c.Say(event, data); err != nil {
		s.Fatal(err)
	}
}

// severalRooms: an event comes once however many rooms match, in log order; a
// room that starts earlier is replayed between its subscribed and its live.
func severalRooms(s *stage) {
	a, b, other := s.log.Begin(s), s.log.Begin(s), s.log.Begin(s)
	c := s.connect()
	for _, w := range []*Work{a, b} {
		s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "from": "start"})
		sub, _ := s.until(c, "subscribed")
		if room := field[string](s, sub.Data, "room"); room != "job:"+w.Job {
			s.Errorf("subscribed to %s", room)
		}
		_, history := s.until(c, "live")
		Same(s, history, s.log.Entries(w.Job))
	}
	s.tell(c, "subscribe", map[string]any{})
	if _, got := s.until(c, "live"); len(got) > 0 {
		s.Errorf("the client's room began with %d events of the past", len(got))
	}
	head := s.log.Head()
	for range 5 {
		a.Emit(s, 2, 1)
		other.Emit(s, 1, 1)
		b.Emit(s, 3, 3)
	}
	Same(s, s.events(c, 30), s.log.After(s, "", head))
	s.tell(c, "unsubscribe", map[string]any{}) // the client's room alone
	s.until(c, "unsubscribed")
	other.Emit(s, 2, 1)
	a.Finish(s)
	b.Emit(s, 1, 1)
	got := s.events(c, 1)
	if end, _ := s.until(c, "end"); field[string](s, end.Data, "jobId") != a.Job || !strings.Contains(string(got[0].Event), "job.completed") {
		s.Errorf("after %s: end %s", got[0].Event, end.Data)
	}
}

// leaveAndComeBack: the cursor of unsubscribed is where to go on.
func leaveAndComeBack(s *stage) {
	w := s.log.Begin(s)
	c := s.connect()
	var got []Item
	from := ""
	for range 8 {
		s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "lastEventId": from, "from": "start"})
		_, history := s.until(c, "live")
		got = append(got, history...)
		w.Emit(s, 3, 1)
		got = append(got, s.events(c, 2)...) // leave while one is under way
		s.tell(c, "unsubscribe", map[string]any{"jobId": w.Job})
		left, late := s.until(c, "unsubscribed")
		got = append(got, late...)
		from = field[string](s, left.Data, "cursor")
		w.Emit(s, 1, 1) // not seen until it comes back
	}
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "lastEventId": from})
	_, history := s.until(c, "live")
	Same(s, append(got, history...), s.log.Entries(w.Job))
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job}) // joined already: nothing is replayed
	again, replayed := s.until(c, "subscribed")
	if len(replayed) > 0 || field[string](s, again.Data, "cursor") != s.log.Head() {
		s.Errorf("again: %s after %d events, the log is at %s", again.Data, len(replayed), s.log.Head())
	}
}

// leaveNothing: whoever leaves a room is out of it, whatever it is, and is told so. A
// room that was not joined has no cursor, and looks the same whosever it is.
func leaveNothing(s *stage) {
	foreign, own, over := s.client("globex").Begin(s), s.log.Begin(s), s.log.Begin(s)
	over.Finish(s)
	c := s.connect()
	s.tell(c, "subscribe", map[string]any{"jobId": over.Job})
	s.until(c, "end")
	for _, job := range []string{over.Job, over.Job, own.Job, foreign.Job, uuid.NewString(), "../../x", strings.Repeat("x", 30_000), ""} {
		s.tell(c, "unsubscribe", map[string]any{"jobId": job})
		it, _ := s.until(c, "unsubscribed")
		want := fmt.Sprintf(`{"room":"job:%.64s","jobId":"%.64[1]s"}`, job)
		if job == "" {
			want = `{"room":"client:acme","clientId":"acme"}`
		}
		if string(it.Data) != want {
			s.Errorf("left %.64q: %.300s", job, it.Data)
		}
	}
	s.tell(c, "subscribe", map[string]any{"jobId": own.Job})
	s.until(c, "live")
	own.Emit(s, 1, 1)
	s.events(c, 1)
}

// refusedMessages are answered and close nothing.
func refusedMessages(s *stage) {
	w := s.client("globex").Begin(s)
	mine := s.log.Begin(s)
	c := s.connect()
	for _, m := range []struct {
		event, data string
		code        string
	}{
		{"subscribe", fmt.Sprintf(`{"jobId":%q}`, w.Job), "not_found"},
		{"subscribe", fmt.Sprintf(`{"jobId":%q}`, uuid.NewString()), "not_found"},
		{"subscribe", `{"jobId":"../../x"}`, "not_found"},
		{"subscribe", `{"jobId":7}`, "malformed"},
		{"subscribe", `{"from":"yesterday"}`, "invalid"},
		{"unsubscribe", `{"jobId":7}`, "malformed"},
		{"subscribe", `{"jobId":"` + strings.Repeat("x", 30_000) + `"}`, "not_found"},
		{strings.Repeat("x", 30_000), `{}`, "invalid"},
		{"publish", `{}`, "invalid"},
	} {
		s.tell(c, m.event, json.RawMessage(m.data))
		it, _ := s.until(c, "problem")
		if p := s.problem(it.Data); p.Code != m.code || len(it.Data) > 1000 {
			s.Errorf("%.40s %.60s: %.1000s", m.event, m.data, it.Data)
		}
	}
	s.tell(c, "subscribe", map[string]any{})
	s.until(c, "live")
	head := s.log.Head()
	w.Emit(s, 3, 1) // nothing of it comes
	mine.Emit(s, 2, 1)
	Same(s, s.events(c, 2), s.log.After(s, "", head))
}

// oddMessages are JSON that some encoders make and others refuse. What is not looked
// at does not matter; of a member that stands twice the last one counts.
func oddMessages(s *stage) {
	w := s.log.Begin(s)
	c := s.connect()
	deep := strings.Repeat("[", 9000) + strings.Repeat("]", 9000)
	for _, extra := range []string{`"x":"\ud83d"`, `"\ude00":1`, `"jobId":"another"`, `"x":1,"x":2`, `"x":` + deep, `"x":1e999`, `"x":` + strings.Repeat("9", 5000)} {
		data := json.RawMessage(fmt.Sprintf(`{%s,"jobId":%q}`, extra, w.Job))
		s.tell(c, "pong", data)
		s.tell(c, "subscribe", data)
		s.until(c, "live")
		s.tell(c, "unsubscribe", data)
		if it, _ := s.until(c, "unsubscribed"); field[string](s, it.Data, "jobId") != w.Job {
			s.Errorf("with %.40s: left %s", extra, it.Data)
		}
	}
	s.tell(c, "subscribe", json.RawMessage(`{"jobId":"\ud83d"}`))
	it, _ := s.until(c, "problem")
	if p := s.problem(it.Data); p.Code != "not_found" {
		s.Errorf("a job of half a surrogate: %s", it.Data)
	}
}

// fatalMessages end the connection with a code, and nobody else's.
func fatalMessages(s *stage) {
	neighbour := s.open(Opening{})
	for name, tc := range map[string]struct {
		b0   byte
		data string
		code int
	}{
		"not JSON":        {0x81, "hello", 4500},
		"not an object":   {0x81, "[]", 4500},
		"no event":        {0x81, `{"data":{}}`, 4500},
		"not UTF-8":       {0x81, "\xff", 1007},
		"binary":          {0x82, "x", 1003},
		"too big":         {0x81, strings.Repeat("x", 64<<10+1), 1009},
		"compressed":      {0xC1, "x", 1002},
		"a close":         {0x88, "\x03\xe8", 1000},
		"a close of 4000": {0x88, "\x0f\xa0bye", 4000},
	} {
		c := s.connect().(*Socket)
		if err := c.write(tc.b0, []byte(tc.data)); err != nil {
			s.Fatal(err)
		}
		var end *closed
		for end == nil {
			if _, err := c.read(); err != nil && !errors.As(err, &end) {
				s.Errorf("%s: %v", name, err)
				break
			}
		}
		if end != nil && end.code != tc.code {
			s.Errorf("%s: %v, want %d", name, end, tc.code)
		}
		c.Close()
	}
	w := s.log.Begin(s)
	w.Emit(s, 1, 1)
	s.events(neighbour, 3)
}

// messageLimit: 200 messages at once are heard, and 100 more after a second. The next
// one ends the connection.
func messageLimit(s *stage) {
	c := s.connect().(*Socket)
	send := func(n int) {
		for range n {
			if err := c.write(0x81, []byte(`{"event":"pong"}`)); err != nil {
				s.Fatal(err)
			}
		}
	}
	heard := func() {
		s.tell(c, "unsubscribe", map[string]any{})
		s.until(c, "unsubscribed")
	}
	send(199)
	heard()
	<-time.After(time.Second)
	send(99)
	heard()
	send(1)
	var end *closed
	for end == nil {
		if _, err := c.read(); err != nil && !errors.As(err, &end) {
			s.Fatal(err)
		}
	}
	if end.code != 4029 {
		s.Errorf("%v, want 4029", end)
	}
	c.Close()
}

func roomLimit(s *stage) {
	const rooms = 100
	c := s.connect()
	var last *Work
	for range rooms {
		last = s.log.Submit(s)
		s.tell(c, "subscribe", map[string]any{"jobId": last.Job})
		s.until(c, "live")
	}
	s.tell(c, "subscribe", map[string]any{})
	it, _ := s.until(c, "problem")
	if p := s.problem(it.Data); p.Status != http.StatusUnprocessableEntity {
		s.Errorf("room 101: %s", it.Data)
	}
	s.tell(c, "unsubscribe", map[string]any{"jobId": last.Job})
	s.until(c, "unsubscribed")
	s.tell(c, "subscribe", map[string]any{})
	s.until(c, "live")
}

// socketLife: something comes in good time, and the application's ping every
// 30 s; a peer whose socket answers by itself is never disconnected.
func socketLife(s *stage) {
	c := s.connect()
	opened := time.Now()
	last, lastPing := opened, opened
	for time.Since(lastPing) < 5*time.Minute {
		it, err := c.Next()
		if err != nil {
			s.Fatal(err)
		}
		if gap := time.Since(last); gap > s.tr.Silence {
			s.Errorf("%v of silence", gap)
		}
		last = time.Now()
		if it.Name == "ping" {
			if gap := time.Since(lastPing); gap < 29*time.Second || gap > 32*time.Second {
				s.Errorf("the application's ping came after %v", gap)
			}
			if lastPing = last; time.Since(opened) > 4*time.Minute {
				return
			}
		}
	}
}

// busyLife: a peer that only reads, and answers signs of life, is never
// disconnected either when there is no silence in which to ask it.
func busyLife(s *stage) {
	w := s.log.Begin(s)
	c := s.connect()
	began := time.Now()
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "from": "start"})
	got := s.events(c, 2)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(began) < 5*time.Minute {
		<-tick.C
		w.Emit(s, 1, 1)
		got = append(got, s.events(c, 1)...)
	}
	Same(s, got, s.log.Entries(w.Job))
}

// silentPeer reads, but answers nothing: it is gone in the end, and told why
// where that can be told.
func silentPeer(s *stage) {
	c := s.connect()
	c.Mute()
	began := time.Now()
	var err error
	for err == nil {
		_, err = c.read()
	}
	took := time.Since(began)
	var end *closed
	if !errors.As(err, &end) || s.tr.Codes && end.code != 4009 || took < s.tr.Patience || took > s.tr.Patience+2*time.Second {
		s.Errorf("%v after %v", err, took)
	}
	c.Close()
	s.settle(endTime, "the slot is free", func() bool { return s.Live(s.key) == 0 })
}
