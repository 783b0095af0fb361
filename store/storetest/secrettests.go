package storetest

import (
	"bytes"
	"slices"
	"sync"

	"github.com/jobcast/jobcast/auth"
)

// secret returns the signing secret of a store, and fails if it is none.
func (w *world) secret(s Store) []byte {
	w.Helper()
	secret := must(s.SigningSecret(w.Context()))(w)
	if len(secret) != auth.SecretBytes || bytes.Count(secret, secret[:1]) == len(secret) {
		w.Fatalf("a signing secret of %d bytes, all alike: %v", len(secret), len(secret) > 0)
	}
	return secret
}

// testSecret: the signing secret is made once and stays, whoever asks, and comes back
// with a copy of the data. Nobody who changes what it was given changes the secret.
func testSecret(w *world) {
	restoreNone := w.copied()
	first := w.secret(w.store)
	same := func(when string) {
		w.Helper()
		if !bytes.Equal(w.secret(w.store), first) {
			w.Errorf("%s there is another secret", when)
		}
	}
	same("later")
	clear(w.secret(w.store))
	same("after somebody has changed it")
	beside := w.h.Manage()
	if !bytes.Equal(w.secret(beside), first) {
		w.Error("who manages keys sees another secret")
	}
	w.ok(beside.Close())
	w.reopen()
	same("after a restart")
	restore := w.copied()
	same("after a copy")

	restoreNone()
	if other := w.secret(w.store); bytes.Equal(other, first) {
		w.Error("data that never had the secret have it")
	}
	restore()
	same("after the copy was put back")
}

// testSecretAtOnce: all who ask for the first time at once get the same secret.
func testSecretAtOnce(w *world) {
	beside := w.h.Manage()
	w.askAtOnce(w.store, beside)
	w.ok(beside.Close())
}

func testNodesSecret(w, other *world) { w.askAtOnce(w.store, other.store) }

// askAtOnce asks several stores for the first time, which must have one secret.
func (w *world) askAtOnce(stores ...Store) {
	w.Helper()
	all := make([][]byte, 20)
	var asking sync.WaitGroup
	for i := range all {
		asking.Go(func() {
			secret, err := stores[i%len(stores)].SigningSecret(w.Context())
			if err != nil {
				w.Error(err)
			}
			all[i] = secret
		})
	}
	asking.Wait()
	slices.SortFunc(all, bytes.Compare)
	if all = slices.CompactFunc(all, bytes.Equal); len(all) != 1 || !bytes.Equal(all[0], w.secret(w.store)) {
		w.Errorf("%d different secrets", len(all))
	}
}
