package main

import (
	"slices"
	"time"
)

// leastOverload leaves a second of the peak before it.
const leastOverload = 3 * time.Second

// overload is what a target is asked for: what it can do, more than that for a time, and again what it can do.
func overload(peak, times float64, length time.Duration) []Phase {
	return []Phase{
		{Rate: peak, For: length / 3},
		{Rate: peak * times, For: length},
		{Rate: peak, For: length / 2},
	}
}

// phases looks at each phase. The last one begins with what the overload left behind: the target has recovered in
// the first second in which nobody is refused and placing takes less than twice what it took before.
func (s *samples) phases(phases []Phase) (parts []Part) {
	var from time.Duration
	for i, phase := range phases {
		part, _ := s.part([]string{"before", "overload", "after"}[i], from, phase.For)
		parts = append(parts, part)
		from += phase.For
	}
	after := from - phases[2].For
	usual := s.usual(phases[0].For)
	for at := after; at < from; at += time.Second {
		second, _ := s.part("", at, time.Second)
		if second.Offered > 0 && second.Shed == 0 && second.Accepted == second.Offered && second.Place.P99 < 2*usual {
			seconds := (at - after).Seconds()
			parts[2].Recovered = &seconds
			break
		}
	}
	return parts
}

// usual is the p99 of placing in an ordinary second: the median over the first seconds, of which one may be cold.
func (s *samples) usual(length time.Duration) float64 {
	var each []float64
	for at := time.Duration(0); at < length; at += time.Second {
		second, _ := s.part("", at, time.Second)
		each = append(each, second.Place.P99)
	}
	slices.Sort(each)
	return each[len(each)/2]
}
