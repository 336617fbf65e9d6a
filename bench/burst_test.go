package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// serve adds n orders that come evenly in the second at, each taking so long.
func (s *samples) serve(at time.Duration, n int, took time.Duration, refused bool) {
	for i := range n {
		s.add(sample{at: at + time.Duration(i)*time.Second/time.Duration(n), took: took, shed: refused})
	}
}

func TestPhases(t *testing.T) {
	t.Parallel()
	var s samples
	for second := range 55 {
		at, overloaded := time.Duration(second)*time.Second, second >= 10 && second < 40
		took := 10 * time.Millisecond
		if second == 40 {
			took = 25 * time.Millisecond
		}
		s.serve(at, 100, took, false)
		if overloaded || second == 41 {
			s.serve(at, 200, 5*time.Millisecond, true)
		}
	}
	parts := s.phases(overload(100, 3, 30*time.Second))
	if len(parts) != 3 || parts[1].Shed != 6000 || parts[1].Accepted != 3000 || parts[0].Shed != 0 {
		t.Fatalf("%+v", parts)
	}
	if g := parts[1].Goodput; g < 99 || g > 101 {
		t.Errorf("goodput %f", g)
	}
	if parts[1].Refuse.P99 < 4.9 || parts[1].Refuse.P99 > 5.1 {
		t.Errorf("refused in %f ms", parts[1].Refuse.P99)
	}
	if r := parts[2].Recovered; r == nil || *r != 2 {
		t.Errorf("recovered after %v: the first second was slow, the next one refused some", r)
	}
}

func TestNeverRecovered(t *testing.T) {
	t.Parallel()
	var s samples
	for second := range 55 {
		s.serve(time.Duration(second)*time.Second, 10, time.Duration(second+1)*10*time.Millisecond, false)
	}
	if parts := s.phases(overload(10, 3, 30*time.Second)); parts[2].Recovered != nil {
		t.Errorf("recovered after %f", *parts[2].Recovered)
	}
}

// An interrupt leaves seconds without orders, which recovered from nothing.
func TestInterruptedOverloadHasNotRecovered(t *testing.T) {
	t.Parallel()
	var s samples
	s.serve(0, 10, time.Millisecond, false)
	if parts := s.phases(overload(10, 3, leastOverload)); parts[2].Recovered != nil {
		t.Errorf("recovered after %f", *parts[2].Recovered)
	}
}

func TestBurstsOfNothingFail(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]struct {
		change func(*burstRun)
		lies   lies
		says   string
	}{
		"bursts":              {func(*burstRun) {}, lies{}, ""},
		"all refused":         {func(*burstRun) {}, lies{refuses: true}, "1 faults"},
		"overload":            {func(s *burstRun) { s.Overload, s.Peak, s.For = 2, 5, leastOverload }, lies{}, ""},
		"all of it refused":   {func(s *burstRun) { s.Overload, s.Peak, s.For = 2, 5, leastOverload }, lies{refuses: true}, "1 faults"},
		"less than one":       {func(s *burstRun) { s.Rate = 0.9 }, lies{}, "at least 1"},
		"no number":           {func(s *burstRun) { s.Rate = math.NaN() }, lies{}, "above 0"},
		"a negative overload": {func(s *burstRun) { s.Overload, s.Peak, s.For = -3, 5, leastOverload }, lies{}, "above 0"},
		"a short overload":    {func(s *burstRun) { s.Overload, s.Peak, s.For = 3, 5, 2 }, lies{}, "3s or more"},
		"an endless peak":     {func(s *burstRun) { s.Overload, s.Peak, s.For = 3, math.Inf(1), leastOverload }, lies{}, "more than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, s := loadOn(t, openShop(t, run.lies).URL, func(s *Settings) { s.Rate = 5 })
			burst := &burstRun{Settings: *s, Bursts: 1, Every: 100 * time.Millisecond, For: leastOverload}
			run.change(burst)
			if err := burst.Run(t.Context()); !strings.Contains(fmt.Sprint(err), run.says) || (err == nil) != (run.says == "") {
				t.Error(err)
			}
		})
	}
}

func TestRecoveryFromBursts(t *testing.T) {
	t.Parallel()
	var s samples
	for i := range 2 {
		for k := range 100 {
			s.add(sample{at: time.Duration(i) * 5 * time.Second, took: time.Duration(k+1) * 10 * time.Millisecond})
		}
	}
	parts := s.bursts(2, 5*time.Second)
	if len(parts) != 2 || *parts[1].Recovered != 1 || parts[1].Goodput != 100 {
		t.Errorf("%+v", parts)
	}
}
