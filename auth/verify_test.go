package auth_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/jobcast/jobcast/auth"
)

func TestVerify(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{MaxConnections: ptr(3), TTL: time.Hour})
	gone, goneSecret := newKey(t, store, "acme", auth.KeyOptions{})
	if err := store.RevokeKey(t.Context(), "acme", gone.ID, time.Now()); err != nil {
		t.Fatal(err)
	}
	const old = "an-old-gateway's-key-of-1999"
	imported, err := auth.Import(old, "acme", "", []auth.Scope{auth.Watch}, auth.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateKey(t.Context(), imported); err != nil {
		t.Fatal(err)
	}
	v := auth.NewVerifier(store, auth.VerifierOptions{})

	p := verify(t, v, secret)
	want := auth.Principal{
		Identity: auth.Identity{ClientID: "acme", KeyID: key.ID},
		Scopes:   auth.DefaultScopes(), MaxConnections: 3, ExpiresAt: key.ExpiresAt,
	}
	if diff := cmp.Diff(want, p, cmpopts.EquateComparable(netip.Addr{}, auth.Agent{})); diff != "" {
		t.Errorf("principal (-want +got):\n%s", diff)
	}
	if p := verify(t, v, old); p.KeyID != imported.ID || p.May(auth.Submit) || !p.May(auth.Watch) {
		t.Errorf("principal of the imported key is %+v", p)
	}
	unknownSecret := secret[:len(secret)-1] + "A"
	for name, bad := range map[string]string{
		"none":              "",
		"unknown":           unknownSecret,
		"revoked":           goneSecret,
		"cut":               secret[:len(secret)-8],
		"with a newline":    secret + "\n",
		"in another case":   strings.ToUpper(secret),
		"a token":           "jct_" + strings.Repeat("a", 40),
		"beyond any length": strings.Repeat("a", 1<<20),
	} {
		if _, err := v.Verify(t.Context(), bad); err != auth.ErrUnauthenticated {
			t.Errorf("%s: %v, want exactly ErrUnauthenticated", name, err)
		}
	}
}

// A caller may keep and change what it got; the cache must not notice.
func TestPrincipalsShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		_, secret := newKey(t, store, "acme", auth.KeyOptions{TTL: time.Hour})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		synctest.Wait()
		verify(t, v, secret)
		p := verify(t, v, secret)
		p.Scopes[0] = auth.Admin
		*p.ExpiresAt = time.Time{}
		if p := verify(t, v, secret); p.May(auth.Admin) || p.ExpiresAt.IsZero() {
			t.Error("one caller changed the principal of another")
		}
	})
}

func TestExpiryIsCheckedOnEachCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		_, secret := newKey(t, store, "acme", auth.KeyOptions{TTL: time.Minute})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		time.Sleep(time.Minute - 2*time.Millisecond) // fake time
		p := verify(t, v, secret)
		time.Sleep(2 * time.Millisecond)
		if _, err := v.Verify(t.Context(), secret); err != auth.ErrUnauthenticated {
			t.Errorf("expired, and out of the cache: %v", err)
		}
		if err := v.Check(t.Context(), p); err != auth.ErrUnauthenticated {
			t.Errorf("Check of an expired key: %v", err)
		}
	})
}

func TestVerifyAnswersFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		synctest.Wait() // the first poll is over
		for range 100 {
			p := verify(t, v, secret)
			if err := v.Check(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			v.Verify(t.Context(), "an-unknown-secret-of-someone")
			p.ClientID = "other"
			if err := v.Check(t.Context(), p); err != auth.ErrUnauthenticated {
				t.Fatalf("a key under another client's name: %v", err)
			}
		}
		if n := store.byHash.Load(); n != 2 {
			t.Errorf("the store was asked %d times for two secrets, want 2", n)
		}
		if n := store.lists.Load(); n != 0 {
			t.Errorf("keys were listed %d times, want 0", n)
		}
		if err := store.RevokeKey(t.Context(), "", key.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		if _, err := v.Verify(t.Context(), secret); err != auth.ErrUnauthenticated {
			t.Errorf("a poll after the revocation: %v", err)
		}
	})
}

// A key that was refused as unknown works as soon as a poll has seen it.
func TestUnknownSecretBecomesKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		synctest.Wait()
		key, secret, err := auth.NewKey("acme", "", nil, auth.KeyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), secret); err != auth.ErrUnauthenticated {
			t.Fatal(err)
		}
		if err := store.CreateKey(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		verify(t, v, secret)
	})
}

// Without polls the memory must not be believed: nothing would tell of a
// revocation.
func TestMemoryIsNotBelievedWithoutPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		p := verify(t, v, secret) // before any poll
		if err := store.RevokeKey(t.Context(), "", key.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		if _, err := v.Verify(t.Context(), secret); err != auth.ErrUnauthenticated {
			t.Errorf("no poll ran, and a revoked key is good: %v", err)
		}
		if err := v.Check(t.Context(), p); err != auth.ErrUnauthenticated {
			t.Errorf("no poll ran, and Check of a revoked key says %v", err)
		}
	})
}

func TestBrokenStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		store := watch(openStore(t))
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil))})
		stop := run(t, v)
		synctest.Wait()
		p := verify(t, v, secret)

		broken := errors.New("disk on fire")
		store.fail.Store(&broken)
		time.Sleep(time.Second)
		verify(t, v, secret) // a short failure is bridged
		time.Sleep(5 * time.Second)
		if _, err := v.Verify(t.Context(), secret); !errors.Is(err, broken) || errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("Verify says %v, want what the store said", err)
		}
		if _, err := v.Login(t.Context(), secret, netip.Addr{}); !errors.Is(err, broken) {
			t.Errorf("Login says %v, want what the store said", err)
		}
		if _, err := v.Streams().Open(t.Context(), p, "sse", func(error) {}); !errors.Is(err, broken) {
			t.Errorf("Open says %v, want what the store said", err)
		}
		if n := v.Streams().Held(key.ID); n != 0 {
			t.Errorf("a refused stream holds %d slots", n)
		}

		store.fail.Store(nil)
		time.Sleep(time.Second)
		verify(t, v, secret)
		stop()
		if n := strings.Count(logged.String(), "cannot be polled"); n != 1 {
			t.Errorf("the failure was logged %d times, want once:\n%s", n, &logged)
		}
		if n := strings.Count(logged.String(), "polled again"); n != 1 {
			t.Errorf("the recovery was logged %d times, want once:\n%s", n, &logged)
		}
		if strings.Contains(logged.String(), secret) {
			t.Error("the log holds a secret")
		}
	})
}

func TestLastUseIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		stop := run(t, v)
		synctest.Wait()
		const minutes = 5
		for range minutes * 60 {
			verify(t, v, secret)
			time.Sleep(time.Second)
		}
		if n := len(store.touch); n < minutes-1 || n > minutes {
			t.Errorf("the last use was written %d times in %d minutes", n, minutes)
		}
		verify(t, v, secret)
		last := time.Now()
		stop()
		keys, err := store.Keys(context.Background(), "acme")
		if err != nil {
			t.Fatal(err)
		}
		if got := keys[0].LastUsedAt; keys[0].ID != key.ID || got == nil || last.Sub(*got).Abs() > time.Millisecond {
			t.Errorf("after the end lastUsedAt is %v, want %v", got, last)
		}
	})
}

// A write that failed is made up for.
func TestLastUseSurvivesAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := watch(openStore(t))
		_, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		synctest.Wait()
		verify(t, v, secret)
		broken := errors.New("disk on fire")
		store.fail.Store(&broken)
		time.Sleep(10 * time.Second)
		store.fail.Store(nil)
		time.Sleep(10 * time.Second)
		if len(store.touch) != 1 {
			t.Errorf("written %d times, want once", len(store.touch))
		}
	})
}
