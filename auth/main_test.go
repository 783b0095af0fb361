package auth_test

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/store/sqlite"
	"github.com/jobcast/jobcast/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openStore opens a real store in a folder of its own.
func openStore(t testing.TB) auth.Store {
	t.Helper()
	store, err := sqlite.Open(t.Context(), sqlitetest.Folder(t), sqlite.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// watched is a real store whose calls can be counted, delayed or failed.
type watched struct {
	auth.Store
	byHash atomic.Int64 // calls of KeyByHash
	lists  atomic.Int64 // calls of Key
	touch  chan map[string]time.Time
	fail   atomic.Pointer[error]         // if set, what every read returns
	before atomic.Pointer[func()]        // called before Keys reads
	after  atomic.Pointer[func()]        // called between Keys' read and its return
	hang   atomic.Pointer[chan struct{}] // Revision waits until it is closed, or for its ctx
}

func watch(store auth.Store) *watched {
	return &watched{Store: store, touch: make(chan map[string]time.Time, 1000)}
}

func (w *watched) failure() error {
	if err := w.fail.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *watched) KeyByHash(ctx context.Context, hash [32]byte) (auth.Stored, error) {
	w.byHash.Add(1)
	if err := w.failure(); err != nil {
		return auth.Stored{}, err
	}
	return w.Store.KeyByHash(ctx, hash)
}

func (w *watched) Key(ctx context.Context, client, id string) (auth.Key, error) {
	w.lists.Add(1)
	if f := w.before.Load(); f != nil {
		(*f)()
	}
	if err := w.failure(); err != nil {
		return auth.Key{}, err
	}
	key, err := w.Store.Key(ctx, client, id)
	if f := w.after.Load(); f != nil {
		(*f)()
	}
	return key, err
}

func (w *watched) Revision(ctx context.Context) (int64, error) {
	if c := w.hang.Load(); c != nil {
		select {
		case <-*c:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	if err := w.failure(); err != nil {
		return 0, err
	}
	return w.Store.Revision(ctx)
}

func (w *watched) TouchKeys(ctx context.Context, used map[string]time.Time) error {
	if err := w.failure(); err != nil {
		return err
	}
	w.touch <- used
	return w.Store.TouchKeys(ctx, used)
}

// newKey stores a key of client and returns it with its secret.
func newKey(t testing.TB, store auth.Store, client string, opts auth.KeyOptions) (auth.Stored, string) {
	t.Helper()
	key, secret, err := auth.NewKey(client, "test", nil, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.CreateKey(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	return key, secret
}

// run starts v.Run and returns what stops it and waits for it.
func run(t testing.TB, v *auth.Verifier) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

func verify(t testing.TB, v *auth.Verifier, secret string) auth.Principal {
	t.Helper()
	p, err := v.Verify(t.Context(), secret)
	if err != nil {
		t.Fatalf("Verify: %v", err)
	}
	return p
}
