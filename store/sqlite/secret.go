package sqlite

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/jobcast/jobcast/auth"
)

// secretFile is where earlier versions kept the signing secret. One that is there when a
// server starts becomes the store's: see importSecret.
const secretFile = "token.secret"

const (
	sqlSecret    = `SELECT secret FROM signing_secret`
	sqlAddSecret = `INSERT INTO signing_secret (id, secret) VALUES (1, ?) ON CONFLICT (id) DO NOTHING`
	sqlSetSecret = `INSERT INTO signing_secret (id, secret) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET secret = excluded.secret`
)

// SigningSecret implements auth.Secrets.
func (s *Store) SigningSecret(ctx context.Context) ([]byte, error) {
	secret, err := readOnce(ctx, s, (*conn).signingSecret)
	if err != nil || secret != nil {
		return secret, err
	}
	fresh := make([]byte, auth.SecretBytes)
	_, _ = rand.Read(fresh) // never fails: crypto/rand ends the program instead
	return do(ctx, s.committer, 1, func(b *batch) ([]byte, error) {
		if _, err := b.exec(sqlAddSecret, fresh); err != nil { // another process may have been first
			return nil, fmt.Errorf("store signing secret: %w", err)
		}
		return b.signingSecret()
	})
}

// signingSecret returns nil if there is none yet.
func (s *conn) signingSecret() (secret []byte, err error) {
	_, err = s.row(sqlSecret, nil, &secret)
	return secret, err
}

// readSecretFile returns the secret in the data folder's file, nil if there is none.
func readSecretFile(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretFile)
	secret, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read signing secret: %w", err)
	}
	if len(secret) != auth.SecretBytes { // an editor or a copy may have put something around it
		secret = bytes.TrimRight(bytes.TrimPrefix(secret, []byte("\uFEFF")), "\r\n")
	}
	if len(secret) != auth.SecretBytes {
		return nil, fmt.Errorf("signing secret %s has %d bytes instead of %d: put 32 random bytes there to end all tokens, or delete it",
			path, len(secret), auth.SecretBytes)
	}
	return secret, nil
}

// importSecret makes what was in the file the store's secret, durably, before it deletes
// the file. Only a server does it, which has the folder for itself.
func (s *Store) importSecret(ctx context.Context, dir string, secret []byte) error {
	_, err := do(ctx, s.committer, 1, func(b *batch) (struct{}, error) {
		_, err := b.exec(sqlSetSecret, secret)
		return struct{}{}, err
	})
	if err != nil {
		return fmt.Errorf("take over %s: %w", secretFile, err)
	}
	if err := os.Remove(filepath.Join(dir, secretFile)); err != nil {
		s.opts.Logger.Warn("the signing secret is in the database now, and its file cannot be deleted", "file", secretFile, "error", err)
		return nil
	}
	s.opts.Logger.Info("the signing secret is in the database now, and its file is deleted", "file", secretFile)
	return nil
}
