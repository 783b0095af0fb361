package storetest

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/jobcast/jobcast/auth"
)

func testKeys(w *world) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	raised := revisions(w)
	createKeys(w, raised, now)
	changeKeys(w, raised, now)
	w.reopen()
	got := must(w.store.KeyByHash(w.Context(), [32]byte{1}))(w)
	used := now.Add(useAfter)
	if got.RevokedAt == nil || !got.RevokedAt.Equal(now) || got.LastUsedAt == nil || !got.LastUsedAt.Equal(used) {
		w.Errorf("revoked %v, used %v", got.RevokedAt, got.LastUsedAt)
	}
	w.submit("z", queued())
	if n := must(w.store.CountClients(w.Context()))(w); n != 3 { // a refused create leaves no client
		w.Errorf("%d clients, want a, b and z", n)
	}
}

// useAfter is when the key k1 is used, counted from when it is made.
const useAfter = time.Second

// revisions returns what checks whether something has moved the revision of keys since
// it was asked before.
func revisions(w *world) (raised func(what string, want bool)) {
	rev := must(w.store.Revision(w.Context()))(w)
	return func(what string, want bool) {
		w.Helper()
		now := must(w.store.Revision(w.Context()))(w)
		if (now > rev) != want {
			w.Errorf("%s moved the revision from %d to %d", what, rev, now)
		}
		rev = now
	}
}

// createKeys makes k1 and k3 of client a, k2 of client b, and reads them.
func createKeys(w *world, raised func(string, bool), now time.Time) {
	ends, limit := now.Add(time.Hour), 7
	keys := []auth.Stored{
		{Key: auth.Key{ID: "k1", ClientID: "a", Name: "one", Scopes: auth.DefaultScopes(), CreatedAt: now}, Hash: [32]byte{1}},
		{Key: auth.Key{ID: "k2", ClientID: "b", Name: "", Scopes: []auth.Scope{auth.Admin}, CreatedAt: now,
			ExpiresAt: &ends, MaxConnections: &limit, AllowHosts: []string{"a.test", "*.b.test"}, DenyHosts: []string{"c.b.test"}}, Hash: [32]byte{2}},
		{Key: auth.Key{ID: "k3", ClientID: "a", Name: "two words", Scopes: []auth.Scope{}, CreatedAt: now}, Hash: [32]byte{3}},
	}
	for _, k := range keys {
		if err := w.store.CreateKey(w.Context(), k); err != nil {
			w.Fatal(err)
		}
		raised("create", true)
		got := must(w.store.KeyByHash(w.Context(), k.Hash))(w)
		if diff := difference(k, got); diff != "" {
			w.Errorf("key (-want +got):\n%s", diff)
		}
	}
	double := keys[0]
	double.ID, double.ClientID = "k9", "c"
	if err := w.store.CreateKey(w.Context(), double); !errors.Is(err, auth.ErrExists) {
		w.Errorf("same secret twice: %v", err)
	}
	raised("a refused create", false)
	if _, err := w.store.KeyByHash(w.Context(), [32]byte{9}); !errors.Is(err, auth.ErrNoKey) {
		w.Errorf("unknown hash: %v", err)
	}
	ids := func(client string) (out []string) {
		for _, k := range must(w.store.Keys(w.Context(), client))(w) {
			out = append(out, k.ID)
		}
		return out
	}
	if diff := difference([][]string{{"k1", "k3"}, {"k2"}, nil, {"k1", "k2", "k3"}},
		[][]string{ids("a"), ids("b"), ids("nobody"), ids("")}); diff != "" {
		w.Errorf("lists (-want +got):\n%s", diff)
	}
	for after, want := range map[string][]string{"": {"k1"}, "k1": {"k3"}, "k3": nil} {
		var got []string
		for _, k := range must(w.store.KeyPage(w.Context(), "a", after, 1))(w) {
			got = append(got, k.ID)
		}
		if diff := difference(want, got); diff != "" {
			w.Errorf("page after %q (-want +got):\n%s", after, diff)
		}
	}
	if _, err := w.store.KeyPage(w.Context(), "a", "k2", 1); !errors.Is(err, auth.ErrNoKey) {
		w.Errorf("page after a foreign key: %v", err)
	}
	if diff := difference(keys[2].Key, must(w.store.Key(w.Context(), "a", "k3"))(w)); diff != "" {
		w.Errorf("key by id (-want +got):\n%s", diff)
	}
	if _, err := w.store.Key(w.Context(), "b", "k3"); !errors.Is(err, auth.ErrNoKey) {
		w.Errorf("a foreign key by id: %v", err)
	}
}

// changeKeys revokes k1 and k2, each once, and notes that k1 was used.
func changeKeys(w *world, raised func(string, bool), now time.Time) {
	for client, id := range map[string]string{"a": "k2", "b": "k1", "": "none"} {
		if err := w.store.RevokeKey(w.Context(), client, id, now); !errors.Is(err, auth.ErrNoKey) {
			w.Errorf("revoke of %s by %q: %v", id, client, err)
		}
	}
	raised("a refused revoke", false)
	for _, at := range []time.Time{now, now.Add(time.Minute)} {
		if err := w.store.RevokeKey(w.Context(), "a", "k1", at); err != nil {
			w.Error(err)
		}
	}
	raised("revoke", true)
	if err := w.store.RevokeKey(w.Context(), "", "k2", now); err != nil {
		w.Error(err)
	}
	raised("revoke by nobody in particular", true)
	used := now.Add(useAfter)
	if err := w.store.TouchKeys(w.Context(), map[string]time.Time{"k1": used, "gone": used}); err != nil {
		w.Error(err)
	}
	raised("touch", false)
	if err := w.store.TouchKeys(w.Context(), map[string]time.Time{"k1": now}); err != nil {
		w.Error(err)
	}
	raised("a touch of the past", false)
}

// testKeyLimit: a client has so many live keys. One that is revoked or expired makes room
// for another, and other clients have their own.
func testKeyLimit(w *world) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	ends := now.Add(time.Hour)
	made := 0
	create := func(client string, at time.Time, ends *time.Time) error {
		made++
		k := auth.Stored{Key: auth.Key{ID: newID(), ClientID: client, CreatedAt: at, ExpiresAt: ends}}
		binary.BigEndian.PutUint64(k.Hash[:], uint64(made))
		return w.store.CreateKey(w.Context(), k)
	}
	for range auth.MaxKeys - 1 {
		if err := create("a", now, nil); err != nil {
			w.Fatal(err)
		}
	}
	full := func(what string, at time.Time) {
		w.Helper()
		var no *auth.KeyLimitError
		if err := create("a", at, nil); !errors.As(err, &no) || *no != (auth.KeyLimitError{Max: auth.MaxKeys, Used: auth.MaxKeys}) {
			w.Errorf("%s: %v", what, err)
		}
	}
	room := func(what, client string, at time.Time, ends *time.Time) {
		w.Helper()
		if err := create(client, at, ends); err != nil {
			w.Errorf("%s: %v", what, err)
		}
	}
	raised := revisions(w)
	room("the last one", "a", now, &ends)
	raised("the last one", true)
	full("one too many", now)
	full("before the end of one", ends.Add(-time.Millisecond))
	raised("a refused one", false)
	room("another client", "b", now, nil)
	room("after the end of one", "a", ends, nil)
	full("in its place", ends)
	keys := must(w.store.Keys(w.Context(), "a"))(w)
	if len(keys) != auth.MaxKeys+1 {
		w.Errorf("%d keys", len(keys))
	}
	if err := w.store.RevokeKey(w.Context(), "a", keys[0].ID, now); err != nil {
		w.Fatal(err)
	}
	room("after a revocation", "a", ends, nil)
	full("after the one in its place", ends)
}

// testEndedKeys: of the keys that have ended, the newest stay in the list; those that are
// live do, and other clients' keys, however old.
func testEndedKeys(w *world) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	made := 0
	create := func(client string, ends *time.Time) string {
		made++
		k := auth.Stored{Key: auth.Key{ID: newID(), ClientID: client, CreatedAt: now, ExpiresAt: ends}}
		binary.BigEndian.PutUint64(k.Hash[:], uint64(made))
		w.ok(w.store.CreateKey(w.Context(), k))
		return k.ID
	}
	want := []string{create("a", nil)}
	foreign := create("b", &now)
	first := create("a", &now)
	for range auth.MaxEndedKeys - 1 {
		want = append(want, create("a", &now))
	}
	revoked := create("a", nil)
	w.ok(w.store.RevokeKey(w.Context(), "a", revoked, now))
	if _, err := w.store.Key(w.Context(), "a", first); err != nil {
		w.Errorf("the oldest, before another is made: %v", err)
	}
	want = append(want, revoked, create("a", nil))
	if _, err := w.store.Key(w.Context(), "a", first); !errors.Is(err, auth.ErrNoKey) {
		w.Errorf("the oldest, after another was made: %v", err)
	}
	var got []string
	for _, k := range must(w.store.Keys(w.Context(), "a"))(w) {
		got = append(got, k.ID)
	}
	if diff := difference(want, got); diff != "" {
		w.Errorf("the list (-want +got):\n%s", diff)
	}
	if _, err := w.store.Key(w.Context(), "b", foreign); err != nil {
		w.Errorf("another client's: %v", err)
	}
}
