package vault_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/jobs/vault"
	"github.com/jobcast/jobcast/store/storetest/reference"
)

// TestReadKey: a key is 32 bytes in base64 or hexadecimal; everything else is refused, and
// nothing of it told. A file that others may read is noticed.
func TestReadKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{
		"//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=\n", " FFFEFDFCfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0\r\n", "\uFEFF//79/Pv6+fj39vX08/Lx8O/u7ezr6uno5+bl5OPi4eA=",
	} {
		write(text)
		key, open, err := vault.ReadKey(path)
		if err != nil || open || key[0] != 0xff || key[31] != 0xe0 {
			t.Errorf("%q: %x, open %v, %v", text, key, open, err)
		}
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, open, err := vault.ReadKey(path); err != nil || !open {
		t.Errorf("a file of mode 640: open %v, %v", open, err)
	}
	for _, text := range []string{"", "canary", "canarycanarycanarycanarycanarycanarycanarycanary", strings.Repeat("canary", 1000)} {
		write(text)
		if _, _, err := vault.ReadKey(path); err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), path) {
			t.Errorf("%.50q: %v", text, err)
		}
	}
	if _, _, err := vault.ReadKey(path + "s"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestVault: what is put in comes out for its client, under its name and with its hosts
// alone; the store sees nothing of it, and another key opens nothing.
func TestVault(t *testing.T) {
	ctx, store := t.Context(), reference.Open(reference.NewData(), reference.Options{Node: "n"})
	t.Cleanup(func() { _ = store.Close() })
	v, err := vault.Open(ctx, store, [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	want := jobs.Secret{Value: "hunter2 hunter2", Hosts: []string{"x.test"}}
	if _, _, err := v.PutSecret(ctx, "a", "one", want); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Secret(ctx, "a", "one"); err != nil || got.Value != want.Value || got.Hosts[0] != "x.test" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := v.Secret(ctx, "b", "one"); !errors.Is(err, jobs.ErrNotSealed) {
		t.Errorf("another client's: %v", err)
	}
	row, err := store.Sealed(ctx, jobs.SealedSecret, "a", "one")
	if err != nil || bytes.Contains(row.Data, []byte("hunter2")) || row.Size != len(want.Value) {
		t.Errorf("%+v, %v", row, err)
	}
	if _, _, err := v.PutSecret(ctx, "a", "one", want); err != nil {
		t.Fatal(err)
	}
	if again, err := store.Sealed(ctx, jobs.SealedSecret, "a", "one"); err != nil || bytes.Equal(again.Data, row.Data) {
		t.Errorf("the same value is sealed twice alike, %v", err)
	}
	for what, change := range map[string]func(*jobs.Sealed){
		"client": func(s *jobs.Sealed) { s.Client = "b" }, "name": func(s *jobs.Sealed) { s.Name = "two" },
		"hosts": func(s *jobs.Sealed) { s.Places = nil }, "bytes": func(s *jobs.Sealed) { s.Data[20] ^= 1 },
		"length": func(s *jobs.Sealed) { s.Data = s.Data[:5] },
	} {
		moved := row
		moved.Data = bytes.Clone(row.Data)
		change(&moved)
		if _, _, err := store.PutSealed(ctx, moved); err != nil {
			t.Fatal(err)
		}
		if got, err := v.Secret(ctx, moved.Client, moved.Name); err == nil || got.Value != "" {
			t.Errorf("with another %s it opens: %+v", what, got)
		}
	}
	var wrong *vault.WrongKeyError
	if _, err := vault.Open(ctx, store, [32]byte{2}); !errors.As(err, &wrong) || wrong.N != 3 {
		t.Errorf("with another key: %v", err)
	}
	if _, err := vault.Open(ctx, store, [32]byte{1}); err != nil {
		t.Errorf("with the same key: %v", err)
	}
}
