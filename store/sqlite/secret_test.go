package sqlite

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/auth"
)

// secretText is a secret that shows wherever it appears.
func secretText(char string) []byte { return []byte(strings.Repeat(char, auth.SecretBytes)) }

func writeSecret(t *testing.T, dir string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, secretFile), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func hasSecretFile(t *testing.T, dir string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(dir, secretFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// served opens a folder as a server does, and returns its secret and what was logged.
func served(t *testing.T, dir string) (secret []byte, log string) {
	t.Helper()
	var text bytes.Buffer
	s, err := Open(t.Context(), dir, Options{Serving: true, Logger: slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	secret, err = s.SigningSecret(t.Context())
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	return secret, text.String()
}

// What an earlier version signed with signs on, and is in one place.
func TestSecretFileIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	makeOld(t, dir)
	writeSecret(t, dir, secretText("s"))

	keys, err := Open(t.Context(), dir, Options{}) // as a command does that manages keys
	if err != nil {
		t.Fatal(err)
	}
	if err := keys.Close(); err != nil || !hasSecretFile(t, dir) {
		t.Errorf("%v; only a server has the folder for itself", err)
	}
	for i, file := range []bool{true, false, true} { // there, gone, and there again after a power cut
		if i == 2 {
			writeSecret(t, dir, secretText("s"))
		}
		got, log := served(t, dir)
		if !bytes.Equal(got, secretText("s")) || hasSecretFile(t, dir) {
			t.Errorf("start %d: %d bytes, the file is left: %v", i, len(got), hasSecretFile(t, dir))
		}
		if strings.Contains(log, secretFile) != file {
			t.Errorf("start %d logged\n%s", i, log)
		}
		for _, text := range []string{string(got), hex.EncodeToString(got), base64.StdEncoding.EncodeToString(got)[:40]} {
			if strings.Contains(log, text) {
				t.Errorf("start %d logged the secret", i)
			}
		}
	}
}

// A file with another secret ends what was signed before, whoever made that.
func TestSecretFileWins(t *testing.T) {
	dir := t.TempDir()
	first, _ := served(t, dir)
	for _, file := range []string{"a", "b"} {
		writeSecret(t, dir, []byte("\uFEFF"+string(secretText(file))+"\r\n")) // as an editor leaves it
		got, _ := served(t, dir)
		if !bytes.Equal(got, secretText(file)) || bytes.Equal(got, first) {
			t.Errorf("after a file of %s the secret is another", file)
		}
	}
	if other, _ := served(t, t.TempDir()); bytes.Equal(other, first) {
		t.Error("two folders share a secret")
	}
}

// A file that is none is refused, with what to do, and nothing has changed.
func TestSecretFileIsBroken(t *testing.T) {
	dir := t.TempDir()
	first, _ := served(t, dir)
	for _, content := range []string{"", "tooshort", string(secretText("x")) + "y"} {
		writeSecret(t, dir, []byte(content))
		_, err := Open(t.Context(), dir, Options{Serving: true})
		if err == nil || !strings.Contains(err.Error(), secretFile+" has") || !strings.Contains(err.Error(), "delete it") ||
			strings.Contains(err.Error(), "\n") || len(content) > 0 && strings.Contains(err.Error(), content) {
			t.Errorf("a file of %d bytes: %v", len(content), err)
		}
		if !hasSecretFile(t, dir) {
			t.Errorf("a file of %d bytes was deleted", len(content))
		}
	}
	if err := os.Remove(filepath.Join(dir, secretFile)); err != nil {
		t.Fatal(err)
	}
	if got, _ := served(t, dir); !bytes.Equal(got, first) {
		t.Error("another secret is there now")
	}
}
