package storetest

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jobcast/jobcast/auth"
)

// testSignIns: a code is exchanged for a key once, in time, and both are forgotten when
// they have expired; other keys are not.
func testSignIns(w *world) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	ends := now.Add(time.Hour)
	key := func(id string, hash byte, signIn bool, at time.Time) auth.Stored {
		return auth.Stored{Hash: [32]byte{hash}, SignIn: signIn, Key: auth.Key{
			ID: id, ClientID: "a", Name: id, Scopes: []auth.Scope{auth.Watch}, CreatedAt: at, ExpiresAt: &ends,
		}}
	}
	code := auth.Code{Hash: [32]byte{100}, ClientID: "a", Scopes: []auth.Scope{auth.Submit, auth.Admin}, ExpiresAt: now.Add(time.Minute)}
	if err := w.store.CreateCode(w.Context(), code); !errors.Is(err, auth.ErrNoClient) {
		w.Errorf("a code of no client: %v", err)
	}
	w.ok(w.store.CreateKey(w.Context(), key("plain", 1, false, now)))
	w.submit("b", queued())
	w.ok(w.store.CreateCode(w.Context(), code))
	if got := must(w.store.Clients(w.Context(), 5))(w); !slices.Equal(got, []string{"a", "b"}) {
		w.Errorf("clients %q", got)
	}
	if got := must(w.store.Clients(w.Context(), 1))(w); !slices.Equal(got, []string{"a"}) {
		w.Errorf("the first client is %q", got)
	}
	w.reopen()
	if diff := difference(code, must(w.store.Code(w.Context(), code.Hash))(w)); diff != "" {
		w.Errorf("code (-want +got):\n%s", diff)
	}
	raised := revisions(w)
	for what, err := range map[string]error{
		"an unknown code":          w.store.RedeemCode(w.Context(), [32]byte{101}, key("x", 2, true, now)),
		"a code that has expired":  w.store.RedeemCode(w.Context(), code.Hash, key("x", 2, true, code.ExpiresAt)),
		"the hash of a key for it": w.store.RedeemCode(w.Context(), [32]byte{1}, key("x", 2, true, now)),
	} {
		if !errors.Is(err, auth.ErrNoCode) {
			w.Errorf("%s: %v", what, err)
		}
	}
	if err := w.store.RedeemCode(w.Context(), code.Hash, key("x", 1, true, now)); !errors.Is(err, auth.ErrExists) {
		w.Errorf("a key that cannot be made: %v", err)
	}
	raised("a refused exchange", false)
	if n := w.redeemAtOnce(code.Hash, key("in", 3, true, now)); n != 1 {
		w.Errorf("%d of many exchanges succeeded", n)
	}
	raised("an exchange", true)
	if _, err := w.store.Code(w.Context(), code.Hash); !errors.Is(err, auth.ErrNoCode) {
		w.Errorf("a used code: %v", err)
	}
	got := must(w.store.KeyByHash(w.Context(), [32]byte{3}))(w)
	if diff := difference(key("in", 3, true, now), got); diff != "" {
		w.Errorf("key (-want +got):\n%s", diff)
	}
	w.sweepSignIns(code, ends)
	raised("a sweep", false)
}

// redeemAtOnce returns how many of several exchanges of one code succeeded.
func (w *world) redeemAtOnce(code [32]byte, k auth.Stored) int64 {
	var done atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			switch err := w.store.RedeemCode(w.Context(), code, k); {
			case err == nil:
				done.Add(1)
			case !errors.Is(err, auth.ErrNoCode):
				w.Errorf("exchange: %v", err)
			}
		})
	}
	all.Wait()
	return done.Load()
}

// sweepSignIns checks what is swept when a code and the keys end.
func (w *world) sweepSignIns(code auth.Code, ends time.Time) {
	w.Helper()
	w.ok(w.store.CreateCode(w.Context(), code))
	left := func(at time.Time, codes bool, keys ...string) {
		w.Helper()
		w.ok(w.store.SweepSignIns(w.Context(), at))
		if _, err := w.store.Code(w.Context(), code.Hash); (err == nil) != codes {
			w.Errorf("the code at %v: %v", at, err)
		}
		var got []string
		for _, k := range must(w.store.Keys(w.Context(), "a"))(w) {
			got = append(got, k.ID)
		}
		if !slices.Equal(got, keys) {
			w.Errorf("keys at %v: %q, want %q", at, got, keys)
		}
	}
	left(code.ExpiresAt.Add(-time.Millisecond), true, "plain", "in")
	left(code.ExpiresAt, false, "plain", "in")
	left(ends.Add(-time.Millisecond), false, "plain", "in")
	left(ends, false, "plain")
}
