package auth

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func FuzzParseKey(f *testing.F) {
	secret := strings.Repeat("a", 32)
	for _, s := range []string{
		"", "jc_", "jc__", "jc_k_" + secret, "jc_k_" + secret + "_", "jc_K_" + secret, "jc_k_" + secret[:26],
		"jct_k_" + secret, "jc_0123456789abcdef_" + secret, "jc_0123456789abcdef0_" + secret, "jc_k_" + secret + "\n",
		"jc_\x00_" + secret, strings.Repeat("jc_a_", 200),
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, ok := parseKey(s)
		if !ok {
			if id != "" {
				t.Errorf("a refused key has the id %q", id)
			}
			return
		}
		tail, found := strings.CutPrefix(s, "jc_"+id+"_")
		if !found || len(id) < 1 || len(id) > 16 || len(tail) < 27 || len(tail) > 128 {
			t.Errorf("accepted %q with id %q", s, id)
		}
		if strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789") != "" ||
			strings.ContainsFunc(tail, func(r rune) bool {
				return r > 'z' || !strings.ContainsRune("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", r)
			}) {
			t.Errorf("accepted a foreign character in %q", s)
		}
		if checkSecret(s) != nil {
			t.Errorf("%q is a key but no possible secret", s)
		}
	})
}

func number(i int) (h [32]byte) {
	binary.BigEndian.PutUint64(h[:], uint64(i))
	return h
}

func TestCacheIsBounded(t *testing.T) {
	now := time.Now()
	c := newCache()
	c.believeUntil(now.Add(time.Hour))
	_, _, generation := c.key(number(0), now)
	good := Stored{Key: Key{ID: "good"}, Hash: number(-1)}
	c.put(good, generation)
	for i := range 100_000 { // guesses of strangers
		c.putUnknown(number(i), generation)
	}
	if n := len(c.unknown); n != maxCachedUnknown {
		t.Errorf("%d unknown hashes are remembered, want %d", n, maxCachedUnknown)
	}
	if k, found, _ := c.key(good.Hash, now); !found || k.ID != "good" {
		t.Error("guessing evicted a good key")
	}
	for i := range maxCachedKeys + 100 {
		c.put(Stored{Key: Key{ID: string(rune(i + 0x10000))}, Hash: number(i)}, generation)
	}
	if len(c.byHash) != maxCachedKeys || len(c.byID) != maxCachedKeys {
		t.Errorf("%d and %d keys are remembered, want %d", len(c.byHash), len(c.byID), maxCachedKeys)
	}
}

// An answer that was asked for before the revision moved must not outlive it.
func TestCacheRefusesLateAnswers(t *testing.T) {
	now := time.Now()
	c := newCache()
	c.believeUntil(now.Add(time.Hour))
	k := Stored{Key: Key{ID: "k"}, Hash: number(1)}
	_, _, asked := c.key(k.Hash, now)
	c.drop()
	c.put(k, asked)
	c.putByID(k.Key, asked)
	c.putUnknown(number(2), asked)
	if len(c.byHash)+len(c.byID)+len(c.unknown) != 0 {
		t.Error("an answer from before the drop was kept")
	}
}

func TestThrottleIsBounded(t *testing.T) {
	var th throttle
	now := time.Now()
	for i := range 10 * maxAddresses {
		th.failed(netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(i)))), now)
	}
	if n := len(th.young) + len(th.old); n > 2*maxAddresses {
		t.Errorf("%d addresses are remembered, want at most %d", n, 2*maxAddresses)
	}
}

func TestUsesForgetQuietKeys(t *testing.T) {
	var u uses
	now := time.Now()
	u.add("k", now)
	u.written(u.due(now.Add(-touchEvery)), now)
	if due := u.due(now.Add(-touchEvery)); len(due) != 0 || len(u.byKey) != 1 {
		t.Errorf("right after it was written: due %v, %d keys", due, len(u.byKey))
	}
	if due := u.due(now); len(due) != 0 || len(u.byKey) != 0 {
		t.Errorf("a minute later: due %v, %d keys are still held", due, len(u.byKey))
	}
}
