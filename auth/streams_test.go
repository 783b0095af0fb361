package auth_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

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
					r.Skip("nothing is open")
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
				if len(released) == 0 {
					r.Skip("nothing was released")
				}
				rapid.SampledFrom(released).Draw(r, "slot").slot.Release()
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
		for _, h := range open {
			h.slot.Release()
		}
	})
}

// ends collects the reasons given to a stream.
type ends chan error

func (e ends) end(reason error) { e <- reason }

func TestRevocationEndsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		_, otherSecret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		got, quiet := make(ends, 10), make(ends, 10)
		p := verify(t, v, secret)
		for range 3 {
			if _, err := v.Streams().Open(t.Context(), p, "sse", got.end); err != nil {
				t.Fatal(err)
			}
		}
		released, err := v.Streams().Open(t.Context(), p, "sse", quiet.end)
		if err != nil {
			t.Fatal(err)
		}
		released.Release()
		if _, err := v.Streams().Open(t.Context(), verify(t, v, otherSecret), "sse", quiet.end); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // fake time
		if len(got) != 0 {
			t.Fatalf("a good stream was ended: %v", <-got)
		}
		if err := store.RevokeKey(t.Context(), "acme", key.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		within := time.After(time.Second)
		for range 3 {
			select {
			case reason := <-got:
				if reason != auth.ErrRevoked || !errors.Is(reason, auth.ErrUnauthenticated) {
					t.Errorf("ended for %v", reason)
				}
			case <-within:
				t.Fatal("a second after the revocation a stream is live")
			}
		}
		if _, err := v.Streams().Open(t.Context(), p, "sse", quiet.end); err == nil {
			t.Error("a revoked key opened a stream")
		}
		_, again := newKey(t, store, "acme", auth.KeyOptions{}) // moves the revision once more
		time.Sleep(time.Minute)
		verify(t, v, again)
		if len(got) != 0 || len(quiet) != 0 {
			t.Errorf("ended %d times too often, and %d wrong ones", len(got), len(quiet))
		}
		if n := v.Streams().Held(key.ID); n != 3 {
			t.Errorf("%d slots are held, want the 3 that nobody released", n)
		}
	})
}

// An expiry needs no store.
func TestExpiryEndsStreamsWhileTheStoreHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		// Between two of the moments at which a hanging poll gives up, which
		// are two seconds apart.
		key, secret := newKey(t, store, "acme", auth.KeyOptions{TTL: 61 * time.Second})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		got := make(ends, 10)
		if _, err := v.Streams().Open(t.Context(), verify(t, v, secret), "sse", got.end); err != nil {
			t.Fatal(err)
		}
		hang := make(chan struct{})
		store.hang.Store(&hang)
		reason := <-got
		if late := time.Since(*key.ExpiresAt); reason != auth.ErrExpired || late < 0 || late > time.Second {
			t.Errorf("ended for %v, %v after the expiry", reason, late)
		}
		time.Sleep(time.Minute)
		if len(got) != 0 {
			t.Error("ended twice")
		}
	})
}

// A store that failed right when keys changed is asked again.
func TestRevocationDuringAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		got := make(ends, 10)
		if _, err := v.Streams().Open(t.Context(), verify(t, v, secret), "sse", got.end); err != nil {
			t.Fatal(err)
		}
		broken := errors.New("disk on fire")
		failing := func() { store.fail.Store(&broken) } // from within Keys: the revision was read, the keys are not
		store.before.Store(&failing)
		if err := store.RevokeKey(t.Context(), "", key.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if len(got) != 0 {
			t.Fatal("the store failed, and yet the revocation was seen")
		}
		store.before.Store(nil)
		store.fail.Store(nil)
		select {
		case <-got:
		case <-time.After(time.Second):
			t.Error("a second after the store was well again the stream is live")
		}
	})
}

// A revocation between the login and the registration is seen by the second
// check.
func TestRevokedBeforeOpen(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{}) // no polls: only Open itself can notice
	p := verify(t, v, secret)
	if err := store.RevokeKey(t.Context(), "acme", key.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Streams().Open(t.Context(), p, "sse", ignore); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("Open: %v, want ErrUnauthenticated", err)
	}
	if n := v.Streams().Held(key.ID); n != 0 {
		t.Errorf("the refused stream holds %d slots", n)
	}
	p.ClientID = "other"
	if err := v.Check(t.Context(), p); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("a key under another client's name: %v", err)
	}
}

// A revocation right after the second check has read the key finds the stream
// registered.
func TestRevokedDuringOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		synctest.Wait()
		p := verify(t, v, secret)
		newKey(t, store, "other", auth.KeyOptions{}) // moves the revision, so that the check has to read
		time.Sleep(300 * time.Millisecond)
		got := make(ends, 10)
		revoke := func() {
			store.after.Store(nil)
			if n := v.Streams().Held(key.ID); n != 1 {
				t.Errorf("while the key is checked %d streams are registered, want 1", n)
			}
			if err := store.RevokeKey(t.Context(), "", key.ID, time.Now()); err != nil {
				t.Error(err)
			}
			time.Sleep(300 * time.Millisecond) // a poll sees it before Open goes on
		}
		store.after.Store(&revoke)
		slot, err := v.Streams().Open(t.Context(), p, "sse", got.end)
		if err == nil {
			defer slot.Release()
		}
		select {
		case reason := <-got:
			if reason != auth.ErrRevoked {
				t.Errorf("ended for %v", reason)
			}
		case <-time.After(time.Second):
			t.Error("the revocation was missed")
		}
		if _, err := v.Streams().Open(t.Context(), p, "sse", ignore); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("the next Open: %v", err) // the late answer was not cached
		}
	})
}

// What end does is not ours: it may call back, and it may panic.
func TestEndMayReleaseAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		p := verify(t, v, secret)
		for range 5 {
			var slot *auth.Slot
			opened := make(chan struct{})
			var err error
			slot, err = v.Streams().Open(t.Context(), p, "sse", func(error) {
				<-opened
				slot.Release()
				panic("of another package")
			})
			if err != nil {
				t.Fatal(err)
			}
			close(opened)
		}
		if err := store.RevokeKey(t.Context(), "", key.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if n := v.Streams().Held(key.ID); n != 0 {
			t.Errorf("%d slots are held, want 0", n)
		}
	})
}

// Streams come and go while their keys are revoked: whoever was admitted is
// either released or told to end.
func TestRevocationRace(t *testing.T) {
	store := openStore(t)
	v := auth.NewVerifier(store, auth.VerifierOptions{})
	defer run(t, v)()
	var all sync.WaitGroup
	for range 8 {
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		p := verify(t, v, secret)
		all.Go(func() {
			for {
				got := make(ends, 1)
				slot, err := v.Streams().Open(t.Context(), p, "ws", got.end)
				if errors.Is(err, auth.ErrUnauthenticated) {
					return
				}
				if err != nil {
					t.Errorf("Open: %v", err)
					return
				}
				if rand.IntN(20) == 0 { // this one stays until it is told
					<-got
				}
				slot.Release()
			}
		})
		all.Go(func() {
			if err := store.RevokeKey(t.Context(), "", key.ID, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := v.Streams().Live()["ws"]; n != 0 {
		t.Errorf("%d streams are live at the end", n)
	}
}
