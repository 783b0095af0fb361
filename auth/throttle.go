package auth

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	failedLogins    = 30 // an address may fail this often at once
	failedLoginsPer = time.Minute

	// maxAddresses bounds one generation of addresses, about 3 MB.
	maxAddresses = 16_384
)

// ErrLoginLimit: too many failed logins from one address.
var ErrLoginLimit = errors.New("too many failed logins from this address")

// LoginLimitError is ErrLoginLimit with the time after which one more try is
// judged on its own.
type LoginLimitError struct{ RetryAfter time.Duration }

func (e *LoginLimitError) Error() string {
	return fmt.Sprintf("%v; try again in %v", ErrLoginLimit, e.RetryAfter.Round(time.Millisecond))
}

func (e *LoginLimitError) Unwrap() error { return ErrLoginLimit }

// throttle counts failed logins by address: a bucket of 30, refilled at 30 a
// minute. It keeps two generations of addresses and forgets the older one when
// a minute is over or the younger one is full: after a minute without a
// failure a bucket is full again, so only a flood of addresses loses a count.
type throttle struct {
	mu      sync.Mutex // guards everything below
	young   map[netip.Addr]*rate.Limiter
	old     map[netip.Addr]*rate.Limiter
	changed time.Time // when young was begun
}

// failed counts a failed login. It returns a *LoginLimitError if there were
// too many before it.
func (t *throttle) failed(addr netip.Addr, now time.Time) error {
	addr = Network(addr)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.young) >= maxAddresses || now.Sub(t.changed) > failedLoginsPer {
		t.old, t.young = t.young, make(map[netip.Addr]*rate.Limiter)
		t.changed = now
	}
	bucket := t.young[addr]
	if bucket == nil {
		if bucket = t.old[addr]; bucket == nil {
			bucket = rate.NewLimiter(rate.Every(failedLoginsPer/failedLogins), failedLogins)
		}
		t.young[addr] = bucket
	}
	try := bucket.ReserveN(now, 1)
	if wait := try.DelayFrom(now); wait > 0 {
		try.CancelAt(now) // a refused try must not push the next one further away
		return &LoginLimitError{RetryAfter: wait}
	}
	return nil
}

// Network is what counts as one address: an IPv4 address, or the /64 that one
// IPv6 subscriber has to himself. The zero Addr is a network of its own.
func Network(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	prefix, err := addr.Prefix(64)
	if err != nil { // only more bits than the address has can cause it
		return addr
	}
	return prefix.Addr()
}
