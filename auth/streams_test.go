package auth_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/jobcast/jobcast/auth"
)

func ignore(error) {}

// All at once: exactly as many get in as may.
func TestLimitIsExact(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{})
	defer run(t, v)()
	p := verify(t, v, secret)
	for round := range 100 {
		var opened, refused atomic.Int64
		var slots sync.Map
		gate := make(chan struct{})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				<-gate
				slot, err := v.Streams().Open(t.Context(), p, "sse", ignore)
				switch {
				case err == nil:
					opened.Add(1)
					slots.Store(slot, nil)
				case errors.Is(err, auth.ErrConnectionLimit):
					refused.Add(1)
				default:
					t.Errorf("Open: %v", err)
				}
			})
		}
		close(gate)
		all.Wait()
		if opened.Load() != 10 || refused.Load() != 90 || v.Streams().Held(key.ID) != 10 {
			t.Fatalf("round %d: %d of 100 got in and %d are held, want exactly 10", round, opened.Load(), v.Streams().Held(key.ID))
		}
		slots.Range(func(slot, _ any) bool {
			all.Go(slot.(*auth.Slot).Release)
			all.Go(slot.(*auth.Slot).Release) // a second one frees nothing more
			return true
		})
		all.Wait()
		if n := v.Streams().Held(key.ID); n != 0 {
			t.Fatalf("round %d: %d are held after all were released", round, n)
		}
	}
}

func TestChurnLeavesNothing(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{})
	defer run(t, v)()
	p := verify(t, v, secret)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 500 { // 10,000 in all
				if slot, err := v.Streams().Open(t.Context(), p, "ws", ignore); err == nil {
					slot.Release()
				} else if !errors.Is(err, auth.ErrConnectionLimit) {
					t.Errorf("Open: %v", err)
				}
				if wait, err := v.Streams().OpenWait(p); err == nil {
					wait.Release()
				}
			}
		})
	}
	all.Wait()
	s := v.Streams()
	if s.Held(key.ID) != 0 || s.Waiting(key.ID) != 0 || s.Live()["ws"] != 0 {
		t.Errorf("held %d, waiting %d, live %v after the churn", s.Held(key.ID), s.Waiting(key.ID), s.Live())
	}
}

func TestLimits(t *testing.T) {
	store := openStore(t)
	_, plain := newKey(t, store, "acme", auth.KeyOptions{})
	_, wide := newKey(t, store, "acme", auth.KeyOptions{MaxConnections: ptr(100_000)})
	_, narrow := newKey(t, store, "acme", auth.KeyOptions{MaxConnections: ptr(1)})
	_, other := newKey(t, store, "other", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{})
	defer run(t, v)()
	fill := func(secret string) (n int) {
		p := verify(t, v, secret)
		for {
			if _, err := v.Streams().Open(t.Context(), p, "sse", ignore); err != nil {
				if !errors.Is(err, auth.ErrConnectionLimit) {
					t.Fatal(err)
				}
				return n
			}
			n++
		}
	}
	if n := fill(plain); n != 10 {
		t.Errorf("a plain key got %d streams, want 10", n)
	}
	if n := fill(narrow); n != 1 {
		t.Errorf("a key with a limit of 1 got %d streams", n)
	}
	if n := fill(wide); n != 10_000-11 {
		t.Errorf("the client got %d streams in all, want 10,000", n+11)
	}
	if n := fill(other); n != 10 {
		t.Errorf("another client got %d streams, want 10", n)
	}
	waits := 0
	p := verify(t, v, plain)
	for ; waits < 1000; waits++ {
		if _, err := v.Streams().OpenWait(p); err != nil {
			if !errors.Is(err, auth.ErrConnectionLimit) {
				t.Fatal(err)
			}
			break
		}
	}
	if waits != 64 {
		t.Errorf("%d calls may wait, want 64", waits)
	}
}

// Random histories against a plain count.
func TestLimiterInvariants(t *testing.T) {
	store := openStore(t)
	var people []auth.Principal
	limits := auth.Limits{PerKey: 3, PerClient: 5, Waits: 2}
	v := auth.NewVerifier(store, auth.VerifierOptions{Limits: limits})
	defer run(t, v)()
	for i := range 6 { // three keys of each of two clients, one with its own limit
		opts := auth.KeyOptions{}
		if i%3 == 0 {
			opts.MaxConnections = ptr(4)
		}
		_, secret := newKey(t, store, fmt.Sprintf("c%d", i%2), opts)
		people = append(people, verify(t, v, secret))
	}
	rapid.Check(t, func(r *rapid.T) {
		live, waits, client := map[string]int{}, map[string]int{}, map[string]int{}
		type held struct {
			slot *auth.Slot
			p    auth.Principal
			wait bool
		}
		var open, released []held
		defer func() { // also after a failure, or the next history starts with what this one left
			for _, h := range open {
				h.slot.Release()
			}
		}()
		who := func() auth.Principal { return rapid.SampledFrom(people).Draw(r, "who") }
		admitted := func(err error, want bool) {
			if want != (err == nil) || err != nil && !errors.Is(err, auth.ErrConnectionLimit) {
				r.Fatalf("admission: %v, want admitted %v", err, want)
			}
		}
		r.Repeat(map[string]func(*rapid.T){
			"open": func(r *rapid.T) {
				p := who()
				limit := max(p.MaxConnections, limits.PerKey)
				slot, err := v.Streams().Open(t.Context(), p, "sse", ignore)
				admitted(err, live[p.KeyID] < limit && client[p.ClientID] < limits.PerClient)
				if err == nil {
					live[p.KeyID]++
					client[p.ClientID]++
					open = append(open, held{slot, p, false})
				}
			},
			"wait": func(r *rapid.T) {
				p := who()
				slot, err := v.Streams().OpenWait(p)
				admitted(err, waits[p.KeyID] < limits.Waits)
				if err == nil {
					waits[p.KeyID]++
					open = append(open, held{slot, p, true})
				}
			},
			"release": func(r *rapid.T) {
				if len(open) == 0 {
					return
				}
				i := rapid.IntRange(0, len(open)-1).Draw(r, "i")
				h := open[i]
				open = append(open[:i], open[i+1:]...)
				released = append(released, h)
				h.slot.Release()
				if h.wait {
					waits[h.p.KeyID]--
				} else {
					live[h.p.KeyID]--
					client[h.p.ClientID]--
				}
			},
			"release again": func(r *rapid.T) {
				if len(released) > 0 {
					rapid.SampledFrom(released).Draw(r, "slot").slot.Release()
				}
			},
			"": func(r *rapid.T) {
				total := 0
				for _, p := range people {
					if n := v.Streams().Held(p.KeyID); n != live[p.KeyID] {
						r.Fatalf("key holds %d, want %d", n, live[p.KeyID])
					}
					if n := v.Streams().Waiting(p.KeyID); n != waits[p.KeyID] {
						r.Fatalf("key waits %d times, want %d", n, waits[p.KeyID])
					}
					total += live[p.KeyID]
				}
				if n := v.Streams().Live()["sse"]; n != total {
					r.Fatalf("%d are live, want %d", n, total)
				}
			},
		})
	})
}

// A stream that takes the place of another is let in where only that one is in the
// way, and nowhere else.
func TestOpenInstead(t *testing.T) {
	store := openStore(t)
	_, first := newKey(t, store, "acme", auth.KeyOptions{MaxConnections: ptr(1)})
	_, second := newKey(t, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{Limits: auth.Limits{PerClient: 2}})
	defer run(t, v)()
	a, b := verify(t, v, first), verify(t, v, second)
	open := func(old *auth.Slot, p auth.Principal, want error) *auth.Slot {
		t.Helper()
		slot, err := v.Streams().OpenInstead(t.Context(), old, p, "test", ignore)
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
		return slot
	}
	old := open(nil, a, nil)
	again := open(old, a, nil)
	open(old, a, auth.ErrConnectionLimit) // there are two of that key now
	old.Release()
	open(old, a, auth.ErrConnectionLimit) // it has made room already
	open(nil, b, nil)
	open(nil, b, auth.ErrConnectionLimit) // of the client
	open(again, b, nil)
	again.Release()
	open(nil, a, auth.ErrConnectionLimit)
}
