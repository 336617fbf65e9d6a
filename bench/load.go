package main

import (
	"context"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// hopeless is how late an arrival is not started any more: the generator, or its bound on orders in flight,
	// has fallen so far behind that the run means nothing.
	hopeless = 10 * time.Second
	// nap bounds how long an interrupt waits for the schedule.
	nap = 100 * time.Millisecond
)

// Load is one run: what all scenarios work with. Its fields are set before it starts.
type Load struct {
	Pool    *Pool
	Stores  []*Store
	Baskets []*Basket
	Meter   *Meter
	Faults  *Faults
	Ledger  *Ledger
	Random  *rand.Rand // of the one goroutine that starts arrivals
	Open    func(pool *Pool, store *Store, id, token string) (Live, error)
	Drain   time.Duration // how long orders in flight are waited for at the end
	Sheds   bool          // a 503 with Retry-After is no fault
	Mark    string        // in every customer's name

	Processes *Processes
	Progress  io.Writer

	Began, Ended time.Time // of the measured window
	Stopped      bool      // by an interrupt

	places chan struct{} // bounds what is in flight
	work   chan Arrival  // to goroutines that are idle
	hurry  chan struct{} // closed when the run is to end early
	visits sync.WaitGroup
	usages []Usage
	own    Usage
}

// Arrival is one customer of the schedule.
type Arrival struct {
	At     time.Time // intended
	Store  *Store
	Basket *Basket
}

// Run starts each arrival at its time and waits until all are done. It is an open loop: a slow target does not make
// later customers come later.
func (l *Load) Run(ctx context.Context, starts iter.Seq[time.Duration], serve func(Arrival) error) {
	defer l.open()()
	for offset := range starts {
		at := l.Began.Add(offset)
		if !l.waitFor(ctx, at) {
			l.Stopped = true
			close(l.hurry)
			break
		}
		late := time.Since(at)
		l.Meter.Lag(late)
		if late > hopeless {
			<-l.places
			l.Meter.Missed.Add(1)
			continue
		}
		l.begin(l.arrival(at), serve)
	}
	close(l.work)
	l.drain()
}

// waitFor waits for a time and then for a place among those in flight.
func (l *Load) waitFor(ctx context.Context, at time.Time) bool {
	for left := time.Until(at); left > 0 && ctx.Err() == nil; left = time.Until(at) {
		time.Sleep(min(left, nap))
	}
	if ctx.Err() != nil { // also of a generator that is behind and never waits
		return false
	}
	select {
	case l.places <- struct{}{}:
		return true
	default:
	}
	select {
	case l.places <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (l *Load) arrival(at time.Time) Arrival {
	return Arrival{at, l.Stores[l.Random.IntN(len(l.Stores))], l.Baskets[l.Random.IntN(len(l.Baskets))]}
}

// begin hands an arrival to a goroutine that is idle, else to a new one: a stack that has grown once is worth keeping.
func (l *Load) begin(a Arrival, serve func(Arrival) error) {
	l.Meter.Started.Add(1)
	l.Meter.InFlight.Add(1)
	l.visits.Add(1)
	select {
	case l.work <- a:
		return
	default:
	}
	go func() {
		_ = l.attend(a, serve) // counted
		for a := range l.work {
			_ = l.attend(a, serve)
		}
	}()
}

func (l *Load) attend(a Arrival, serve func(Arrival) error) error {
	defer l.visits.Done()
	err := serve(a)
	switch {
	case err == nil:
		l.Meter.Finished.Add(1)
	case !l.Sheds || !shed(err):
		l.Faults.Add(err)
	}
	l.Meter.InFlight.Add(-1)
	<-l.places
	return err
}

// drain waits for what is in flight; what does not end in time is cut off, which is a fault of each.
func (l *Load) drain() {
	done := make(chan struct{})
	go func() {
		l.visits.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(l.Drain):
		l.Pool.Close()
		<-done
	}
}
