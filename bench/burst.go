package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

type burstRun struct {
	Settings `embed:""`
	Bursts   int           `default:"5" help:"How often a second's arrivals come at once."`
	Every    time.Duration `default:"5s" help:"From one burst to the next."`
	Overload float64       `help:"Instead: arrive at the peak, then at so many times the peak, then at the peak again."`
	Peak     float64       `help:"With overload: orders a second that the target can place."`
	For      time.Duration `default:"30s" help:"How long an overload lasts; before it comes a third of that at the peak, after it half of that."`
}

// Part is a part of a run that is looked at on its own: a burst, or a phase of an overload. Shares and latencies are
// those of the orders that came in it, goodput is what was answered in it.
type Part struct {
	Name      string    `json:"name"`
	From      float64   `json:"from"` // seconds since the beginning
	Seconds   float64   `json:"seconds"`
	Offered   int       `json:"offered"`
	Accepted  int       `json:"accepted"`
	Shed      int       `json:"shed"`
	Goodput   float64   `json:"goodput"`                   // accepted a second
	Place     Quantiles `json:"place"`                     // from the intended start
	Refuse    Quantiles `json:"refuse"`                    // of the shed ones, from the intended start
	Answer    Quantiles `json:"answer"`                    // of the shed ones, from the real start: without what the generator was late
	Recovered *float64  `json:"recovered_after,omitempty"` // seconds; absent: not at all, or nothing to recover from
}

// sample is one order of a run that is looked at in parts.
type sample struct {
	at, late, took time.Duration // since the beginning, of the start, since the intended start
	shed, failed   bool
}

// samples collects them. Safe for concurrent use.
type samples struct {
	mu  sync.Mutex
	all []sample
}

// Run places orders in bursts, or more of them than the target can do. Being refused with 503 and a Retry-After is no
// fault here.
func (s *burstRun) Run(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	l, err := s.load(ctx)
	if err != nil {
		return err
	}
	if err := l.quoteAll(); err != nil {
		return err
	}
	l.Sheds = true
	r, err := s.measure(ctx, l)
	if err != nil {
		return err
	}
	r.ReadBack = l.readBack("placed")
	if r.Accepted == 0 {
		l.Faults.Add(faultf("goodput", "no order was accepted"))
	}
	return s.finish(l, r, s)
}

func (s *burstRun) check() error {
	switch {
	case s.Overload == 0 && (s.Bursts < 1 || s.Every <= 0 || s.Rate < 1):
		return errors.New("bursts need a count, a pause, and a rate of at least 1")
	case s.Overload != 0 && (!(s.Overload > 0) || !(s.Peak > 0) || s.For < leastOverload):
		return fmt.Errorf("an overload needs a number above 0, a peak, and to last for %s or more", leastOverload)
	case s.Peak*max(s.Overload, 1)*s.For.Seconds()*2 > maxArrivals:
		return fmt.Errorf("more than %d arrivals", maxArrivals)
	}
	return nil
}

func (s *burstRun) measure(ctx context.Context, l *Load) (*Report, error) {
	var seen samples
	serve := func(a Arrival) error {
		begun := time.Now()
		err := l.place(a)
		seen.add(sample{a.At.Sub(l.Began), begun.Sub(a.At), time.Since(a.At), shed(err), err != nil && !shed(err)})
		return err
	}
	if s.Overload > 0 {
		phases := overload(s.Peak, s.Overload, s.For)
		l.Run(ctx, arrivals(phases, s.random()), serve)
		r := l.report("overload")
		r.Parts = seen.phases(phases)
		return r, nil
	}
	if s.Rate > float64(s.InFlight) {
		return nil, fmt.Errorf("a burst of %.0f is more than may be in flight, %d", s.Rate, s.InFlight)
	}
	l.Run(ctx, bursts(s.Bursts, int(s.Rate), s.Every), serve)
	r := l.report("burst")
	r.Parts = seen.bursts(s.Bursts, s.Every)
	return r, nil
}

func (s *samples) add(one sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, one)
}

// bursts looks at each burst. It has recovered from one when the last order of it is answered.
func (s *samples) bursts(count int, every time.Duration) (parts []Part) {
	for i := range count {
		from := time.Duration(i) * every
		part, mine := s.part(fmt.Sprintf("burst %d", i+1), from, every)
		if len(mine) == 0 {
			break
		}
		last := slices.MaxFunc(mine, func(a, b sample) int { return int(a.took - b.took) }).took.Seconds()
		part.Recovered = &last
		part.Goodput = float64(part.Accepted) / last
		parts = append(parts, part)
	}
	return parts
}

// part sums up the orders that came in a time.
func (s *samples) part(name string, from, length time.Duration) (Part, []sample) {
	p := Part{Name: name, From: from.Seconds(), Seconds: length.Seconds()}
	place, refuse, answer := histogram(3), histogram(3), histogram(3)
	var mine []sample
	answered := 0
	for _, one := range s.all {
		if end := one.at + one.took; !one.shed && !one.failed && end >= from && end < from+length {
			answered++
		}
		if one.at < from || one.at >= from+length {
			continue
		}
		mine = append(mine, one)
		switch {
		case one.shed:
			p.Shed++
			_ = refuse.RecordValue(microseconds(one.took))
			_ = answer.RecordValue(microseconds(one.took - one.late))
		case !one.failed:
			p.Accepted++
			_ = place.RecordValue(microseconds(one.took))
		}
	}
	p.Offered, p.Goodput = len(mine), float64(answered)/length.Seconds()
	p.Place, p.Refuse, p.Answer = quantiles(place), quantiles(refuse), quantiles(answer)
	return p, mine
}
