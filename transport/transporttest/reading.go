package transporttest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// reading: what is read is what was committed, from wherever one starts.
func reading() []scenario {
	return []scenario{
		{name: "order", run: order},
		{name: "resume mid-stream", run: resumeMidStream},
		{name: "resume from the newest", run: resumeNewest},
		{name: "seam of a job room", run: seamJob},
		{name: "seam of a client room", run: seamClient},
		{name: "seam at the last event", run: seamLast},
		{name: "behind the tail", mode: fakeOnly, run: behindTail},
		{name: "two clients interleaved", run: twoClients},
	}
}

func order(s *stage) {
	w, other := s.log.Begin(s), s.log.Begin(s)
	for range 10 {
		w.Emit(s, 15, 4)
		other.Emit(s, 3, 3)
	}
	w.Finish(s)
	got, frames := s.all(s.open(Opening{Job: w.Job}))
	Same(s, got, s.log.Entries(w.Job))
	if s.tr.Stream {
		var names []string
		for _, f := range frames {
			names = append(names, f.Name)
		}
		if !slices.Equal(names, []string{"connected", "subscribed", "live", "end"}) {
			s.Errorf("frames %v", names)
		}
	}
	// Whatever the transport, an event is the same bytes.
	reference, err := openPoll(s.ctx, s.caller(), Opening{Job: w.Job})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(reference.Close)
	want, _ := s.all(reference)
	for i := range want {
		if string(want[i].Event) != string(got[i].Event) {
			s.Fatalf("event %d is %s, and on another transport %s", i, got[i].Event, want[i].Event)
		}
	}
}

// resumeMidStream cuts at every place, also before the first event.
func resumeMidStream(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 10, 4)
	total := len(s.log.Entries(w.Job)) + 1
	for k := range total {
		if k == 5 { // from here on the job has ended
			w.Finish(s)
		}
		r := s.open(Opening{Job: w.Job})
		got := s.events(r, min(k, len(s.log.Entries(w.Job))))
		if k == 0 && s.tr.Stream {
			s.until(r, "subscribed")
		}
		cursor := r.Cursor()
		r.Close()
		if k < 5 {
			rest := s.open(Opening{Job: w.Job, Cursor: cursor})
			got = append(got, s.events(rest, len(s.log.Entries(w.Job))-k)...)
			rest.Close()
		} else if k < total {
			rest, _ := s.all(s.open(Opening{Job: w.Job, Cursor: cursor}))
			got = append(got, rest...)
		}
		Same(s, got, s.log.Entries(w.Job))
	}
}

func resumeNewest(s *stage) {
	w := s.log.Begin(s)
	w.Emit(s, 5, 5)
	for _, job := range []string{w.Job, ""} {
		head := s.log.Head()
		r := s.open(Opening{Job: job, Cursor: head})
		if s.tr.Stream {
			if _, got := s.until(r, "live"); len(got) > 0 {
				s.Fatalf("%d events were replayed from the newest one", len(got))
			}
		}
		w.Emit(s, 2, 1)
		Same(s, s.events(r, 2), s.log.After(s, job, head))
		r.Close()
	}
}

// hammer runs join again and again, n times in all, while a writer appends as
// fast as it can. Each join lets it append so much, more than happens during one on a
// fast machine; then it goes on slowly. The history that readers have to go through
// must not outgrow them on a slow machine.
func hammer(s *stage, n int, join func(w *Work)) {
	const (
		joiners = 4
		batch   = 3   // events of one append
		batches = 200 // for each join
	)
	w := s.log.Begin(s)
	due := make(chan struct{}, n*batches)
	stop := make(chan struct{})
	var writer, readers sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-due:
			case <-time.After(10 * time.Millisecond): // nobody may wait for ever
			}
			if err := w.TryEmit(s, batch); err != nil {
				s.Errorf("emit: %v", err)
				return
			}
		}
	})
	for range joiners {
		readers.Go(func() {
			for range n / joiners {
				for range batches {
					due <- struct{}{}
				}
				join(w)
			}
		})
	}
	readers.Wait()
	close(stop)
	writer.Wait()
}

// take reads n events without ending the test from another goroutine.
func take(s *stage, o Opening, n int) ([]Item, bool) {
	r, err := s.tr.Open(s.ctx, s.caller(), o)
	if err != nil {
		s.Errorf("open: %v", err)
		return nil, false
	}
	defer r.Close()
	var got []Item
	for len(got) < n {
		it, err := r.Next()
		if err != nil {
			s.Errorf("after %d of %d events: %v", len(got), n, err)
			return nil, false
		}
		if it.Event != nil {
			got = append(got, it)
		}
	}
	return got, true
}

// seamRounds is how many joins meet the writer.
func seamRounds() int { return 12 * Chaos() }

func seamJob(s *stage) {
	var mu sync.Mutex // guards reads
	var reads [][]Item
	hammer(s, seamRounds(), func(w *Work) {
		n := len(s.log.Entries(w.Job)) + 30 // some of history, some live
		if got, ok := take(s, Opening{Job: w.Job}, n); ok {
			mu.Lock()
			reads = append(reads, got)
			mu.Unlock()
		}
	})
	want := s.log.Entries("")
	for _, got := range reads {
		Same(s, got, want[:len(got)])
	}
	if len(reads) != seamRounds() {
		s.Errorf("%d of %d readers read", len(reads), seamRounds())
	}
}

func seamClient(s *stage) {
	var mu sync.Mutex // guards reads
	var reads [][]Item
	hammer(s, seamRounds(), func(*Work) {
		if got, ok := take(s, Opening{}, 30); ok {
			mu.Lock()
			reads = append(reads, got)
			mu.Unlock()
		}
	})
	want := s.log.Entries("")
	for _, got := range reads {
		at := cursorOf(s, got[0].ID).Seq - 1
		Same(s, got, want[at:at+uint64(len(got))])
	}
	if len(reads) != seamRounds() {
		s.Errorf("%d of %d readers read", len(reads), seamRounds())
	}
}

// seamLast: a reader joins while one event is being committed that no other
// follows, so that nothing later can make up for one that slips through. Each
// client has one reader, because a second one would keep the tail alive.
func seamLast(s *stage) {
	const clients = 6
	rounds := 20 * Chaos()
	var all sync.WaitGroup
	for i := range clients {
		l := s.client(fmt.Sprintf("client-%d", i))
		_, secret := s.Key(l.Client, auth.KeyOptions{})
		c := Caller{Dial: s.Dial, Secret: secret}
		w := l.Begin(s)
		all.Go(func() {
			for n := 0; n < rounds && s.joinAtLast(c, w, n%2 == 0); n++ {
			}
		})
	}
	all.Wait()
}

// joinAtLast commits one event and joins meanwhile; the reader has to get it.
func (s *stage) joinAtLast(c Caller, w *Work, jobRoom bool) bool {
	o := Opening{Cursor: w.log.Head()}
	if jobRoom {
		o.Job = w.Job
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := w.TryEmit(s, 1); err != nil {
			s.Errorf("emit: %v", err)
		}
	})
	defer writer.Wait()
	r, err := s.tr.Open(s.ctx, c, o)
	if err != nil {
		s.Errorf("open: %v", err)
		return false
	}
	defer r.Close()
	late := time.AfterFunc(silence/2, r.Close)
	defer late.Stop()
	for {
		it, err := r.Next()
		if err != nil {
			s.Errorf("the last event never came: %v", err)
			return false
		}
		if it.Event != nil {
			return true
		}
	}
}

// behindTail: a reader that falls off what is kept in memory reads the store.
func behindTail(s *stage) {
	w := s.log.Begin(s)
	slow, client := s.open(Opening{Job: w.Job}), s.open(Opening{From: "start"})
	head := s.events(slow, 2)
	w.Emit(s, 5000, 1000)      // the tail holds fewer events,
	w.EmitLarge(s, 900, 6<<10) // and fewer bytes
	w.Finish(s)
	rest, _ := s.all(slow)
	Same(s, append(head, rest...), s.log.Entries(w.Job))
	Same(s, s.events(client, len(s.log.Entries(""))), s.log.Entries(""))
}

// twoClients: each log counts 1, 2, 3, … on its own.
func twoClients(s *stage) {
	other := s.client("globex")
	_, secret := s.Key(other.Client, auth.KeyOptions{})
	mine := s.open(Opening{From: "start"})
	theirs := s.openAs(Caller{Dial: s.Dial, Secret: secret}, Opening{From: "start"})
	a, b := s.log.Begin(s), other.Begin(s)
	for range 20 {
		a.Emit(s, 2, 1)
		b.Emit(s, 3, 2)
	}
	for _, side := range []struct {
		log    *Log
		reader Reader
	}{{s.log, mine}, {other, theirs}} {
		want := side.log.Entries("")
		got := s.events(side.reader, len(want))
		Same(s, got, want)
		for i, it := range got {
			if seq := cursorOf(s, it.ID).Seq; seq != uint64(i+1) {
				s.Fatalf("event %d of %s has the number %d", i+1, side.log.Client, seq)
			}
		}
	}
}
