package main

import (
	"iter"
	"math/rand/v2"
	"time"
)

// maxArrivals bounds one run.
const maxArrivals = 20_000_000

// Phase is a time of a constant rate of arrivals.
type Phase struct {
	Rate float64       `json:"rate"` // arrivals a second
	For  time.Duration `json:"for_ns"`
}

// arrivals gives the intended start of each arrival, counted from the beginning. They are evenly spaced, and exact:
// the n-th of a phase is n/rate after its beginning, whatever became of the ones before. With random they are as
// people come, each independent of the others.
func arrivals(phases []Phase, random *rand.Rand) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		var begins time.Duration
		for _, phase := range phases {
			for at := range phase.arrivals(random) {
				if !yield(begins + at) {
					return
				}
			}
			begins += phase.For
		}
	}
}

func (p Phase) arrivals(random *rand.Rand) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		passed := 0.0 // in mean gaps, so that no rounding adds up
		for range maxArrivals {
			at := time.Duration(passed / p.Rate * float64(time.Second))
			if p.Rate <= 0 || at >= p.For || !yield(at) {
				return
			}
			if random != nil {
				passed += random.ExpFloat64()
			} else {
				passed++
			}
		}
	}
}

// bursts gives count times the same start for size arrivals.
func bursts(count, size int, every time.Duration) iter.Seq[time.Duration] {
	return func(yield func(time.Duration) bool) {
		for i := range count {
			for range size {
				if !yield(time.Duration(i) * every) {
					return
				}
			}
		}
	}
}

// morning is the shape of a chain's morning, from five to noon in quarters of an hour, as shares of its peak: over
// half of a day's sales come before eleven, most of them between seven and half past nine.
var morning = []float64{
	0.08, 0.12, 0.17, 0.23, // five
	0.30, 0.38, 0.47, 0.58, // six
	0.70, 0.82, 0.92, 1.00, // seven
	1.00, 0.98, 0.94, 0.88, // eight
	0.80, 0.70, 0.60, 0.52, // nine
	0.46, 0.42, 0.39, 0.37, // ten
	0.36, 0.36, 0.38, 0.40, // eleven: the first lunches
}

// day compresses the morning into a time.
func day(peak float64, length time.Duration) []Phase {
	phases := make([]Phase, len(morning))
	for i, share := range morning {
		phases[i] = Phase{Rate: peak * share, For: length / time.Duration(len(morning))}
	}
	return phases
}
