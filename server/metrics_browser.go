package server

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/jobcast/jobcast/jobs/action/browser"
)

// browserFigures is a collector of what there is of Chromium.
type browserFigures struct{ stats func() browser.Stats }

var (
	descBrowser       = prometheus.NewDesc("jobcast_browser_running", "1 while Chromium runs, else 0.", nil, nil)
	descContexts      = prometheus.NewDesc("jobcast_browser_contexts", "Browser contexts in use, one by each job.", nil, nil)
	descContextsLimit = prometheus.NewDesc("jobcast_browser_contexts_limit", "--browsers.", nil, nil)
	descMemory        = prometheus.NewDesc("jobcast_browser_memory_bytes", "Memory of Chromium and all its pages, looked at four times a second while jobs use it.", nil, nil)
	descMemoryLimit   = prometheus.NewDesc("jobcast_browser_memory_limit_bytes", "--browser-max-memory.", nil, nil)
	descStarts        = prometheus.NewDesc("jobcast_browser_starts_total", "Starts of Chromium, by outcome.", []string{"outcome"}, nil)
	descEnds          = prometheus.NewDesc("jobcast_browser_ends_total", "Ends of Chromium, by reason.", []string{"reason"}, nil)
	descPagesEnded    = prometheus.NewDesc("jobcast_browser_pages_ended_total", "Pages that were ended because Chromium took too much memory.", nil, nil)
	descPagesRefused  = prometheus.NewDesc("jobcast_browser_refused_connections_total", "Connections that pages wanted and that were not allowed.", nil, nil)
)

// Describe implements prometheus.Collector.
func (b *browserFigures) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descBrowser, descContexts, descContextsLimit, descMemory, descMemoryLimit, descStarts, descEnds, descPagesEnded, descPagesRefused,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (b *browserFigures) Collect(ch chan<- prometheus.Metric) {
	figure := func(kind prometheus.ValueType, d *prometheus.Desc, v int64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, float64(v), labels...)
	}
	s, running := b.stats(), int64(0)
	if s.Running {
		running = 1
	}
	figure(prometheus.GaugeValue, descBrowser, running)
	figure(prometheus.GaugeValue, descContexts, int64(s.Contexts))
	figure(prometheus.GaugeValue, descContextsLimit, int64(s.Max))
	figure(prometheus.GaugeValue, descMemory, s.Memory)
	figure(prometheus.GaugeValue, descMemoryLimit, s.MemoryLimit)
	figure(prometheus.CounterValue, descStarts, s.Starts, "started")
	figure(prometheus.CounterValue, descStarts, s.Failures, "failed")
	for _, reason := range browser.Reasons() {
		figure(prometheus.CounterValue, descEnds, s.Ends[reason], reason)
	}
	figure(prometheus.CounterValue, descPagesEnded, s.PagesEnded)
	figure(prometheus.CounterValue, descPagesRefused, s.Refused)
}
