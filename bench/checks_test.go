package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// loadOn makes a load of a few stores on a shop.
func loadOn(t *testing.T, target string, change func(*Settings)) (*Load, *Settings) {
	t.Helper()
	devices := filepath.Join(t.TempDir(), "devices")
	if err := os.WriteFile(devices, []byte("dumbo fpd_a\npike-place fpd_b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Settings{
		Target: target, Devices: devices, Stores: 1, Rate: 100, Duration: 100 * time.Millisecond, Method: byCard, Transport: "sse",
		InFlight: 100, Drain: 5 * time.Second,
	}
	if change != nil {
		change(s)
	}
	l, err := s.load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.Progress = io.Discard
	t.Cleanup(l.Pool.Close)
	return l, s
}

func lifecycles(t *testing.T, lie lies) *Load {
	t.Helper()
	l, s := loadOn(t, openShop(t, lie).URL, nil)
	l.browseAll()
	l.Run(t.Context(), arrivals(s.phases(), nil), l.lifecycle)
	l.readBack("picked_up")
	return l
}

func TestLifecycle(t *testing.T) {
	t.Parallel()
	l := lifecycles(t, lies{})
	counts, examples := l.Faults.Told()
	if l.Meter.Finished.Load() != 10 || len(counts) > 0 {
		t.Fatalf("%d finished, faults %v %v", l.Meter.Finished.Load(), counts, examples)
	}
	r := l.report("lifecycle")
	for _, step := range []string{"menu", "quote", "place", "paid", "start", "ready", "collect", "whole"} {
		if r.Steps[step].Count != 10 {
			t.Errorf("%s was measured %d times", step, r.Steps[step].Count)
		}
	}
	if r.Steps["whole"].P50 < r.Steps["place"].P50 {
		t.Error("a whole order takes less than placing it")
	}
}

func TestClosedLoopEndsWithItsTime(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, nil)
	l.browseAll()
	l.RunClosed(t.Context(), 3, s.Duration, l.lifecycle)
	counts, examples := l.Faults.Told()
	if started := l.Meter.Started.Load(); started < 3 || l.Meter.Finished.Load() != started || len(counts) > 0 {
		t.Errorf("%d of %d finished, faults %v %v", l.Meter.Finished.Load(), started, counts, examples)
	}
	if took := l.Ended.Sub(l.Began); l.Stopped || took < s.Duration || took > s.Duration+s.Drain {
		t.Errorf("ended after %s, stopped %t", took, l.Stopped)
	}
}

func TestClosedLoopCanBeInterrupted(t *testing.T) {
	t.Parallel()
	l, _ := loadOn(t, openShop(t, lies{}).URL, nil)
	l.browseAll()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	l.RunClosed(ctx, 2, time.Minute, l.lifecycle)
	if !l.Stopped || l.Meter.Finished.Load() != l.Meter.Started.Load() {
		t.Errorf("stopped %t, %d of %d finished", l.Stopped, l.Meter.Finished.Load(), l.Meter.Started.Load())
	}
}

func TestLiesAreCaught(t *testing.T) {
	t.Parallel()
	for fault, lie := range map[string]lies{
		"total": {doubles: true}, "version": {backwards: true}, "payment": {takes: true}, "stream": {hangs: true},
		"lost": {loses: true}, "unknown": {invents: true}, "status 503": {refuses: true},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			counts, examples := lifecycles(t, lie).Faults.Told()
			if counts[fault] == 0 {
				t.Errorf("faults %v %v", counts, examples)
			}
		})
	}
}

func placings(t *testing.T, lie lies, method Payment) *Load {
	t.Helper()
	l, s := loadOn(t, openShop(t, lie).URL, func(s *Settings) { s.Method = method })
	if err := l.quoteAll(); err != nil {
		t.Fatal(err)
	}
	l.Sheds = true
	l.Run(t.Context(), arrivals(s.phases(), nil), l.place)
	l.readBack("placed")
	return l
}

func TestPlace(t *testing.T) {
	t.Parallel()
	for _, method := range []Payment{byCard, byCounter, byBoth} {
		counts, examples := placings(t, lies{}, method).Faults.Told()
		if len(counts) > 0 {
			t.Errorf("%s: faults %v %v", method, counts, examples)
		}
	}
}

func TestShedding(t *testing.T) {
	t.Parallel()
	l := placings(t, lies{refuses: true}, byCard)
	if l.Faults.Total() > 0 || l.Meter.Shed.Load() != 10 || l.Meter.Accepted.Load() != 0 {
		t.Errorf("%d shed, %d accepted, %d faults", l.Meter.Shed.Load(), l.Meter.Accepted.Load(), l.Faults.Total())
	}
	if counts, _ := placings(t, lies{forgets: true}, byCard).Faults.Told(); counts["status 503"] != 10 {
		t.Errorf("503 without Retry-After: faults %v", counts)
	}
}

func TestReadBackCatches(t *testing.T) {
	t.Parallel()
	for fault, lie := range map[string]lies{"lost": {loses: true}, "unknown": {invents: true}, "payment": {takes: true}} {
		counts, examples := placings(t, lie, byCard).Faults.Told()
		if counts[fault] == 0 || len(counts) > 1 {
			t.Errorf("%s: faults %v %v", fault, counts, examples)
		}
	}
}

func TestWatched(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, nil)
	l.Run(t.Context(), arrivals(s.phases(), nil), func(a Arrival) error { return l.watched(a, 20*time.Millisecond) })
	r := l.report("watch")
	if l.Faults.Total() > 0 || r.Steps["screen"].Count != 30 || r.Steps["commit"].Count != 30 {
		counts, examples := l.Faults.Told()
		t.Errorf("%d on screen, faults %v %v", r.Steps["screen"].Count, counts, examples)
	}
}

func TestInterruptEndsARun(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, func(s *Settings) { s.Duration = time.Minute })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	l.Run(ctx, arrivals(s.phases(), nil), func(a Arrival) error { return l.watched(a, time.Minute) })
	if r := l.report("watch"); !r.Interrupted || r.Finished == 0 || r.Finished != r.Started || l.Faults.Total() > 0 {
		t.Errorf("interrupted %t, %d of %d finished", r.Interrupted, r.Finished, r.Started)
	}
}

func TestLatenessIsTold(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, func(s *Settings) { s.InFlight = 1 })
	l.Run(t.Context(), arrivals(s.phases(), nil), func(Arrival) error {
		time.Sleep(20 * time.Millisecond)
		return nil
	})
	if r := l.report("place"); r.Lag.Max < 50 {
		t.Errorf("one at a time, each for 20 ms, came every 10 ms, and lag is %.1f ms", r.Lag.Max)
	}
}
