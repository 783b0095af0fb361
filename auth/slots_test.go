package auth_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/auth/authtest"
)

func TestLocalSlots(t *testing.T) {
	authtest.Slots(t, authtest.Counting{Fake: true, Open: func(*testing.T) []auth.Slots {
		return []auth.Slots{&auth.LocalSlots{}}
	}})
}

// troubled are Slots whose store can fail.
type troubled struct {
	auth.LocalSlots
	fail  atomic.Pointer[error]
	beats atomic.Int64
}

func (s *troubled) failure() error {
	if err := s.fail.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *troubled) Take(ctx context.Context, seat, instead *auth.Seat) error {
	if err := s.failure(); err != nil {
		return err
	}
	return s.LocalSlots.Take(ctx, seat, instead)
}

func (s *troubled) Beat(ctx context.Context) error {
	s.beats.Add(1)
	if err := s.failure(); err != nil {
		return err
	}
	return s.LocalSlots.Beat(ctx)
}

// Two servers that have their Slots in common admit as many together as one alone.
func TestSlotsAreShared(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{MaxConnections: ptr(2)})
	slots := &auth.LocalSlots{}
	var nodes []*auth.Verifier
	for range 2 {
		v := auth.NewVerifier(store, auth.VerifierOptions{Slots: slots})
		defer run(t, v)()
		nodes = append(nodes, v)
	}
	open := func(v *auth.Verifier, want error) *auth.Slot {
		t.Helper()
		slot, err := v.Streams().Open(t.Context(), verify(t, v, secret), "sse", ignore)
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		return slot
	}
	first := open(nodes[0], nil)
	open(nodes[1], nil)
	open(nodes[0], auth.ErrConnectionLimit)
	open(nodes[1], auth.ErrConnectionLimit)
	if a, b := nodes[0].Streams().Held(key.ID), nodes[1].Streams().Held(key.ID); a != 1 || b != 1 {
		t.Errorf("the nodes hold %d and %d, want one each: a refusal leaves nothing", a, b)
	}
	first.Release()
	open(nodes[1], nil)
}

// A store that cannot count refuses with its error, and nothing is left behind. A key
// that has ended takes nothing either.
func TestSlotsFail(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{MaxConnections: ptr(1)})
	slots := &troubled{}
	v := auth.NewVerifier(store, auth.VerifierOptions{Slots: slots})
	p := verify(t, v, secret)
	broken := errors.New("disk on fire")
	slots.fail.Store(&broken)
	if _, err := v.Streams().Open(t.Context(), p, "sse", ignore); !errors.Is(err, broken) {
		t.Errorf("Open: %v", err)
	}
	slots.fail.Store(nil)
	if n, live := v.Streams().Held(key.ID), v.Streams().Live()["sse"]; n != 0 || live != 0 {
		t.Errorf("%d and %d are held", n, live)
	}
	ended := p
	ended.ClientID = "other"
	for range 3 {
		if _, err := v.Streams().Open(t.Context(), ended, "sse", ignore); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("Open: %v", err)
		}
	}
	slot, err := v.Streams().Open(t.Context(), p, "sse", ignore)
	if err != nil {
		t.Fatal(err)
	}
	slot.Release()
}

// Run beats, also while the store fails, and says once that it does.
func TestRunBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		slots := &troubled{}
		v := auth.NewVerifier(openStore(t), auth.VerifierOptions{Slots: slots, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		stop := run(t, v)
		synctest.Wait()
		if n := slots.beats.Load(); n != 1 {
			t.Errorf("%d beats at the start, want one", n)
		}
		time.Sleep(time.Minute)
		broken := errors.New("disk on fire")
		slots.fail.Store(&broken)
		time.Sleep(time.Minute)
		slots.fail.Store(nil)
		time.Sleep(time.Minute)
		stop()
		beats := slots.beats.Load()
		if want := int64(3 * time.Minute / auth.BeatEvery); beats < want || beats > want+1 {
			t.Errorf("%d beats in three minutes, want %d", beats, want)
		}
		time.Sleep(time.Minute)
		if slots.beats.Load() != beats {
			t.Error("it beats after its end")
		}
		if got := log.String(); strings.Count(got, "disk on fire") != 1 || strings.Count(got, "\n") != 2 || !strings.Contains(got, "again") {
			t.Errorf("the log says\n%s", got)
		}
	})
}
