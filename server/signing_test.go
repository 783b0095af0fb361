package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/server/servertest"
	"github.com/jobcast/jobcast/transport/transporttest"
)

// Tokens outlive restarts, and the move of the secret from its file into the store. A
// file with another secret ends all of them, whenever it comes.
func TestTokensOutliveRestarts(t *testing.T) {
	b := servertest.Start(t, transporttest.Options{})
	_, secret := b.Key("acme", auth.KeyOptions{})
	restart := func(file string) {
		t.Helper()
		if err := b.Stop(); err != nil {
			t.Fatal(err)
		}
		if file != "" {
			if err := os.WriteFile(filepath.Join(b.Dir, "token.secret"), []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b.Start()
	}
	mint := func(s *auth.Signer) string {
		t.Helper()
		p, err := b.Parts().Verifier.Verify(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		token, err := s.Mint(p, "", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return token.Text
	}
	check := func(when, token string, want error) {
		t.Helper()
		if _, err := b.Parts().Verifier.Verify(t.Context(), token); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", when, err, want)
		}
	}
	first := mint(b.Parts().Signer)
	restart("")
	check("after a restart", first, nil)

	earlier := strings.Repeat("e", auth.SecretBytes)
	signer, err := auth.NewSigner([]byte(earlier))
	if err != nil {
		t.Fatal(err)
	}
	restart(earlier)
	old := mint(signer)
	check("of the version that had the file", old, nil)
	check("of the secret before it", first, auth.ErrUnauthenticated)
	restart("")
	check("of the file, which is gone", old, nil)
	restart(strings.Repeat("n", auth.SecretBytes))
	check("after a new file", old, auth.ErrUnauthenticated)
	check("after a new file", mint(b.Parts().Signer), nil)
}
