package auth

import (
	"sync"
	"time"
)

const (
	// maxCachedKeys bounds each map of known keys: 16,384 keys are about 8 MB.
	maxCachedKeys = 16_384
	// maxCachedUnknown bounds what strangers can make the cache remember. It is
	// apart from the known keys, so that guessing never evicts a good one.
	maxCachedUnknown = 1_024
)

// cache remembers what the store said about keys. Nothing in it is older than
// the revision that the poll saw last, and nothing is believed once that poll
// is overdue.
type cache struct {
	mu         sync.RWMutex // guards everything below
	generation uint64       // raised by drop
	validUntil time.Time    // when the last good poll is too old to rely on
	byHash     map[[32]byte]Stored
	byID       map[string]Key
	unknown    map[[32]byte]struct{}
}

func newCache() *cache {
	c := &cache{}
	c.drop()
	return c
}

// key returns what is known about a hash; the zero Stored with found means
// that no key has it. Pass the generation to put.
func (c *cache) key(hash [32]byte, now time.Time) (k Stored, found bool, generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if now.After(c.validUntil) {
		return Stored{}, false, c.generation
	}
	if k, found = c.byHash[hash]; !found {
		_, found = c.unknown[hash]
	}
	return k, found, c.generation
}

// keyByID is key for an id.
func (c *cache) keyByID(id string, now time.Time) (k Key, found bool, generation uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if now.After(c.validUntil) {
		return Key{}, false, c.generation
	}
	k, found = c.byID[id]
	return k, found, c.generation
}

// put remembers a key that the store returned. An answer that was asked for
// before a drop may be older than the drop, and is not kept.
func (c *cache) put(k Stored, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	makeRoom(c.byHash, maxCachedKeys)
	makeRoom(c.byID, maxCachedKeys)
	c.byHash[k.Hash] = k
	c.byID[k.ID] = k.Key
}

// putByID is put for a key whose hash is not at hand.
func (c *cache) putByID(k Key, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	makeRoom(c.byID, maxCachedKeys)
	c.byID[k.ID] = k
}

// putUnknown remembers that no key has this hash.
func (c *cache) putUnknown(hash [32]byte, generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if generation != c.generation {
		return
	}
	makeRoom(c.unknown, maxCachedUnknown)
	c.unknown[hash] = struct{}{}
}

// drop forgets everything, also answers that are still on their way.
func (c *cache) drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.generation++
	c.byHash = make(map[[32]byte]Stored)
	c.byID = make(map[string]Key)
	c.unknown = make(map[[32]byte]struct{})
}

// believeUntil extends the time in which the cache answers.
func (c *cache) believeUntil(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.validUntil = t
}

// makeRoom deletes arbitrary entries until one more fits under limit.
func makeRoom[K comparable, V any](m map[K]V, limit int) {
	for k := range m {
		if len(m) < limit {
			return
		}
		delete(m, k)
	}
}
