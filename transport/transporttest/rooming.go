package transporttest

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/jobcast/jobcast/auth"
)

// rooming: what only a connection with several rooms has.
func rooming() []scenario {
	return []scenario{
		{name: "several rooms", on: sockets, run: severalRooms},
		{name: "leave and come back", on: sockets, run: leaveAndComeBack},
		{name: "messages that are refused", on: sockets, run: refusedMessages},
		{name: "messages that end the connection", on: sockets, run: fatalMessages},
		{name: "room limit", on: sockets, run: roomLimit},
		{name: "signs of life on a socket", mode: fakeOnly, on: sockets, run: socketLife},
		{name: "signs of life while events flow", mode: fakeOnly, on: sockets, run: busyLife},
		{name: "a silent peer", mode: fakeOnly, on: sockets, run: silentPeer},
		{name: "a peer that never reads", mode: fakeOnly, on: sockets, run: neverReads},
	}
}

// socket opens a connection without a room.
func (s *stage) socket() *Socket {
	s.Helper()
	c, err := dialSocket(s.ctx, s.caller(), "")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(c.Close)
	s.until(c, "connected")
	return c
}

func (s *stage) tell(c *Socket, event string, data map[string]any) {
	s.Helper()
	if err := c.Say(event, data); err != nil {
		s.Fatal(err)
	}
}

// severalRooms: an event comes once however many rooms match, in log order; a
// room that starts earlier is replayed between its subscribed and its live.
func severalRooms(s *stage) {
	a, b, other := s.log.Begin(s), s.log.Begin(s), s.log.Begin(s)
	c := s.socket()
	for _, w := range []*Work{a, b} {
		s.tell(c, "subscribe", map[string]any{"jobId": w.Job})
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
	c := s.socket()
	var got []Item
	from := ""
	for range 8 {
		s.tell(c, "subscribe", map[string]any{"jobId": w.Job, "lastEventId": from})
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

// refusedMessages are answered and close nothing.
func refusedMessages(s *stage) {
	w := s.client("globex").Begin(s)
	mine := s.log.Begin(s)
	c := s.socket()
	for _, m := range []struct {
		event, data string
		code        string
	}{
		{"subscribe", fmt.Sprintf(`{"jobId":%q}`, w.Job), "not_found"},
		{"subscribe", fmt.Sprintf(`{"jobId":%q}`, uuid.NewString()), "not_found"},
		{"subscribe", `{"jobId":"../../x"}`, "not_found"},
		{"subscribe", `{"jobId":7}`, "malformed"},
		{"subscribe", `{"from":"yesterday"}`, "invalid"},
		{"unsubscribe", `{}`, "not_found"},
		{"publish", `{}`, "invalid"},
	} {
		if err := c.write(0x80|opText, []byte(`{"event":"`+m.event+`","data":`+m.data+`}`)); err != nil {
			s.Fatal(err)
		}
		it, _ := s.until(c, "problem")
		if p := s.problem(it.Data); p.Code != m.code {
			s.Errorf("%s %s: %s", m.event, m.data, it.Data)
		}
	}
	s.tell(c, "subscribe", map[string]any{})
	s.until(c, "live")
	head := s.log.Head()
	w.Emit(s, 3, 1) // nothing of it comes
	mine.Emit(s, 2, 1)
	Same(s, s.events(c, 2), s.log.After(s, "", head))
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
		"twice":           {0x81, `{"event":"pong","event":"pong"}`, 4500},
		"not UTF-8":       {0x81, "\xff", 1007},
		"binary":          {0x82, "x", 1003},
		"too big":         {0x81, strings.Repeat("x", 64<<10+1), 1009},
		"compressed":      {0xC1, "x", 1002},
		"a close":         {0x88, "\x03\xe8", 1000},
		"a close of 4000": {0x88, "\x0f\xa0bye", 4000},
	} {
		c := s.socket()
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

func roomLimit(s *stage) {
	const rooms = 100
	c := s.socket()
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

// socketLife: something comes at least every 15 s, and the application's ping
// every 30 s; a peer whose socket answers by itself is never disconnected.
func socketLife(s *stage) {
	c := s.socket()
	last, lastPing := time.Now(), time.Now()
	for time.Since(lastPing) < 5*time.Minute {
		it, err := c.Next()
		if err != nil {
			s.Fatal(err)
		}
		if gap := time.Since(last); gap > silence {
			s.Errorf("%v of silence", gap)
		}
		last = time.Now()
		if it.Name == "ping" {
			if gap := time.Since(lastPing); gap < 29*time.Second || gap > 32*time.Second {
				s.Errorf("the application's ping came after %v", gap)
			}
			if lastPing = last; time.Since(c.opened) > 4*time.Minute {
				return
			}
		}
	}
}

// busyLife: a peer that only reads, and whose socket answers PINGs by itself, is
// never disconnected either when there is no silence in which to ask it.
func busyLife(s *stage) {
	w := s.log.Begin(s)
	c := s.socket()
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job})
	got := s.events(c, 2)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for time.Since(c.opened) < 5*time.Minute {
		<-tick.C
		w.Emit(s, 1, 1)
		got = append(got, s.events(c, 1)...)
	}
	Same(s, got, s.log.Entries(w.Job))
}

// silentPeer reads, but answers nothing: it is told so after the pong timeout.
func silentPeer(s *stage) {
	c := s.socket()
	c.mute = true
	began := time.Now()
	for {
		_, err := c.read()
		var end *closed
		if errors.As(err, &end) {
			if took := time.Since(began); end.code != 4009 || took < 60*time.Second || took > 62*time.Second {
				s.Errorf("%v after %v", end, took)
			}
			break
		}
		if err != nil {
			s.Fatal(err)
		}
	}
	c.Close()
	s.settle(endTime, "the slot is free", func() bool { return s.Live(s.key) == 0 })
}

// neverReads: gone 10 s after its socket is full, and its slot with it.
func neverReads(s *stage) {
	w := s.log.Begin(s)
	id, secret := s.Key("acme", auth.KeyOptions{})
	c, err := dialSocket(s.ctx, Caller{Dial: s.Dial, Secret: secret}, "")
	if err != nil {
		s.Fatal(err)
	}
	defer c.Close()
	s.tell(c, "subscribe", map[string]any{"jobId": w.Job})
	for range 20 {
		w.EmitLarge(s, 20, 8<<10)
	}
	s.settle(stallTime+time.Second, "the stalled socket is gone", func() bool { return s.Live(id) == 0 })
}
