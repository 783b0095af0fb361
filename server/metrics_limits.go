package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobcast/jobcast/jobs"
)

// filled is a collector of what clients fill, beside the bounds. Which client has
// most is not told: names of clients would make as many series.
type filled struct {
	store  figures
	limits jobs.Limits
	stats  func() jobs.Stats
	log    *slog.Logger
}

var (
	descStorage        = prometheus.NewDesc("jobcast_storage_bytes", "What the data folder holds: database, WAL and artifacts.", nil, nil)
	descStorageLimit   = prometheus.NewDesc("jobcast_storage_limit_bytes", "--max-storage; 0: no bound.", nil, nil)
	descArtifacts      = prometheus.NewDesc("jobcast_artifact_bytes", "All artifacts together.", nil, nil)
	descMostArtifacts  = prometheus.NewDesc("jobcast_client_artifact_bytes_max", "The artifacts of the client that has most.", nil, nil)
	descArtifactsLimit = prometheus.NewDesc("jobcast_client_artifact_limit_bytes", "--max-artifacts-per-client.", nil, nil)
	descMostJobs       = prometheus.NewDesc("jobcast_client_jobs_max", "Jobs pending or running of the client that has most.", nil, nil)
	descExpired        = prometheus.NewDesc("jobcast_jobs_expired_total", "Jobs that nobody began in time, in this process.", nil, nil)
	descJobsLimit      = prometheus.NewDesc("jobcast_client_jobs_limit", "--max-jobs-per-client.", nil, nil)
)

// Describe implements prometheus.Collector.
func (f *filled) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descStorage, descStorageLimit, descArtifacts, descMostArtifacts, descArtifactsLimit, descMostJobs, descJobsLimit, descExpired,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (f *filled) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	gauge(descStorageLimit, f.limits.Storage)
	gauge(descArtifactsLimit, f.limits.ArtifactsPerClient)
	gauge(descJobsLimit, f.limits.JobsPerClient)
	ch <- prometheus.MustNewConstMetric(descExpired, prometheus.CounterValue, float64(f.stats().Expired))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	now, err := f.store.Filled(ctx)
	if err != nil {
		f.log.Warn("the storage could not be measured", "error", err)
		return
	}
	gauge(descStorage, now.Storage)
	gauge(descArtifacts, now.Artifacts)
	gauge(descMostArtifacts, now.Most.Artifacts)
	gauge(descMostJobs, now.Most.Jobs)
}
