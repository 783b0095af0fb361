package transporttest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"testing"
	"time"
)

// stage is what one telling of a scenario works with: a server, one transport,
// and a client `acme` with a key and an empty log.
type stage struct {
	*testing.T
	Server
	tr          Transport
	ctx         context.Context // ends when the scenario hangs
	fake        bool
	log         *Log
	key, secret string // id and text of the key
}

func (s *stage) client(name string) *Log { return NewLog(s.Server, name) }

func (s *stage) caller() Caller { return Caller{Dial: s.Dial, Secret: s.secret} }

// open opens a reader that is closed with the scenario.
func (s *stage) open(o Opening) Reader {
	s.Helper()
	return s.openAs(s.caller(), o)
}

func (s *stage) openAs(c Caller, o Opening) Reader {
	s.Helper()
	r, err := s.tr.Open(s.ctx, c, o)
	if err != nil {
		s.Fatalf("open %+v: %v", o, err)
	}
	s.Cleanup(r.Close)
	return r
}

// refusal opens a reader that must be refused.
func (s *stage) refusal(c Caller, o Opening) *Refusal {
	s.Helper()
	r, err := s.tr.Open(s.ctx, c, o)
	var refused *Refusal
	if !errors.As(err, &refused) {
		if err == nil {
			r.Close()
		}
		s.Fatalf("open %+v: %v, want a refusal", o, err)
	}
	return refused
}

// problem decodes what a refusal or a problem frame says.
func (s *stage) problem(data []byte) Problem {
	s.Helper()
	var p Problem
	if err := json.Unmarshal(data, &p); err != nil {
		s.Fatalf("problem %q: %v", data, err)
	}
	return p
}

// events reads n job events, passing over control frames.
func (s *stage) events(r Reader, n int) []Item {
	s.Helper()
	var got []Item
	for len(got) < n {
		it, err := r.Next()
		if err != nil {
			s.Fatalf("after %d of %d events: %v", len(got), n, err)
		}
		if it.Name == "problem" {
			s.Fatalf("after %d of %d events: %s", len(got), n, it.Data)
		}
		if it.Event != nil {
			got = append(got, it)
		}
	}
	return got
}

// until reads up to a control frame of this name and returns it, and the events
// before it. Nothing may end before.
func (s *stage) until(r Reader, name string) (Item, []Item) {
	s.Helper()
	var got []Item
	for {
		it, err := r.Next()
		if err != nil {
			s.Fatalf("after %d events, waiting for %s: %v", len(got), name, err)
		}
		if it.Name == name {
			return it, got
		}
		if it.Event != nil {
			got = append(got, it)
		}
	}
}

// all reads to the clean end and returns the events and the control frames,
// without signs of life.
func (s *stage) all(r Reader) (events, frames []Item) {
	s.Helper()
	for {
		it, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return events, frames
		case err != nil:
			s.Fatalf("after %d events: %v", len(events), err)
		case it.Event != nil:
			events = append(events, it)
		case it.Name != Heartbeat && it.Name != "ping" && it.Name != Retry:
			frames = append(frames, it)
		}
	}
}

// settle waits until what is asked for is so. In fake time the instant comes
// when everything else is waiting, and within is a promise that is held to. In real
// time it looks again and again, because slots and connections end in the server
// without telling a client, for as long as the scenario may take: how long that is
// on a busy machine says nothing about the server.
func (s *stage) settle(within time.Duration, what string, so func() bool) {
	s.Helper()
	ctx := s.ctx
	if s.fake {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(s.ctx, within)
		defer cancel()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Fatalf("not within %v: %s", within, what)
		}
	}
}

// field returns one member of a JSON object.
func field[T any](s *stage, data []byte, name string) T {
	s.Helper()
	var members map[string]json.RawMessage
	var v T
	if err := json.Unmarshal(data, &members); err != nil {
		s.Fatalf("data %q: %v", data, err)
	}
	if err := json.Unmarshal(members[name], &v); err != nil {
		s.Fatalf("member %s of %q: %v", name, data, err)
	}
	return v
}
