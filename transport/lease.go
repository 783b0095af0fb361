package transport

import (
	"time"

	"github.com/jobcast/jobcast/jobs"
)

// Lease is a lease on the wire.
type Lease struct {
	Token     string    `json:"token"`
	ExpiresAt jobs.Time `json:"expiresAt"`
}

// LeaseUntil returns what its holder is told of a lease.
func LeaseUntil(l jobs.Lease, end time.Time) Lease {
	return Lease{Token: l.Token, ExpiresAt: jobs.At(end)}
}
