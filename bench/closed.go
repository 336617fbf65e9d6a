package main

import (
	"context"
	"math/rand/v2"
	"time"
)

// faultPause keeps a customer whose order failed from asking again at once: a target that refuses fast would be asked
// more than one that works.
const faultPause = 100 * time.Millisecond

// drive serves customers at the settings' rate, or keeps so many busy instead if there are clients.
func (s *Settings) drive(ctx context.Context, l *Load, clients uint, serve func(Arrival) error) {
	if clients > 0 {
		l.RunClosed(ctx, int(clients), s.Duration, serve)
	} else {
		l.Run(ctx, arrivals(s.phases(), s.random()), serve)
	}
}

// RunClosed keeps so many customers busy until the time is over, the next one of each starting when one ends: what a
// target does when it is never idle. Latencies of a closed loop say little, because a slow answer delays the next
// question.
func (l *Load) RunClosed(ctx context.Context, clients int, length time.Duration, serve func(Arrival) error) {
	defer l.open()()
	ctx, cancel := context.WithDeadline(ctx, l.Began.Add(length))
	defer cancel()
	l.visits.Add(clients)
	for range clients {
		go func() {
			defer l.visits.Done()
			for ctx.Err() == nil {
				l.serveOne(ctx, serve)
			}
		}()
	}
	<-ctx.Done()
	if l.Stopped = time.Since(l.Began) < length; l.Stopped {
		close(l.hurry)
	}
	l.drain()
}

func (l *Load) serveOne(ctx context.Context, serve func(Arrival) error) {
	select {
	case l.places <- struct{}{}:
	case <-ctx.Done():
		return
	}
	l.Meter.Started.Add(1)
	l.Meter.InFlight.Add(1)
	l.visits.Add(1)
	a := Arrival{time.Now(), l.Stores[rand.IntN(len(l.Stores))], l.Baskets[rand.IntN(len(l.Baskets))]}
	if err := l.attend(a, serve); err != nil {
		l.sleep(faultPause)
	}
}
