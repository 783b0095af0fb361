package wire

import "time"

// Bucket limits what one peer sends. It is a token bucket, kept as the time at which it
// is full again (the generic cell rate algorithm): every connection has one, and a
// rate.Limiter has ten times its size. The zero value is full. One goroutine at a time
// may use it.
type Bucket struct {
	full time.Duration
}

// Take takes a token and reports whether there was one. now is of any clock that does
// not go back; perSec tokens come back in a second, until there are burst.
func (b *Bucket) Take(now time.Duration, perSec, burst int) bool {
	each := time.Second / time.Duration(perSec)
	full := max(b.full, now) + each
	if full > now+time.Duration(burst)*each {
		return false
	}
	b.full = full
	return true
}
