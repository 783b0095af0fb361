package auth_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/jobcast/jobcast/auth"
)

const someJob = "0190a5e4-0000-7000-8000-000000000000"

func signingSecret() []byte { return []byte(strings.Repeat("k", 32)) }

func newSigner(t testing.TB) *auth.Signer {
	t.Helper()
	s, err := auth.NewSigner(signingSecret())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mint(t testing.TB, s *auth.Signer, p auth.Principal, job string, ttl time.Duration) auth.Token {
	t.Helper()
	token, err := s.Mint(p, job, ttl)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestToken(t *testing.T) {
	store := openStore(t)
	signer := newSigner(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{Signer: signer})
	p := verify(t, v, secret)
	for _, job := range []string{"", someJob} {
		token := mint(t, signer, p, job, time.Hour)
		if !strings.HasPrefix(token.Text, "jct_") || !auth.IsToken(token.Text) || auth.IsToken(secret) || len(token.Text) > 500 {
			t.Errorf("token %q", token.Text)
		}
		got := verify(t, v, token.Text)
		if got.ClientID != "acme" || got.KeyID != key.ID || got.TokenID == "" || got.JobID != job || !got.May(auth.Watch) ||
			got.May(auth.Submit) || got.May(auth.Work) || got.May(auth.Admin) || !got.ExpiresAt.Equal(token.ExpiresAt) {
			t.Errorf("%+v", got)
		}
		if !got.Sees(someJob) || got.Sees("") != (job == "") || got.Sees(key.ID) != (job == "") {
			t.Errorf("a token of %q sees the wrong jobs", job)
		}
	}
	if _, err := auth.NewVerifier(store, auth.VerifierOptions{}).Verify(t.Context(), mint(t, signer, p, "", time.Hour).Text); !errors.Is(err, auth.ErrUnauthenticated) {
		t.Errorf("without a signer: %v", err)
	}
}

// A token ends by itself, and with its key; a token made of a key that ends
// earlier ends with it.
func TestTokenEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := openStore(t)
		signer := newSigner(t)
		v := auth.NewVerifier(store, auth.VerifierOptions{Signer: signer})
		defer run(t, v)()
		key, secret := newKey(t, store, "acme", auth.KeyOptions{})
		_, brief := newKey(t, store, "acme", auth.KeyOptions{TTL: 90 * time.Second})
		token := mint(t, signer, verify(t, v, secret), "", time.Minute)
		long := mint(t, signer, verify(t, v, secret), "", 24*time.Hour)
		short := mint(t, signer, verify(t, v, brief), "", time.Hour)
		if left := time.Until(short.ExpiresAt); left > 90*time.Second {
			t.Errorf("a token outlives its key by %v", left-90*time.Second)
		}
		got := make(ends, 10)
		open := func(text string) {
			t.Helper()
			if _, err := v.Streams().Open(t.Context(), verify(t, v, text), "sse", got.end); err != nil {
				t.Fatal(err)
			}
		}
		open(token.Text)
		open(short.Text)
		time.Sleep(61 * time.Second)
		if _, err := v.Verify(t.Context(), token.Text); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("after its end: %v", err)
		}
		if len(got) != 0 {
			t.Fatalf("an open stream did not outlive its token: %v", <-got)
		}
		time.Sleep(30 * time.Second)
		if reason := <-got; !errors.Is(reason, auth.ErrExpired) || len(got) != 0 {
			t.Errorf("the end of a key ended its token's stream with %v, and %d others", reason, len(got))
		}
		open(long.Text)
		if err := store.RevokeKey(t.Context(), "acme", key.ID, time.Now()); err != nil {
			t.Fatal(err)
		}
		within := time.After(time.Second)
		for range 2 { // the first token's stream is still there
			select {
			case reason := <-got:
				if !errors.Is(reason, auth.ErrRevoked) {
					t.Errorf("ended for %v", reason)
				}
			case <-within:
				t.Fatal("a second after the revocation a token's stream is live")
			}
		}
		if _, err := v.Verify(t.Context(), long.Text); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("a token of a revoked key: %v", err)
		}
	})
}

// A token has its own limit, and leaves its key's alone.
func TestTokenStreams(t *testing.T) {
	store := openStore(t)
	signer := newSigner(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{Signer: signer, Limits: auth.Limits{PerKey: 2, PerClient: 9}})
	owner := verify(t, v, secret)
	open := func(p auth.Principal, want int) []*auth.Slot {
		t.Helper()
		var slots []*auth.Slot
		for {
			slot, err := v.Streams().Open(t.Context(), p, "sse", ignore)
			if err != nil {
				if !errors.Is(err, auth.ErrConnectionLimit) || len(slots) != want {
					t.Errorf("%d streams, then %v; want %d", len(slots), err, want)
				}
				return slots
			}
			slots = append(slots, slot)
		}
	}
	first := open(verify(t, v, mint(t, signer, owner, "", time.Hour).Text), 5)
	open(owner, 2)
	open(verify(t, v, mint(t, signer, owner, someJob, time.Hour).Text), 2) // the client's nine are used up
	if v.Streams().Held(key.ID) != 2 {
		t.Errorf("the key holds %d", v.Streams().Held(key.ID))
	}
	for _, slot := range first {
		slot.Release()
	}
	open(verify(t, v, mint(t, signer, owner, "", time.Hour).Text), 5)
}

// sign makes a token of any claims with any method, as a forger would.
func sign(t testing.TB, method jwt.SigningMethod, secret any, claims jwt.MapClaims, header map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, claims)
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return "jct_" + text
}

func TestForgedTokens(t *testing.T) {
	store := openStore(t)
	key, secret := newKey(t, store, "acme", auth.KeyOptions{})
	other, _ := newKey(t, store, "umbra", auth.KeyOptions{})
	signer := newSigner(t)
	v := auth.NewVerifier(store, auth.VerifierOptions{Signer: signer})
	good := func(change ...any) jwt.MapClaims {
		c := jwt.MapClaims{"iss": "jobcast", "sub": "acme", "key": key.ID, "jti": "x", "exp": time.Now().Add(time.Hour).Unix()}
		for i := 0; i < len(change); i += 2 {
			name, _ := change[i].(string)
			if c[name] = change[i+1]; change[i+1] == nil {
				delete(c, name)
			}
		}
		return c
	}
	hs := jwt.SigningMethodHS256
	verify(t, v, sign(t, hs, signingSecret(), good(), nil)) // so that each refusal below has one reason
	honest := mint(t, signer, verify(t, v, secret), "", time.Hour).Text
	parts := strings.Split(honest, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	for what, text := range map[string]string{
		"another secret":     sign(t, hs, []byte(strings.Repeat("q", 32)), good(), nil),
		"a secret named":     sign(t, hs, []byte("q"), good(), map[string]any{"kid": "../../dev/null"}),
		"HS384":              sign(t, jwt.SigningMethodHS384, signingSecret(), good(), nil),
		"none":               sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, good(), nil),
		"none in the header": "jct_" + none + "." + parts[1] + ".",
		"none, signed":       "jct_" + none + "." + parts[1] + "." + parts[2],
		"no signature":       strings.Join(parts[:2], ".") + ".",
		"no end":             sign(t, hs, signingSecret(), good("exp", nil), nil),
		"an end long past":   sign(t, hs, signingSecret(), good("exp", 1), nil),
		"another issuer":     sign(t, hs, signingSecret(), good("iss", "x"), nil),
		"no client":          sign(t, hs, signingSecret(), good("sub", ""), nil),
		"another client":     sign(t, hs, signingSecret(), good("sub", "umbra"), nil),
		"another's key":      sign(t, hs, signingSecret(), good("key", other.ID), nil),
		"no such key":        sign(t, hs, signingSecret(), good("key", "nobody"), nil),
		"no id":              sign(t, hs, signingSecret(), good("jti", nil), nil),
		"no real job":        sign(t, hs, signingSecret(), good("job", "x"), nil),
		"too long":           sign(t, hs, signingSecret(), good("x", strings.Repeat("x", 1000)), nil),
		"only the prefix":    "jct_",
		"without the prefix": strings.TrimPrefix(honest, "jct_"),
		"a key's prefix":     "jc_" + strings.TrimPrefix(honest, "jct_"),
		"a space":            honest + " ",
		"twice":              honest + honest,
	} {
		if p, err := v.Verify(t.Context(), text); !errors.Is(err, auth.ErrUnauthenticated) {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
}

// No change of a token makes another good one.
func FuzzToken(f *testing.F) {
	store := openStore(f)
	signer := newSigner(f)
	_, secret := newKey(f, store, "acme", auth.KeyOptions{})
	v := auth.NewVerifier(store, auth.VerifierOptions{Signer: signer})
	p := verify(f, v, secret)
	good := map[string]bool{}
	for _, job := range []string{"", someJob} {
		text := mint(f, signer, p, job, 24*time.Hour).Text
		good[text] = true
		f.Add(text)
		f.Add(strings.Replace(text, ".", "..", 1))
		f.Add(text[:len(text)-1])
	}
	f.Add("jct_e30.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		_, err := v.Verify(t.Context(), text)
		if (err == nil) != (good[text] || text == secret) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func TestNewSignerNeedsASecret(t *testing.T) {
	for _, secret := range [][]byte{nil, make([]byte, auth.SecretBytes-1)} {
		if _, err := auth.NewSigner(secret); err == nil {
			t.Errorf("a signer with a secret of %d bytes", len(secret))
		}
	}
}
