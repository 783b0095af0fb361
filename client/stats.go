package client

import (
	"context"
	"net/http"
	"time"
)

// Stats is how a client's jobs stand, and what happened to them in the last hour.
type Stats struct {
	At          time.Time      `json:"at"`
	Jobs        map[Status]int `json:"jobs"`
	Minutes     []Minute       `json:"minutes"` // in which something happened, the oldest first
	TimeToStart Quantiles      `json:"timeToStart"`
	TimeToEnd   Quantiles      `json:"timeToEnd"`
	Server      *ServerStats   `json:"server"` // nil: the key lacks the scope admin
}

// Minute is how often something happened to a job in one.
type Minute struct {
	At        time.Time `json:"at"` // when it began
	Submitted int       `json:"submitted"`
	Started   int       `json:"started"` // attempts
	Retried   int       `json:"retried"` // attempts that ended, and another comes
	Completed int       `json:"completed"`
	Failed    int       `json:"failed"`
	Cancelled int       `json:"cancelled"`
}

// Quantiles are of Count times, in milliseconds.
type Quantiles struct {
	Count int   `json:"count"`
	P50Ms int64 `json:"p50Ms"`
	P99Ms int64 `json:"p99Ms"`
}

// ServerStats are figures of the whole server.
type ServerStats struct {
	Since       time.Time      `json:"since"`      // when counting began
	Readers     map[string]int `json:"readers"`    // live streams and waiting polls, by transport
	Deliveries  map[string]int `json:"deliveries"` // events handed to connections, by transport
	CommitBatch struct {
		Commits int     `json:"commits"`
		Events  int     `json:"events"`
		Mean    float64 `json:"mean"`
	} `json:"commitBatch"`
}

// Stats returns how the client's jobs stand.
func (c *Client) Stats(ctx context.Context) (*Stats, error) {
	var s Stats
	if _, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/stats"}, &s); err != nil {
		return nil, wrap("get stats", err)
	}
	return &s, nil
}
