package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

const (
	openers = 32 // streams that are opened at once
	// calm lets memory settle between opening streams and measuring.
	calm = 3 * time.Second
)

// runIdle opens all streams before the clock starts, on orders that are to be paid at the counter. Then one order
// after another is started, and in the next round undone, so that all streams stay open.
func (s *watchRun) runIdle(ctx context.Context) error {
	s.Method = byCounter
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	if err := l.quoteAll(); err != nil {
		return err
	}
	before := l.Processes.MemoryOf("server")
	visits := make(chan *visit, s.Watchers)
	l.openAll(ctx, s.Watchers, visits)
	if len(visits) == 0 {
		return fmt.Errorf("no stream could be opened: %v", l.Faults.examples)
	}
	defer l.Pool.Close()
	time.Sleep(calm)
	l.Run(ctx, arrivals(s.phases(), s.random()), func(a Arrival) error {
		var v *visit
		select {
		case v = <-visits:
		default:
			return faultf("generator", "every stream is busy or lost")
		}
		if err := v.nudge(a.At); err != nil {
			v.live.Close()
			l.Meter.Streams.Add(-1)
			return err
		}
		visits <- v
		return nil
	})
	r := l.report("watch")
	r.Watchers = l.steady(before, 0, s.Duration)
	return s.finish(l, r, s)
}

// openAll places orders and opens a stream on each.
func (l *Load) openAll(ctx context.Context, count int, visits chan<- *visit) {
	var all sync.WaitGroup
	places := make(chan struct{}, openers)
	for range count {
		if ctx.Err() != nil {
			break
		}
		a := l.arrival(time.Now())
		places <- struct{}{}
		all.Go(func() {
			defer func() { <-places }()
			v, err := l.openIdle(a)
			if err != nil {
				l.Faults.Add(err)
				return
			}
			l.Meter.Streams.Add(1)
			visits <- v
		})
	}
	all.Wait()
}

func (l *Load) openIdle(a Arrival) (*visit, error) {
	c := l.Pool.Get()
	defer func() { l.Pool.Put(c) }()
	placed, err := l.placeOn(c, a, a.Basket.Total)
	if err != nil {
		return nil, err
	}
	v := &visit{load: l, a: a, id: strings.Clone(placed.ID), total: placed.Total}
	if v.live, err = l.Open(l.Pool, a.Store, v.id, placed.Token); err != nil {
		return nil, err
	}
	if err := v.until("placed", requestTimeout); err != nil {
		v.live.Close()
		return nil, err
	}
	return v, nil
}

// nudge starts an order or takes that back. It was meant to come at a time.
func (v *visit) nudge(at time.Time) error {
	v.calls = v.load.Pool.Get()
	defer func() { v.load.Pool.Put(v.calls) }()
	switch v.state.Status {
	case "placed":
		return v.change(at, "start", "in_progress")
	case "in_progress":
		return v.change(at, "undo", "placed", fmt.Appendf(nil, `,"base_version":%d`, v.shown)...)
	}
	return errors.New("an idle order is " + v.state.Status)
}
