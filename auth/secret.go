package auth

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	secretFile      = "token.secret"
	secretFileBytes = 32
)

// LoadSecret reads the secret that signs tokens from the data folder dir, and
// makes it, readable for this user alone, if it is not there. Only one process
// at a time may do so. Whoever deletes the file ends every token.
func LoadSecret(dir string) ([]byte, error) {
	path := filepath.Join(dir, secretFile)
	secret, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return makeSecret(dir, path)
	case err != nil:
		return nil, fmt.Errorf("read signing secret: %w", err)
	}
	if len(secret) != secretFileBytes { // an editor or a copy may have put something around it
		secret = bytes.TrimRight(bytes.TrimPrefix(secret, []byte("\uFEFF")), "\r\n")
	}
	if len(secret) != secretFileBytes {
		return nil, fmt.Errorf("signing secret %s has %d bytes instead of %d; delete it to end all tokens and make a new one",
			path, len(secret), secretFileBytes)
	}
	// A copied folder may have lost the file's mode.
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, fmt.Errorf("protect signing secret: %w", err)
	}
	return secret, nil
}

// makeSecret writes under another name first: a crash must not leave half a
// secret, which would be refused at every start.
func makeSecret(dir, path string) (_ []byte, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("make signing secret: %w", err)
		}
	}()
	secret := make([]byte, secretFileBytes)
	rand.Read(secret) // never fails: it ends the process rather than return weak bytes
	draft, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	// A draft that a crash left may have another mode, and the umask may be odd.
	if err := draft.Chmod(0o600); err != nil {
		return nil, errors.Join(err, draft.Close())
	}
	if _, err := draft.Write(secret); err != nil {
		return nil, errors.Join(err, draft.Close())
	}
	if err := draft.Sync(); err != nil {
		return nil, errors.Join(err, draft.Close())
	}
	if err := draft.Close(); err != nil {
		return nil, err
	}
	if err := os.Rename(draft.Name(), path); err != nil {
		return nil, err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	return secret, errors.Join(folder.Sync(), folder.Close())
}
