package server

import (
	"context"
	"io"
	"log/slog"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/store"
)

// sqliteURL is the store of a data folder, whatever is in its name.
func sqliteURL(dir string) string { return "sqlite:" + dir }

// KeyStore is the keys of a data folder.
type KeyStore interface {
	auth.Store
	io.Closer
}

// OpenKeys opens the keys of a data folder, which is made if it is missing. A server may
// serve the folder at the same time; it notices a change within a second.
func OpenKeys(ctx context.Context, dir string) (KeyStore, error) {
	return store.Open(ctx, sqliteURL(dir), store.Options{Logger: slog.New(slog.DiscardHandler)})
}
