// Package vault seals what clients entrust to the server and nobody may read: their
// secrets, and the browser states that their jobs leave behind. What is sealed stands in
// the store; the key stands in a file beside it.
package vault

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/jobcast/jobcast/jobs"
)

// Store keeps what is sealed: of each kind, client and name one. What changes something is
// durable before it returns nil. All methods are safe for concurrent use.
type Store interface {
	// PutSealed inserts s, and its client if that is new, or takes the place of what was
	// there, whose CreatedAt stays; it sets both times itself and returns s with them.
	// *jobs.LimitError if the client has as many of the kind as it may, or the storage is full.
	PutSealed(ctx context.Context, s jobs.Sealed) (kept jobs.Sealed, created bool, err error)
	// Sealed returns what is kept under a name; jobs.ErrNotSealed if nothing is.
	Sealed(ctx context.Context, kind jobs.SealedKind, client, name string) (jobs.Sealed, error)
	// SealedPage lists at most limit of a client, by name, from the first one after a name
	// on; without Data.
	SealedPage(ctx context.Context, kind jobs.SealedKind, client, after string, limit int) ([]jobs.Sealed, error)
	// DeleteSealed forgets what is kept under a name; jobs.ErrNotSealed if nothing is.
	DeleteSealed(ctx context.Context, kind jobs.SealedKind, client, name string) error
	// SealedOtherwise counts what was sealed with another key than that of this id.
	SealedOtherwise(ctx context.Context, keyID []byte) (int64, error)
}

// What keys are derived for from that in the file.
const (
	sealing = "jobcast vault: sealing"
	naming  = "jobcast vault: id"
	idBytes = 8
)

// Vault seals and opens. It is safe for concurrent use.
type Vault struct {
	store Store
	aead  cipher.AEAD
	keyID []byte // tells apart what was sealed with other keys, and nothing about this one
}

// WrongKeyError says that a store holds what was sealed with another key.
type WrongKeyError struct{ N int64 }

func (e *WrongKeyError) Error() string {
	return fmt.Sprintf("secrets and browser states that were sealed with another key: %d", e.N)
}

// Open returns the vault in a store. *WrongKeyError if what is there already has another key.
func Open(ctx context.Context, store Store, key [KeyBytes]byte) (*Vault, error) {
	derived, err := hkdf.Key(sha256.New, key[:], nil, sealing, KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	v := &Vault{store: store}
	if v.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, fmt.Errorf("make cipher: %w", err)
	}
	if v.keyID, err = hkdf.Key(sha256.New, key[:], nil, naming, idBytes); err != nil {
		return nil, fmt.Errorf("derive id of key: %w", err)
	}
	n, err := store.SealedOtherwise(ctx, v.keyID)
	if err == nil && n > 0 {
		err = &WrongKeyError{N: n}
	}
	return v, err
}

// seal makes s of what is plain.
func (v *Vault) seal(s jobs.Sealed, plain []byte) jobs.Sealed {
	s.Size, s.KeyID = len(plain), v.keyID
	s.Data = v.aead.Seal(nil, nil, plain, label(s)) //nolint:gosec // G407: it draws a nonce itself
	return s
}

// open returns what is sealed in s.
func (v *Vault) open(s jobs.Sealed) ([]byte, error) {
	plain, err := v.aead.Open(nil, nil, s.Data, label(s))
	if err != nil {
		return nil, fmt.Errorf("open %s %s of client %s: %w", s.Kind, s.Name, s.Client, err)
	}
	return plain, nil
}

// label is what a row is besides its secret. It is authenticated, so that no row can be
// given to another client, under another name, or for other hosts. No part holds a NUL.
func label(s jobs.Sealed) []byte {
	return []byte(strings.Join(append([]string{string(s.Kind), s.Client, s.Name}, s.Places...), "\x00"))
}

// PutSecret keeps a client's secret in the place of one that has its name.
func (v *Vault) PutSecret(ctx context.Context, client, name string, s jobs.Secret) (kept jobs.Sealed, created bool, err error) {
	return v.store.PutSealed(ctx, v.seal(
		jobs.Sealed{Kind: jobs.SealedSecret, Client: client, Name: name, Places: s.Hosts}, []byte(s.Value)))
}

// Secret returns a client's secret; jobs.ErrNotSealed if there is none.
func (v *Vault) Secret(ctx context.Context, client, name string) (jobs.Secret, error) {
	s, err := v.store.Sealed(ctx, jobs.SealedSecret, client, name)
	if err != nil {
		return jobs.Secret{}, err
	}
	value, err := v.open(s)
	return jobs.Secret{Value: string(value), Hosts: s.Places}, err
}

// State returns a client's browser state; jobs.ErrNotSealed if there is none.
func (v *Vault) State(ctx context.Context, client, name string) ([]byte, error) {
	s, err := v.store.Sealed(ctx, jobs.SealedState, client, name)
	if err != nil {
		return nil, err
	}
	return v.open(s)
}

// SealState seals a browser state of origins, which whoever completes the job keeps.
func (v *Vault) SealState(client, name string, origins []string, state []byte) jobs.Sealed {
	return v.seal(jobs.Sealed{Kind: jobs.SealedState, Client: client, Name: name, Places: origins}, state)
}

// Page lists what there is of a kind; see Store.SealedPage.
func (v *Vault) Page(ctx context.Context, kind jobs.SealedKind, client, after string, limit int) ([]jobs.Sealed, error) {
	return v.store.SealedPage(ctx, kind, client, after, limit)
}

// Delete forgets what is kept under a name; jobs.ErrNotSealed if nothing is.
func (v *Vault) Delete(ctx context.Context, kind jobs.SealedKind, client, name string) error {
	return v.store.DeleteSealed(ctx, kind, client, name)
}
