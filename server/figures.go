package server

import (
	"math"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
)

// processFigures are those of GET /v1/stats that are of all clients. They are read from the
// metrics.
type processFigures struct {
	Since       jobs.Time        `json:"since"`      // when counting began
	Readers     map[string]int64 `json:"readers"`    // live streams and waiting polls, by transport
	Deliveries  map[string]int64 `json:"deliveries"` // events handed to connections since then, by transport
	CommitBatch commitBatch      `json:"commitBatch"`
}

// commitBatch is how many events share a commit.
type commitBatch struct {
	Commits int64   `json:"commits"` // that had events, since then
	Events  int64   `json:"events"`
	Mean    float64 `json:"mean"` // two decimals
}

// figures reads what is counted.
func (m *metrics) figures(streams *auth.Streams) processFigures {
	out := processFigures{Since: jobs.At(m.since), Readers: make(map[string]int64), Deliveries: make(map[string]int64)}
	live := streams.Live()
	for _, kind := range transport.Kinds() {
		out.Readers[kind] = int64(live[kind])
		out.Deliveries[kind] = int64(read(m.delivered.WithLabelValues(kind)).GetCounter().GetValue())
	}
	batch := read(m.batch).GetHistogram()
	out.CommitBatch = commitBatch{Commits: int64(batch.GetSampleCount()), Events: int64(batch.GetSampleSum())}
	if n := out.CommitBatch.Commits; n > 0 {
		out.CommitBatch.Mean = math.Round(100*batch.GetSampleSum()/float64(n)) / 100
	}
	return out
}

// read returns what a metric stands at. Those of ours always tell.
func read(m prometheus.Metric) *dto.Metric {
	var out dto.Metric
	_ = m.Write(&out)
	return &out
}
