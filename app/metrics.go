package main

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are this server's own: two servers in one process do not mix.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec

	refusedPlacings prometheus.Counter // those of requests that never came to a handler

	mu      sync.RWMutex
	tallies map[answerKind]tally
}

// answerKind is what requests are counted by. There are as many as methods, patterns and statuses allow.
type answerKind struct {
	method, route string
	status        int
}

// tally is where answers of one kind are counted: found once, for to find it takes longer than to count.
type tally struct {
	requests prometheus.Counter
	seconds  prometheus.Observer // nil for live streams
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		tallies:  map[answerKind]tally{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frenchpress_requests_total", Help: "Requests answered, live streams when they begin.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "frenchpress_request_seconds", Help: "Time to answer, live streams left out.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.requests, m.seconds,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.refusedPlacings = m.requests.WithLabelValues(http.MethodPost, placingRoute, strconv.Itoa(http.StatusServiceUnavailable))
	return m
}

// watch adds what others know.
func (m *metrics) watch(a *API) {
	streams := prometheus.GaugeOpts{Name: "frenchpress_live_streams", Help: "Live streams open now."}
	m.registry.MustRegister(poolMetrics{"orders": a.pool, "jobs": a.queue},
		prometheus.NewGaugeFunc(streams, func() float64 { return float64(a.streams.Load()) }))
}

func (m *metrics) count(r *request) {
	t := m.tallyOf(r)
	t.requests.Inc()
	if t.seconds != nil {
		t.seconds.Observe(r.took.Seconds())
	}
}

func (m *metrics) tallyOf(r *request) tally {
	kind := answerKind{knownMethod(r.Request().Method), r.pattern(), r.Response().Status}
	m.mu.RLock()
	t, known := m.tallies[kind]
	m.mu.RUnlock()
	if known {
		return t
	}
	t.requests = m.requests.WithLabelValues(kind.method, kind.route, strconv.Itoa(kind.status))
	if r.route == nil || !r.route.Live {
		t.seconds = m.seconds.WithLabelValues(kind.route)
	}
	m.mu.Lock()
	m.tallies[kind] = t
	m.mu.Unlock()
	return t
}

// knownMethod keeps invented methods from making a time series each.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "other"
}

func (m *metrics) serve(c echo.Context) error {
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(c.Response(), c.Request())
	return nil
}

// poolMetrics shows how busy the connections to the database are: those of orders and all else, and River's.
type poolMetrics map[string]*pgxpool.Pool

var (
	poolConns    = prometheus.NewDesc("frenchpress_pool_connections", "Connections to the database.", []string{"pool", "state"}, nil)
	poolMost     = prometheus.NewDesc("frenchpress_pool_connections_max", "Connections to the database at most.", []string{"pool"}, nil)
	poolWaits    = prometheus.NewDesc("frenchpress_pool_waits_total", "Times that a connection had to be waited for.", []string{"pool"}, nil)
	poolWaitTime = prometheus.NewDesc("frenchpress_pool_wait_seconds_total", "Time that connections were waited for.", []string{"pool"}, nil)
)

// Describe and Collect make it a prometheus.Collector.
func (poolMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{poolConns, poolMost, poolWaits, poolWaitTime} {
		to <- desc
	}
}

// Collect reads the pools' own counters.
func (p poolMetrics) Collect(to chan<- prometheus.Metric) {
	gauge, counter := prometheus.GaugeValue, prometheus.CounterValue
	for name, pool := range p {
		stat := pool.Stat()
		to <- prometheus.MustNewConstMetric(poolConns, gauge, float64(stat.AcquiredConns()), name, "busy")
		to <- prometheus.MustNewConstMetric(poolConns, gauge, float64(stat.IdleConns()), name, "idle")
		to <- prometheus.MustNewConstMetric(poolMost, gauge, float64(stat.MaxConns()), name)
		to <- prometheus.MustNewConstMetric(poolWaits, counter, float64(stat.EmptyAcquireCount()), name)
		to <- prometheus.MustNewConstMetric(poolWaitTime, counter, stat.EmptyAcquireWaitTime().Seconds(), name)
	}
}
