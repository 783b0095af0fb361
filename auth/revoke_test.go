package auth_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/auth"
)

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
