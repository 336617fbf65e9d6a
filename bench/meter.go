package main

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

const (
	latencyMax = 2 * time.Minute // longer ones count as this
	// maxSeconds bounds the series; a run that is longer has no more of it.
	maxSeconds = 2 * 60 * 60
)

// Step is something whose latency is measured.
type Step int

// The steps of an order's life, and what only some scenarios measure.
const (
	stepMenu    Step = iota // request to answer
	stepQuote               // request to answer
	stepPlace               // request to answer; without a quote before it, from the intended start
	stepPaid                // from the request that places the order to "placed" on its stream
	stepStart               // command to answer
	stepReady               // command to answer
	stepCollect             // command to answer
	stepWhole               // from the intended start to "picked_up" on the stream
	stepScreen              // from a command to the new state on the stream
	stepCommit              // from the order's updated_at to that state on the stream
	stepShed                // from the intended start to a 503
	stepSame                // request for a menu to 304, where that is measured apart
	stepCount
)

var stepNames = [stepCount]string{"menu", "quote", "place", "paid", "start", "ready", "collect", "whole", "screen", "commit", "shed", "menu-304"}

func (s Step) String() string { return stepNames[s] }

// Meter counts and times what happens in a run. Safe for concurrent use.
type Meter struct {
	Started, Finished, Accepted, Shed, Missed atomic.Int64
	InFlight, Streams                         atomic.Int64 // now

	mu     sync.Mutex
	from   time.Time // earlier latencies are not recorded: warming up
	total  [stepCount]*hdrhistogram.Histogram
	recent [stepCount]*hdrhistogram.Histogram // of this second
	lag    *hdrhistogram.Histogram            // of the generator itself: real less intended start
	late   time.Duration                      // at most, this second
	series []Second
}

// Second is one second of a run, as it was seen at its end. Counts are those since the beginning.
type Second struct {
	At       float64              `json:"at"` // seconds since the beginning
	Started  int64                `json:"started"`
	Accepted int64                `json:"accepted"`
	Finished int64                `json:"finished"`
	Shed     int64                `json:"shed"`
	Faults   int64                `json:"faults"`
	InFlight int64                `json:"in_flight"` // now
	Streams  int64                `json:"streams"`   // open now, where that is counted
	Memory   map[string]int64     `json:"memory_bytes"`
	LagMax   float64              `json:"lag_max_ms"`
	Steps    map[string]Quantiles `json:"steps"`
}

// Quantiles are latencies in milliseconds.
type Quantiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P99   float64 `json:"p99_ms"`
	Max   float64 `json:"max_ms"`
}

// NewMeter makes a meter.
func NewMeter() *Meter {
	m := &Meter{lag: histogram(3)}
	for i := range stepCount {
		m.total[i], m.recent[i] = histogram(3), histogram(2)
	}
	return m
}

// histogram holds microseconds.
func histogram(digits int) *hdrhistogram.Histogram {
	return hdrhistogram.New(1, latencyMax.Microseconds(), digits)
}

// Record notes how long a step took.
func (m *Meter) Record(step Step, took time.Duration) {
	µs := microseconds(took)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.from.IsZero() && time.Now().Before(m.from) {
		return
	}
	_ = m.total[step].RecordValue(µs) // within its bounds
	_ = m.recent[step].RecordValue(µs)
}

// Lag notes how late the generator itself was.
func (m *Meter) Lag(late time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.lag.RecordValue(microseconds(late))
	m.late = max(m.late, late)
}

func microseconds(d time.Duration) int64 {
	return min(max(d, time.Microsecond), latencyMax).Microseconds()
}

// ColdUntil keeps latencies before a time out of the result.
func (m *Meter) ColdUntil(at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.from = at
}

// Tick ends a second.
func (m *Meter) Tick(at time.Duration, faults int, memory map[string]int64) Second {
	s := Second{
		At: at.Seconds(), Started: m.Started.Load(), Accepted: m.Accepted.Load(), Finished: m.Finished.Load(),
		Shed: m.Shed.Load(), Faults: int64(faults), InFlight: m.InFlight.Load(), Streams: m.Streams.Load(), Memory: memory, Steps: map[string]Quantiles{},
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.LagMax, m.late = float64(m.late.Microseconds())/1000, 0
	for i, h := range m.recent {
		if h.TotalCount() > 0 {
			s.Steps[Step(i).String()] = quantiles(h)
			h.Reset()
		}
	}
	if len(m.series) < maxSeconds {
		m.series = append(m.series, s)
	}
	return s
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	return Quantiles{
		Count: h.TotalCount(), P50: float64(h.ValueAtQuantile(50)) / 1000, P99: float64(h.ValueAtQuantile(99)) / 1000,
		Max: float64(h.Max()) / 1000,
	}
}
