package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/jobcast/jobcast/eventlog"
	"github.com/jobcast/jobcast/jobs"
)

// running submits and claims a job.
func (w *world) running(client string) jobs.Leased {
	w.Helper()
	w.submit(client, queued())
	return w.claim(client)
}

// write appends n progress events, one by one.
func (w *world) write(l jobs.Leased, n int) {
	w.Helper()
	for range n {
		must(w.store.Append(w.Context(), l.Lease, []jobs.Body{jobs.Progressed(1, "m", "s")}))(w)
	}
}

// wantGapless checks that a log reads 1, 2, 3, … and that it is what was published.
func (w *world) wantGapless(client string, published []eventlog.Event) {
	w.Helper()
	log := w.page(eventlog.Room{Client: client}, 0, 37)
	for i, e := range log {
		if e.Seq != uint64(i+1) {
			w.Fatalf("event %d of %s has seq %d", i+1, client, e.Seq)
		}
		w.data(e)
	}
	if diff := difference(log, published); diff != "" {
		w.Errorf("log of %s differs from what was published (-log +published):\n%s", client, diff)
	}
}

func testGapless(w *world) {
	var wg sync.WaitGroup
	for _, client := range []string{"a", "b"} {
		for range 4 {
			l := w.running(client)
			wg.Go(func() {
				for i := range 25 {
					bodies := []jobs.Body{jobs.Progressed(float64(i), "", ""), jobs.Logged("info", fmt.Sprint(i))}
					if _, err := w.store.Append(w.Context(), l.Lease, bodies); err != nil {
						w.Errorf("append: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	for _, client := range []string{"a", "b"} {
		events := w.publisher.of(client)
		if len(events) != 4*(2+50) {
			w.Errorf("%d events of %s were published", len(events), client)
		}
		w.wantGapless(client, events)
	}
}

// testPublished: what is published can be read at that moment.
func testPublished(w *world) {
	var mu sync.Mutex
	seen := 0 // guarded by mu
	w.check = func(events []eventlog.Event) {
		for _, e := range events {
			p, err := w.store.Page(w.Context(), eventlog.Room{Client: e.Client, Job: e.JobID}, e.Seq-1, 1, 1<<20)
			if err != nil || len(p.Events) != 1 {
				w.Errorf("event %s was published and cannot be read: %v", e.ID, err)
				continue
			}
			if diff := difference(p.Events[0], e); diff != "" {
				w.Errorf("published event (-read +published):\n%s", diff)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		seen += len(events)
	}
	l := w.running("a")
	w.write(l, 5)
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	mu.Lock()
	defer mu.Unlock()
	if seen != 8 {
		w.Errorf("%d events were published before their callers were answered, want 8", seen)
	}
}

func testPage(w *world) {
	l, other := w.running("a"), w.running("a") // seq 1..4
	w.write(l, 3)                              // 5..7
	w.write(other, 1)                          // 8
	w.write(l, 2)                              // 9, 10
	room, mine := eventlog.Room{Client: "a"}, eventlog.Room{Client: "a", Job: l.Job.ID}
	all := w.page(room, 0, 100)
	size := func(events []eventlog.Event) (n int) {
		for _, e := range events {
			n += len(e.JSON)
		}
		return n
	}
	for _, test := range []struct {
		name             string
		room             eventlog.Room
		after            uint64
		events, maxBytes int
		want             string
		more             bool
	}{
		{"all", room, 0, 100, 1 << 20, "[1 2 3 4 5 6 7 8 9 10]", false},
		{"exactly", room, 7, 3, 1 << 20, "[8 9 10]", false},
		{"maxEvents", room, 3, 2, 1 << 20, "[4 5]", true},
		{"maxBytes", room, 0, 100, size(all[:4]), "[1 2 3 4]", true},
		{"one byte less", room, 0, 100, size(all[:4]) - 1, "[1 2 3]", true},
		{"at least one", room, 4, 100, 1, "[5]", true},
		{"last one", room, 9, 100, 1, "[10]", false},
		{"at the end", room, 10, 100, 1 << 20, "[]", false},
		{"beyond", room, 99, 100, 1 << 20, "[]", false},
		{"largest numbers", room, 1<<64 - 1, 100, 1 << 20, "[]", false},
		{"job", mine, 0, 100, 1 << 20, "[1 2 5 6 7 9 10]", false},
		{"job maxEvents", mine, 2, 3, 1 << 20, "[5 6 7]", true},
		{"job exactly", mine, 2, 5, 1 << 20, "[5 6 7 9 10]", false},
		{"nobody", eventlog.Room{Client: "nobody"}, 0, 10, 1 << 20, "[]", false},
	} {
		p := must(w.store.Page(w.Context(), test.room, test.after, test.events, test.maxBytes))(w)
		got := []uint64{}
		for _, e := range p.Events {
			got = append(got, e.Seq)
		}
		if fmt.Sprint(got) != test.want || p.More != test.more || p.Pruned != 0 || p.Gone {
			w.Errorf("%s: events %v, page %+v; want %s, more %v", test.name, got, p, test.want, test.more)
		}
		head := all[9].ID
		if test.room.Client != "a" {
			head = "0-0"
		}
		if p.HeadID != head {
			w.Errorf("%s: the page says that the log ends at %s, want %s", test.name, p.HeadID, head)
		}
	}
}

// verdict opens a room at a cursor.
func (w *world) verdict(r eventlog.Room, cursor string) eventlog.Reason {
	w.Helper()
	c, ok := eventlog.ParseCursor(cursor)
	if !ok {
		w.Fatalf("cursor %q does not parse", cursor)
	}
	return must(w.store.Open(w.Context(), r, &c))(w).Reason
}

// openedJob is what tests look at of the job that Open returns.
type openedJob struct {
	Cursor string
	Status jobs.Status
}

// job reads the job of a room.
func (w *world) job(o eventlog.Opened) (j openedJob) {
	w.Helper()
	if err := json.Unmarshal(o.Job, &j); err != nil {
		w.Fatalf("the job %q of a room: %v", o.Job, err)
	}
	return j
}

func testOpen(w *world) {
	room := eventlog.Room{Client: "a"}
	if s := must(w.store.Open(w.Context(), room, nil))(w); !reflect.DeepEqual(s, eventlog.Opened{HeadID: "0-0", OldestID: "0-0"}) {
		w.Errorf("an empty log opens as %+v", s)
	}
	if v := w.verdict(room, "abc-1"); v != eventlog.ReasonEpoch {
		w.Errorf("a foreign cursor in an empty log: %q", v)
	}
	w.running("a") // 1, 2
	l := w.running("a")
	w.write(l, 2) // 3..6
	log := w.page(room, 0, 100)
	s := must(w.store.Open(w.Context(), room, nil))(w)
	if s.Head != 6 || s.HeadID != log[5].ID || s.Oldest != 0 || s.OldestID != "0-0" || s.Job != nil {
		w.Errorf("client room opens as %+v", s)
	}
	if s.Whole || s.Events != nil {
		w.Errorf("client room opens with events: %+v", s)
	}
	mine := eventlog.Room{Client: "a", Job: l.Job.ID}
	s = must(w.store.Open(w.Context(), mine, nil))(w)
	if s.Head != 6 || s.Oldest != 2 || s.OldestID != log[1].ID || s.End != 0 || w.job(s).Cursor != log[5].ID {
		w.Errorf("job room opens as %+v", s)
	}
	must(w.store.Complete(w.Context(), l.Lease, nil))(w) // 7
	w.running("a")                                       // 8, 9
	s = must(w.store.Open(w.Context(), mine, nil))(w)
	if s.Head != 9 || s.End != 7 || s.Status != "completed" || w.job(s).Status != jobs.Completed {
		w.Errorf("ended job room opens as %+v", s)
	}
	epoch := eventlog.Cursor{Epoch: "zzzz", Seq: 3}.String()
	future := log[5].ID[:len(log[5].ID)-1] + "10"
	for cursor, want := range map[string]eventlog.Reason{
		"0-0": eventlog.Valid, log[0].ID: eventlog.Valid, log[5].ID: eventlog.Valid, epoch: eventlog.ReasonEpoch, future: eventlog.ReasonFuture,
	} {
		for _, r := range []eventlog.Room{room, mine} {
			if v := w.verdict(r, cursor); v != want {
				w.Errorf("cursor %s in %+v: %q, want %q", cursor, r, v, want)
			}
		}
	}
}

// testOpenEvents: a job's room opens with its events, if they are few.
func testOpenEvents(w *world) {
	w.running("a")
	l := w.running("a") // 3, 4
	mine := eventlog.Room{Client: "a", Job: l.Job.ID}
	check := func(at string, want []eventlog.Event, whole bool) {
		w.Helper()
		c, _ := eventlog.ParseCursor(at)
		s := must(w.store.Open(w.Context(), mine, &c))(w)
		if s.Whole != whole || len(s.Events) != len(want) || len(want) > 0 && !reflect.DeepEqual(s.Events, want) {
			w.Errorf("from %s it opens with %d events, whole %v; want %d, %v", at, len(s.Events), s.Whole, len(want), whole)
		}
	}
	w.write(l, eventlog.MaxOpenEvents-2)
	all := w.page(mine, 0, 100)
	check("0-0", all, true)
	check("zzzz-1", all, true) // not valid: from the beginning
	check(all[0].ID, all[1:], true)
	check(all[len(all)-1].ID, nil, true)
	w.running("a") // other jobs' events are not among them
	w.write(l, 1)
	all = w.page(mine, 0, 100)
	check("0-0", nil, false)
	check(all[0].ID, all[1:], true)
	must(w.store.Complete(w.Context(), l.Lease, nil))(w)
	all = w.page(mine, 0, 100)
	check(all[0].ID, nil, false)
	check(all[len(all)-2].ID, all[len(all)-1:], true)
	check(all[len(all)-1].ID, nil, true)
	if s := must(w.store.Open(w.Context(), mine, nil))(w); s.Whole || s.Events != nil {
		w.Errorf("without a cursor it opens with %d events, whole %v", len(s.Events), s.Whole)
	}
	short := w.submit("a", queued())
	must(w.store.Cancel(w.Context(), "a", short.ID))(w)
	if s := must(w.store.Open(w.Context(), eventlog.Room{Client: "a", Job: short.ID}, nil))(w); !s.Whole || len(s.Events) != 2 {
		w.Errorf("without a cursor a job that has ended opens with %d events, whole %v", len(s.Events), s.Whole)
	}
}

// testTail: the place before the newest events of a room is one to start from.
func testTail(w *world) {
	first := w.running("a") // 1, 2
	l := w.running("a")     // 3, 4
	w.write(l, 2)           // 5, 6
	w.reopen()
	w.write(first, 1) // 7
	w.write(l, 1)     // 8
	room, mine := eventlog.Room{Client: "a"}, eventlog.Room{Client: "a", Job: l.Job.ID}
	for _, test := range []struct {
		r     eventlog.Room
		n     int
		after uint64
	}{{room, 1, 7}, {room, 3, 5}, {room, 8, 0}, {room, 100, 0}, {mine, 1, 7}, {mine, 2, 5}, {mine, 5, 2}, {mine, 6, 0}, {eventlog.Room{Client: "nobody"}, 3, 0}} {
		at := must(w.store.Tail(w.Context(), test.r, test.n))(w)
		if at.Seq != test.after || w.verdict(test.r, at.String()) != eventlog.Valid {
			w.Errorf("before the newest %d of %+v is %s, want %d", test.n, test.r, at, test.after)
		}
	}
	for _, r := range []eventlog.Room{{Client: "b", Job: l.Job.ID}, {Client: "a", Job: "none"}} {
		if _, err := w.store.Tail(w.Context(), r, 1); !errors.Is(err, jobs.ErrNotFound) {
			w.Errorf("the newest of %+v: %v", r, err)
		}
	}
}

// testBeforeEnd: an ended job's room tells the cursor right before its terminal
// event, whoever's event stands there, in the epoch that covers it.
func testBeforeEnd(w *world) {
	check := func(id, want string) {
		w.Helper()
		s := must(w.store.Open(w.Context(), eventlog.Room{Client: "a", Job: id}, nil))(w)
		if s.BeforeEnd != want {
			w.Errorf("before the end: %q, want %q; the end is %d", s.BeforeEnd, want, s.End)
		}
		if want == "" {
			return
		}
		if at, ok := eventlog.ParseCursor(s.BeforeEnd); !ok || at.Seq != s.End-1 {
			w.Errorf("before the end is %s, the end is %d", s.BeforeEnd, s.End)
		}
		if v := w.verdict(eventlog.Room{Client: "a", Job: id}, s.BeforeEnd); v != eventlog.Valid {
			w.Errorf("before the end at %s: %q", s.BeforeEnd, v)
		}
	}
	short := w.submit("a", queued()) // 1
	check(short.ID, "")
	must(w.store.Cancel(w.Context(), "a", short.ID))(w) // 2
	check(short.ID, short.Cursor)
	l := w.running("a") // 3, 4
	check(l.Job.ID, "")
	other := w.submit("a", queued()) // 5
	w.reopen()
	must(w.store.Complete(w.Context(), l.Lease, nil))(w) // 6, the first of an epoch
	check(l.Job.ID, other.Cursor)
	must(w.store.Cancel(w.Context(), "a", other.ID))(w) // 7
	end := w.job(must(w.store.Open(w.Context(), eventlog.Room{Client: "a", Job: l.Job.ID}, nil))(w)).Cursor
	check(other.ID, end)
	if s := must(w.store.Open(w.Context(), eventlog.Room{Client: "a"}, nil))(w); s.BeforeEnd != "" {
		w.Errorf("a client's room has %q before its end", s.BeforeEnd)
	}
}

// testEpochs: a cursor is good in the stretch of the log that its epoch covers. A restore
// begins a new epoch, whatever else does.
func testEpochs(w *world) {
	room := eventlog.Room{Client: "a"}
	l := w.running("a") // 1, 2
	first, _ := eventlog.ParseCursor(w.page(room, 0, 10)[1].ID)
	w.restored()
	beyond := eventlog.Cursor{Epoch: first.Epoch, Seq: 3}.String()
	if v := w.verdict(room, beyond); v != eventlog.ReasonFuture {
		w.Errorf("beyond the newest epoch: %q", v)
	}
	w.write(l, 2) // 3, 4
	log := w.page(room, 0, 10)
	second, _ := eventlog.ParseCursor(log[2].ID)
	if second.Seq != 3 || second.Epoch == first.Epoch {
		w.Errorf("after a restore event 3 is %v, event 2 was %v", second, first)
	}
	for cursor, want := range map[string]eventlog.Reason{
		log[0].ID: eventlog.Valid, log[1].ID: eventlog.Valid, beyond: eventlog.ReasonEpoch,
		eventlog.Cursor{Epoch: second.Epoch, Seq: 2}.String(): eventlog.ReasonEpoch,
		log[2].ID: eventlog.Valid, log[3].ID: eventlog.Valid,
		eventlog.Cursor{Epoch: second.Epoch, Seq: 5}.String(): eventlog.ReasonFuture,
	} {
		if v := w.verdict(room, cursor); v != want {
			w.Errorf("cursor %s: %q, want %q", cursor, v, want)
		}
	}
	s := must(w.store.Open(w.Context(), eventlog.Room{Client: "a", Job: l.Job.ID}, nil))(w)
	if s.OldestID != "0-0" || s.HeadID != log[3].ID || w.job(s).Cursor != log[3].ID {
		w.Errorf("room opens as %+v", s)
	}
	later := w.running("a").Job.ID // 5, 6
	for job, want := range map[string][]eventlog.Event{l.Job.ID: log, later: w.page(room, 4, 10)} {
		if s := must(w.store.Open(w.Context(), eventlog.Room{Client: "a", Job: job}, &eventlog.Cursor{}))(w); !reflect.DeepEqual(s.Events, want) {
			w.Errorf("job %s opens with events %+v, want %+v", job, s.Events, want)
		}
	}
	w.restored() // without appends no epoch is left
	w.restored()
	if v := w.verdict(room, eventlog.Cursor{Epoch: second.Epoch, Seq: 7}.String()); v != eventlog.ReasonFuture {
		w.Errorf("after restores without appends: %q", v)
	}
	w.write(l, 1)
	w.wantGapless("a", w.publisher.of("a"))
}

// testContext: the context bounds the caller's waiting.
func testContext(w *world) {
	l := w.running("a")
	release, entered := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w.check = func([]eventlog.Event) {
		once.Do(func() {
			close(entered)
			<-release
		})
	}
	var wg sync.WaitGroup
	wg.Go(func() { w.write(l, 1) })
	<-entered
	ctx, cancel := contextWithTimeout(w, 10*time.Millisecond)
	defer cancel()
	if _, err := w.store.Append(ctx, l.Lease, []jobs.Body{jobs.Logged("info", "x")}); err == nil {
		w.Error("an append returned while the committer was held up")
	}
	close(release)
	wg.Wait()
	w.write(l, 1)
	w.wantGapless("a", w.publisher.of("a"))
}
