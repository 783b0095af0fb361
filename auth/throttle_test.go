package auth_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jobcast/jobcast/auth"
)

const wrong = "jc_nosuchkey0_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func TestLoginLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		_, secret := newKey(t, store, "acme", auth.KeyOptions{})
		v := auth.NewVerifier(store, auth.VerifierOptions{})
		addr := netip.MustParseAddr("192.0.2.1")
		login := func(secret string, addr netip.Addr) error {
			_, err := v.Login(t.Context(), secret, addr)
			return err
		}
		for i := range 30 {
			if err := login(wrong, addr); err != auth.ErrUnauthenticated {
				t.Fatalf("failure %d: %v", i+1, err)
			}
		}
		err := login(wrong, addr)
		var limit *auth.LoginLimitError
		if !errors.As(err, &limit) || !errors.Is(err, auth.ErrLoginLimit) || errors.Is(err, auth.ErrUnauthenticated) {
			t.Fatalf("failure 31: %v, want ErrLoginLimit", err)
		}
		if limit.RetryAfter <= 0 || limit.RetryAfter > time.Minute {
			t.Errorf("retry after %v", limit.RetryAfter)
		}
		if strings.Contains(err.Error(), wrong) {
			t.Error("the refusal repeats the secret")
		}
		if err := login(secret, addr); err != nil {
			t.Errorf("a good login from the same address: %v", err)
		}
		if err := login("", addr); err != auth.ErrUnauthenticated {
			t.Errorf("no credential at all: %v", err)
		}
		if err := login(wrong, netip.MustParseAddr("192.0.2.2")); err != auth.ErrUnauthenticated {
			t.Errorf("the neighbour: %v", err)
		}
		time.Sleep(limit.RetryAfter) // fake time
		if err := login(wrong, addr); err != auth.ErrUnauthenticated {
			t.Errorf("after retry-after: %v", err)
		}
		if err := login(wrong, addr); !errors.Is(err, auth.ErrLoginLimit) {
			t.Errorf("one more after retry-after: %v", err)
		}
		time.Sleep(2 * time.Minute)
		for i := range 30 {
			if err := login(wrong, addr); err != auth.ErrUnauthenticated {
				t.Fatalf("failure %d after a quiet time: %v", i+1, err)
			}
		}
	})
}

// Refused tries and the passing of minutes must not give a steady guesser more
// than its rate.
func TestSteadyGuessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := auth.NewVerifier(openStore(t), auth.VerifierOptions{})
		addr := netip.MustParseAddr("2001:db8::1")
		judged := 0
		const minutes = 5
		for range minutes * 60 * 4 {
			if _, err := v.Login(t.Context(), wrong, addr); err == auth.ErrUnauthenticated {
				judged++
			}
			time.Sleep(time.Second / 4)
		}
		if want := 30 + minutes*30; judged < want-2 || judged > want {
			t.Errorf("%d failures were judged in %d minutes, want about %d", judged, minutes, want)
		}
	})
}

func TestLoginLimitByNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := auth.NewVerifier(openStore(t), auth.VerifierOptions{})
		for _, tc := range []struct {
			name, from, probe string
			same              bool
		}{
			{"one /64", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
			{"the next /64", "2001:db8:0:3::1", "2001:db8:0:4::1", false},
			{"IPv4 inside IPv6", "192.0.2.9", "::ffff:192.0.2.9", true},
			{"IPv4 inside IPv6, another", "192.0.2.11", "::ffff:192.0.2.12", false},
			{"a zone", "fe80::1%eth0", "fe80::1%eth1", true},
		} {
			for range 30 {
				v.Login(t.Context(), wrong, netip.MustParseAddr(tc.from))
			}
			_, err := v.Login(t.Context(), wrong, netip.MustParseAddr(tc.probe))
			if errors.Is(err, auth.ErrLoginLimit) != tc.same {
				t.Errorf("%s: %v", tc.name, err)
			}
		}
		for range 30 { // an address that is not known
			v.Login(t.Context(), wrong, netip.Addr{})
		}
		if _, err := v.Login(t.Context(), wrong, netip.Addr{}); !errors.Is(err, auth.ErrLoginLimit) {
			t.Errorf("no address: %v", err)
		}
	})
}
