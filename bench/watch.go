package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// screenPatience is how long a new state may take to a watcher before the command's answer is asked why.
	screenPatience = 5 * time.Second
	// clockStep is what one clock may be corrected by meanwhile.
	clockStep = 5 * time.Millisecond
)

type watchRun struct {
	Settings `embed:""`
	Watchers int  `default:"10000" help:"Streams that are open at a time."`
	Idle     bool `help:"Open them first, on orders that wait at the counter; then the rate is that of single changes, and no stream ends."`
}

// Watchers is what live streams cost. Bytes are of the process named server.
type Watchers struct {
	Open       int64   `json:"open"` // streams, mean of the steady state
	Before     int64   `json:"memory_before_bytes"`
	Steady     int64   `json:"memory_steady_bytes"` // mean
	PerWatcher float64 `json:"memory_per_watcher_bytes"`
}

// Run keeps streams open on orders that move: each stays open for as long as it takes the rate to open all of them,
// with the order's steps spread over that time. Measuring begins when all are open.
func (s *watchRun) Run(ctx context.Context) error {
	if s.Watchers < 1 || s.Watchers > s.InFlight {
		return fmt.Errorf("watchers must be from 1 to what may be in flight, %d", s.InFlight)
	}
	if s.Idle {
		return s.runIdle(ctx)
	}
	if s.Method != byCard {
		return errors.New("only orders paid by card can be collected without a till")
	}
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	l.browseAll()
	if err := l.priceAll(); err != nil {
		return err
	}
	life := time.Duration(float64(s.Watchers) / s.Rate * float64(time.Second))
	l.Drain += life
	before := l.Processes.MemoryOf("server")
	l.Meter.ColdUntil(time.Now().Add(life))
	phases := []Phase{{Rate: s.Rate, For: life + s.Duration}}
	l.Run(ctx, arrivals(phases, s.random()), func(a Arrival) error { return l.watched(a, life/3) })
	r := l.report("watch")
	r.Watchers = l.steady(before, life, life+s.Duration)
	if s.ReadBack {
		r.ReadBack = l.readBack("picked_up")
	}
	return s.finish(l, r, s)
}

// steady sums up the seconds in which all streams were open.
func (l *Load) steady(before int64, from, to time.Duration) *Watchers {
	w := &Watchers{Before: before}
	var seconds int64
	for _, s := range l.Meter.series {
		if s.At > from.Seconds() && s.At <= to.Seconds() {
			w.Open, w.Steady, seconds = w.Open+s.Streams, w.Steady+s.Memory["server"], seconds+1
		}
	}
	if seconds > 0 {
		w.Open, w.Steady = w.Open/seconds, w.Steady/seconds
	}
	if w.Open > 0 && w.Steady > 0 {
		w.PerWatcher = float64(w.Steady-before) / float64(w.Open)
	}
	return w
}

// watched is an order's whole life, with a pause before each step.
func (l *Load) watched(a Arrival, pause time.Duration) error {
	v := &visit{load: l, calls: l.Pool.Get(), a: a}
	defer func() { l.Pool.Put(v.calls) }()
	if err := v.order(); err != nil {
		return err
	}
	l.Meter.Streams.Add(1)
	defer l.Meter.Streams.Add(-1)
	defer v.live.Close()
	for _, tap := range []Step{stepStart, stepReady, stepCollect} {
		l.Pool.Put(v.calls) // nobody holds a second connection while waiting for coffee
		l.sleep(pause)
		v.calls = l.Pool.Get()
		if err := v.change(time.Now(), tap.String(), statusAfter[tap]); err != nil {
			return err
		}
	}
	return v.finish()
}

// sleep waits, unless the run is to end early.
func (l *Load) sleep(pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.hurry:
	}
}

// change sends a command and times how long the new state takes to the watcher, from when it was meant to be sent. The
// answer is read afterwards: it waits in the socket, and the stream does not wait for it.
func (v *visit) change(begun time.Time, kind, status string, more ...byte) error {
	v.load.command(v.calls, v.a.Store, kind, v.id, more...)
	if err := v.calls.Send(); err != nil {
		return err
	}
	if err := v.until(status, screenPatience); err != nil {
		if refusal := v.calls.Receive(); refusal == nil && v.calls.Status() != 200 {
			return v.calls.refused(kind)
		}
		return err
	}
	arrived := v.load.lap(stepScreen, begun)
	if err := v.calls.Receive(); err != nil {
		return err
	}
	shown, err := readOrder(v.raw)
	if err != nil {
		return err
	}
	committed, err := time.Parse(time.RFC3339Nano, shown.Updated)
	if err != nil {
		return faultf("answer", "updated_at of %s: %w", v.id, err)
	}
	if ahead := committed.Sub(arrived); ahead > clockStep {
		return faultf("clock", "%s was updated %s after it was on the screen: commit needs the target's clock to be ours", v.id, ahead)
	}
	v.load.Meter.Record(stepCommit, arrived.Sub(committed))
	_, err = v.calls.readResult(kind, v.id)
	return err
}
