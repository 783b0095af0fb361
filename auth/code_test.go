package auth_test

import (
	"errors"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// TestSignIn: a code is good for five minutes, its key for twelve hours, and then that is
// forgotten.
func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		defer run(t, v)()
		code := func() (string, time.Time) {
			code, text, err := auth.NewCode("acme", []auth.Scope{auth.Admin})
			if err == nil {
				err = store.CreateCode(t.Context(), code)
			}
			if err != nil {
				t.Fatal(err)
			}
			return text, code.ExpiresAt
		}
		addr := netip.MustParseAddr("192.0.2.1")
		early, end := code()
		late, over := code()
		time.Sleep(time.Until(end) - time.Millisecond)
		key, err := v.SignIn(t.Context(), early, addr)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Until(over))
		for what, text := range map[string]string{"used": early, "old": late, "nonsense": "x"} {
			if _, err := v.SignIn(t.Context(), text, addr); !errors.Is(err, auth.ErrNoCode) {
				t.Errorf("%s: %v", what, err)
			}
		}
		p := verify(t, v, key.Secret)
		if p.ClientID != "acme" || p.May(auth.Watch) || !p.May(auth.Admin) {
			t.Errorf("signed in as %+v", p)
		}
		ended := make(chan error, 1)
		slot, err := v.Streams().Open(t.Context(), p, "sse", func(reason error) { ended <- reason })
		if err != nil {
			t.Fatal(err)
		}
		defer slot.Release()
		begun := key.CreatedAt
		if reason := <-ended; !errors.Is(reason, auth.ErrExpired) || time.Since(begun) < auth.SignedInFor || time.Since(begun) > auth.SignedInFor+time.Second {
			t.Errorf("the stream ended by %v after %v", reason, time.Since(begun))
		}
		if _, err := v.Verify(t.Context(), key.Secret); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("after its end: %v", err)
		}
		time.Sleep(11 * time.Minute) // it is swept by then
		synctest.Wait()
		if keys, err := store.Keys(t.Context(), "acme"); err != nil || len(keys) != 1 || keys[0].ID == key.ID {
			t.Errorf("keys %+v, %v", keys, err)
		}
	})
}
