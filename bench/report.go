package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is the result of a run. Latencies are in milliseconds.
type Report struct {
	Scenario    string             `json:"scenario"`
	Settings    map[string]any     `json:"settings"`
	Began       time.Time          `json:"began"`
	Seconds     float64            `json:"seconds"` // of the measured window, from the first intended start to the last end
	Interrupted bool               `json:"interrupted,omitempty"`
	Started     int64              `json:"started"`
	Accepted    int64              `json:"accepted"` // orders
	Finished    int64              `json:"finished"`
	Shed        int64              `json:"shed"`   // 503 with Retry-After
	Missed      int64              `json:"missed"` // never started: the generator fell behind
	PerSecond   float64            `json:"finished_per_second"`
	Lag         Latency            `json:"lag"` // real less intended start
	Steps       map[string]Latency `json:"steps"`
	Processes   []Usage            `json:"processes"`
	Generator   Usage              `json:"generator"`
	Connections uint64             `json:"connections"` // made
	Faults      map[string]int     `json:"faults"`
	Examples    []string           `json:"examples"`
	Series      []Second           `json:"series"`
	Watchers    *Watchers          `json:"watchers,omitempty"`
	Parts       []Part             `json:"parts,omitempty"` // phases or bursts
	ReadBack    *ReadBack          `json:"read_back,omitempty"`
}

// Latency sums up a histogram. Percentiles are those of an HdrHistogram's plot.
type Latency struct {
	Count       int64        `json:"count"`
	Mean        float64      `json:"mean_ms"`
	P50         float64      `json:"p50_ms"`
	P90         float64      `json:"p90_ms"`
	P99         float64      `json:"p99_ms"`
	P999        float64      `json:"p99_9_ms"`
	Max         float64      `json:"max_ms"`
	Percentiles []Percentile `json:"percentiles,omitempty"`
}

// Percentile is one point of a plot.
type Percentile struct {
	Percent float64 `json:"percent"`
	At      float64 `json:"ms"`
}

func latency(h *hdrhistogram.Histogram) Latency {
	at := func(percent float64) float64 { return float64(h.ValueAtQuantile(percent)) / 1000 }
	l := Latency{
		Count: h.TotalCount(), Mean: h.Mean() / 1000, P50: at(50), P90: at(90), P99: at(99), P999: at(99.9),
		Max: float64(h.Max()) / 1000,
	}
	for _, b := range h.CumulativeDistributionWithTicks(2) {
		l.Percentiles = append(l.Percentiles, Percentile{b.Quantile, float64(b.ValueAt) / 1000})
	}
	return l
}

// report sums up a load that has ended.
func (l *Load) report(scenario string) *Report {
	m := l.Meter
	r := &Report{
		Scenario: scenario, Began: l.Began, Seconds: l.Ended.Sub(l.Began).Seconds(), Interrupted: l.Stopped,
		Started: m.Started.Load(), Accepted: m.Accepted.Load(), Finished: m.Finished.Load(), Shed: m.Shed.Load(),
		Missed: m.Missed.Load(), Connections: l.Pool.dials.Load(), Steps: map[string]Latency{},
		Processes: l.usages, Generator: l.own,
	}
	if r.Seconds > 0 {
		r.PerSecond = float64(r.Finished) / r.Seconds
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Lag, r.Series = latency(m.lag), m.series
	for i, h := range m.total {
		if h.TotalCount() > 0 {
			r.Steps[Step(i).String()] = latency(h)
		}
	}
	return r
}

// writeJSON writes the report to a file.
func (r *Report) writeJSON(path string) error {
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(raw, '\n'), 0o644)
}
