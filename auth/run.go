package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

const (
	pollEvery  = 250 * time.Millisecond // four tries before a revoked key's streams have to be gone
	pollWithin = 2 * time.Second        // a store that takes longer counts as failing
	// believeFor is how long the cache answers after the start of a good poll.
	// It outlasts a few slow polls; after it every call asks the store again.
	believeFor  = 2 * time.Second
	expireEvery = 250 * time.Millisecond
	touchCheck  = 5 * time.Second
	touchEvery  = time.Minute     // at most this often a key's lastUsedAt is written
	touchWithin = 5 * time.Second // also bounds how long the end of Run may wait for the store
)

// Run follows the changes of keys until ctx ends, also those that other
// processes make: a stream whose key is revoked or expires is told to end
// within a second. It returns when everything it started has ended and the
// last uses of keys are written. Call it once.
func (v *Verifier) Run(ctx context.Context) {
	// A loop for each, so that a store that hangs delays no expiry, and a slow
	// write delays no poll and no beat.
	var loops sync.WaitGroup
	loops.Go(func() { every(ctx, pollEvery, func() { v.poll(ctx) }) })
	loops.Go(func() { every(ctx, expireEvery, func() { v.streams.expire(time.Now()) }) })
	loops.Go(func() { every(ctx, BeatEvery, func() { v.streams.beat(ctx) }) })
	loops.Go(func() { every(ctx, touchCheck, func() { v.touch(ctx, time.Now().Add(-touchEvery)) }) })
	loops.Go(func() { every(ctx, sweepEvery, func() { v.sweepSignIns(ctx) }) })
	loops.Wait()
	v.touch(context.WithoutCancel(ctx), time.Now())
}

// every calls f at once and then each period until ctx ends.
func every(ctx context.Context, period time.Duration, f func()) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for ctx.Err() == nil {
		f()
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// poll notices that keys changed.
func (v *Verifier) poll(ctx context.Context) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, pollWithin)
	defer cancel()
	if err := v.follow(ctx); err != nil {
		if !v.failing && !errors.Is(ctx.Err(), context.Canceled) { // the end of Run is no failure
			v.failing = true
			v.log.Error("keys cannot be polled, so each call asks the store", "error", err)
		}
		return
	}
	if v.failing {
		v.failing = false
		v.log.Info("keys can be polled again")
	}
	v.cache.believeUntil(began.Add(believeFor))
}

// follow drops the cache and judges the keys of all live streams anew if the
// revision moved. It takes note of the revision only when that went well, so
// that a failure is made up for by the next poll.
func (v *Verifier) follow(ctx context.Context) error {
	revision, err := v.store.Revision(ctx)
	if err != nil {
		return fmt.Errorf("reading the revision of the keys: %w", err)
	}
	if v.polled && revision == v.revision {
		return nil
	}
	v.cache.drop()
	// The ids are taken before the keys are read: one that is missing there
	// was not just created, it is gone.
	for client, ids := range v.streams.held() {
		slices.Sort(ids)
		for _, id := range slices.Compact(ids) {
			key, err := v.store.Key(ctx, client, id)
			if err != nil && !errors.Is(err, ErrNoKey) {
				return fmt.Errorf("reading the keys of live streams: %w", err)
			}
			if err != nil || key.RevokedAt != nil {
				v.streams.revoked(id)
			}
		}
	}
	v.revision, v.polled = revision, true
	return nil
}

// touch writes when keys were last used, except those written after since.
func (v *Verifier) touch(ctx context.Context, since time.Time) {
	due := v.uses.due(since)
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, touchWithin)
	defer cancel()
	if err := v.store.TouchKeys(ctx, due); err != nil {
		v.log.Warn("the last use of keys was not written", "keys", len(due), "error", err)
		return
	}
	v.uses.written(due, time.Now())
}

// uses collects when keys were used. It holds the keys of about the last
// minute; only keys that exist get into it.
type uses struct {
	mu    sync.Mutex // guards byKey
	byKey map[string]use
}

type use struct {
	at        time.Time // newest
	writtenAt time.Time // when lastUsedAt was written; zero: not since the key is here
	pending   bool      // at is newer than what was written
}

func (u *uses) add(keyID string, at time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey == nil {
		u.byKey = make(map[string]use)
	}
	u.byKey[keyID] = use{at: at, writtenAt: u.byKey[keyID].writtenAt, pending: true}
}

// due returns what is to be written, and forgets the keys that have been quiet.
func (u *uses) due(since time.Time) map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	due := make(map[string]time.Time)
	for id, use := range u.byKey {
		switch {
		case use.writtenAt.After(since):
		case use.pending:
			due[id] = use.at
		default:
			delete(u.byKey, id)
		}
	}
	return due
}

// written takes note that due was written.
func (u *uses) written(due map[string]time.Time, now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, at := range due {
		newest := u.byKey[id].at
		u.byKey[id] = use{at: newest, writtenAt: now, pending: newest.After(at)}
	}
}
