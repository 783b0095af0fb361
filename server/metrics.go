package server

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/jobcast/jobcast/auth"
	"github.com/jobcast/jobcast/jobs"
	"github.com/jobcast/jobcast/transport"
	"github.com/jobcast/jobcast/transport/wire"
)

// metrics counts what the server does. All names begin with jobcast_.
type metrics struct {
	since     time.Time
	registry  *prometheus.Registry
	appended  prometheus.Counter
	delivered *prometheus.CounterVec
	lag       prometheus.Histogram
	resumes   *prometheus.CounterVec
	batch     prometheus.Histogram
	refusals  *prometheus.CounterVec
}

// goCollector tells of the Go runtime, which all servers of a process share.
var goCollector = sync.OnceValue(func() prometheus.Collector { return collectors.NewGoCollector() })

func newMetrics() *metrics {
	m := &metrics{
		since:    time.Now(),
		registry: prometheus.NewRegistry(),
		appended: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "jobcast_events_appended_total", Help: "Events committed to the log.",
		}),
		delivered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobcast_events_delivered_total", Help: "Events handed to connections.",
		}, []string{"transport"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "jobcast_delivery_lag_seconds", Help: "Time from an event's commit to its hand-over to a live connection.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 9),
		}),
		resumes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobcast_resumes_total", Help: "Where readers started: new, resumed, or the reason of a reset.",
		}, []string{"transport", "outcome"}),
		batch: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "jobcast_commit_batch_events", Help: "Events in one commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "jobcast_refusals_total", Help: "Requests refused, by the code of the problem.",
		}, []string{"code"}),
	}
	m.registry.MustRegister(m.appended, m.delivered, m.lag, m.resumes, m.batch, m.refusals,
		goCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// refused counts a refusal.
func (m *metrics) refused(code transport.Code) { m.refusals.WithLabelValues(string(code)).Inc() }

// observer is what the transports report to.
func (m *metrics) observer() transport.Observer {
	var delivered sync.Map // the counters by kind, found faster than by label
	return transport.Observer{
		OnDelivered: func(kind string, n int, published time.Time) {
			counter, ok := delivered.Load(kind)
			if !ok {
				counter, _ = delivered.LoadOrStore(kind, m.delivered.WithLabelValues(kind))
			}
			counter.(prometheus.Counter).Add(float64(n))
			if !published.IsZero() {
				m.lag.Observe(time.Since(published).Seconds())
			}
		},
		OnResumed: func(kind, outcome string) { m.resumes.WithLabelValues(kind, outcome).Inc() },
	}
}

// figures says what a store holds.
type figures interface {
	// Counts returns the number of jobs by state.
	Counts(ctx context.Context) (map[jobs.Status]int64, error)
	// Filled returns what all clients fill.
	Filled(ctx context.Context) (jobs.Filled, error)
}

// watch adds the figures that are read when they are asked for.
func (m *metrics) watch(streams *auth.Streams, store figures, limits jobs.Limits, stats func() jobs.Stats, panics func() int64, log *slog.Logger) {
	m.registry.MustRegister(
		&snapshot{streams: streams, store: store, stats: stats, panics: panics, log: log},
		&filled{store: store, limits: limits, stats: stats, log: log},
	)
}

// listen adds the figures of the listener.
func (m *metrics) listen(stats func() wire.GuardStats) {
	figure := func(name, help string, value func(wire.GuardStats) float64) {
		read := func() float64 { return value(stats()) }
		if strings.HasSuffix(name, "_total") {
			m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
			return
		}
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
	}
	figure("jobcast_tcp_connections", "Open connections.", func(s wire.GuardStats) float64 { return float64(s.Open) })
	figure("jobcast_tcp_connections_limit", "Connections that may be open, by the file descriptors of the process.",
		func(s wire.GuardStats) float64 { return float64(s.Limit) })
	figure("jobcast_tcp_strangers", "Open connections on which nobody has shown a good credential.",
		func(s wire.GuardStats) float64 { return float64(s.Strangers) })
	figure("jobcast_accept_failures_total", "Connections that could not be accepted, as for want of file descriptors.",
		func(s wire.GuardStats) float64 { return float64(s.Failures) })
	figure("jobcast_tcp_displaced_total", "Connections closed to make room for others.", func(s wire.GuardStats) float64 { return float64(s.Displaced) })
	figure("jobcast_tcp_refused_total", "Connections refused because all are in use.", func(s wire.GuardStats) float64 { return float64(s.Refused) })
}

// handler serves the figures in Prometheus's text format.
func (m *metrics) handler() fiber.Handler {
	return adaptor.HTTPHandler(promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
}

// snapshot is a collector of figures that exist elsewhere.
type snapshot struct {
	streams *auth.Streams
	store   figures
	stats   func() jobs.Stats
	panics  func() int64
	log     *slog.Logger
}

var (
	descConnections = prometheus.NewDesc("jobcast_connections", "Live streams and waiting polls.", []string{"transport"}, nil)
	descJobs        = prometheus.NewDesc("jobcast_jobs", "Jobs by state.", []string{"status"}, nil)
	descRunning     = prometheus.NewDesc("jobcast_running_attempts", "Attempts that run in this process.", nil, nil)
	descParked      = prometheus.NewDesc("jobcast_parked_attempts", "Those of them that wait for their time and hold no runner.", nil, nil)
	descClaimed     = prometheus.NewDesc("jobcast_attempts_total", "Attempts begun in this process.", nil, nil)
	descOldest      = prometheus.NewDesc("jobcast_oldest_running_seconds", "Age of the longest running attempt.", nil, nil)
	descAbandoned   = prometheus.NewDesc("jobcast_abandoned_actions", "Actions that go on although their attempt has ended.", nil, nil)
	descPanics      = prometheus.NewDesc("jobcast_stream_panics_total", "Connections ended by a panic.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *snapshot) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descConnections, descJobs, descRunning, descParked, descClaimed, descOldest, descAbandoned, descPanics} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (s *snapshot) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	live := s.streams.Live()
	for _, kind := range transport.Kinds() {
		gauge(descConnections, float64(live[kind]), kind)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	counts, err := s.store.Counts(ctx)
	if err != nil {
		s.log.Warn("jobs could not be counted", "error", err)
	} else {
		for _, st := range []jobs.Status{jobs.Pending, jobs.Processing, jobs.Completed, jobs.Failed, jobs.Cancelled} {
			gauge(descJobs, float64(counts[st]), string(st))
		}
	}
	st := s.stats()
	age := 0.0
	if !st.OldestRunning.IsZero() {
		age = time.Since(st.OldestRunning).Seconds()
	}
	gauge(descRunning, float64(st.Running))
	gauge(descParked, float64(st.Parked))
	gauge(descOldest, age)
	gauge(descAbandoned, float64(st.Abandoned))
	ch <- prometheus.MustNewConstMetric(descClaimed, prometheus.CounterValue, float64(st.Claimed))
	ch <- prometheus.MustNewConstMetric(descPanics, prometheus.CounterValue, float64(s.panics()))
}
