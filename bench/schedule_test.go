package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestArrivalsAreExact(t *testing.T) {
	t.Parallel()
	starts := slices.Collect(arrivals([]Phase{{Rate: 3, For: time.Second}, {Rate: 1000, For: 2 * time.Second}}, nil))
	if len(starts) != 3+2000 {
		t.Fatalf("%d arrivals", len(starts))
	}
	for i, at := range starts[3:] {
		if want := time.Second + time.Duration(i)*time.Millisecond; (at - want).Abs() > time.Microsecond {
			t.Fatalf("arrival %d of the second phase at %s, not %s", i, at, want)
		}
	}
	if starts[1] != time.Second/3 {
		t.Errorf("the second arrival at %s", starts[1])
	}
}

func TestArrivalsDoNotDrift(t *testing.T) {
	t.Parallel()
	count, last := 0, time.Duration(0)
	for at := range arrivals([]Phase{{Rate: 7000, For: 100 * time.Second}}, nil) {
		count, last = count+1, at
	}
	if want := 100*time.Second - time.Second/7000; count != 700_000 || (last-want).Abs() > time.Microsecond {
		t.Errorf("%d arrivals, the last at %s, not %s", count, last, want)
	}
}

func TestIndependentArrivals(t *testing.T) {
	t.Parallel()
	phases := []Phase{{Rate: 1000, For: 10 * time.Second}}
	collect := func(seed uint64) []time.Duration {
		return slices.Collect(arrivals(phases, rand.New(rand.NewPCG(seed, 1))))
	}
	first := collect(1)
	if n := len(first); n < 9500 || n > 10500 {
		t.Errorf("%d arrivals, not about 10,000", n)
	}
	if !slices.IsSorted(first) {
		t.Error("not in order")
	}
	if !slices.Equal(first, collect(1)) || slices.Equal(first, collect(2)) {
		t.Error("the seed does not decide")
	}
}

func TestBursts(t *testing.T) {
	t.Parallel()
	want := []time.Duration{0, 0, 0, time.Minute, time.Minute, time.Minute}
	if got := slices.Collect(bursts(2, 3, time.Minute)); !slices.Equal(got, want) {
		t.Error(got)
	}
}

func TestDayReachesItsPeak(t *testing.T) {
	t.Parallel()
	highest, length := 0.0, time.Duration(0)
	for _, p := range day(800, 280*time.Second) {
		highest, length = max(highest, p.Rate), length+p.For
	}
	if length != 280*time.Second || highest != 800 {
		t.Errorf("a morning of %s with a peak of %f", length, highest)
	}
}
