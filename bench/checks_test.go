package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
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
	if err := l.priceAll(); err != nil {
		t.Fatal(err)
	}
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
	for lie, fault := range map[lies]string{
		{loses: true}: "lost", {invents: true}: "unknown", {sneaks: true}: "unknown", {takes: true}: "payment", {treats: true}: "payment",
		{shares: true}: "twice",
	} {
		counts, examples := placings(t, lie, byCard).Faults.Told()
		if counts[fault] == 0 || len(counts) > 1 {
			t.Errorf("%s: faults %v %v", fault, counts, examples)
		}
	}
}

func TestCursorIsOpaque(t *testing.T) {
	t.Parallel()
	if counts, examples := placings(t, lies{pages: true}, byCard).Faults.Told(); len(counts) > 0 {
		t.Errorf("faults %v %v", counts, examples)
	}
}

func TestClocksMustAgree(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{early: true}).URL, nil)
	l.Run(t.Context(), arrivals(s.phases(), nil), func(a Arrival) error { return l.watched(a, 0) })
	if counts, examples := l.Faults.Told(); counts["clock"] == 0 {
		t.Errorf("faults %v %v", counts, examples)
	}
}

func TestPricesAreCaught(t *testing.T) {
	t.Parallel()
	for _, lie := range []lies{{cheap: true}, {single: true}, {tips: true}} {
		if counts, examples := lifecycles(t, lie).Faults.Told(); counts["total"] == 0 {
			t.Errorf("%+v: faults %v %v", lie, counts, examples)
		}
		l, _ := loadOn(t, openShop(t, lie).URL, nil)
		if err := l.quoteAll(); err == nil {
			t.Errorf("%+v was quoted", lie)
		}
	}
	if counts, examples := placings(t, lies{swaps: true}, byCard).Faults.Told(); counts["total"] != 10 {
		t.Errorf("other lines than were sent: faults %v %v", counts, examples)
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

// A generator that is behind never waits, and is stopped all the same. What it then says is not that all is well.
func TestInterruptOfWhoIsBehind(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, func(s *Settings) { s.Rate, s.Duration = 100_000, time.Minute })
	ctx, cancel := context.WithCancel(t.Context())
	l.Run(ctx, arrivals(s.phases(), nil), func(Arrival) error {
		cancel()
		return nil
	})
	r := l.report("place")
	if !r.Interrupted || r.Started > 1000 {
		t.Errorf("interrupted %t, %d started", r.Interrupted, r.Started)
	}
	if err := s.finish(l, r, s); err == nil {
		t.Error("an interrupted run passed")
	}
}

func TestRunOfNobodyFails(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, nil)
	l.Run(t.Context(), bursts(1, 0, time.Second), l.lifecycle)
	if err := s.finish(l, l.report("lifecycle"), s); err == nil {
		t.Error("nobody came, and that is well")
	}
}

// The looking at processes takes long, and what came meanwhile is no peak.
func TestSecondsAreAsLongAsTheyWere(t *testing.T) {
	t.Parallel()
	l, s := loadOn(t, openShop(t, lies{}).URL, func(s *Settings) { s.Duration = 4 * time.Second })
	time.AfterFunc(700*time.Millisecond, func() {
		l.Processes.mu.Lock()
		time.Sleep(1900 * time.Millisecond)
		l.Processes.mu.Unlock()
	})
	l.Run(t.Context(), arrivals(s.phases(), nil), func(Arrival) error { return nil })
	arrived := l.report("place").throughput().Lines[1].Y
	for i, y := range arrived[:len(arrived)-1] {
		if y > 2*s.Rate {
			t.Errorf("%.0f/s in line %d, at %.0f/s", y, i, s.Rate)
		}
	}
}

func TestSettingsAreRefused(t *testing.T) {
	t.Parallel()
	there := t.TempDir()
	for name, change := range map[string]func(*Settings){
		"above 0":         func(s *Settings) { s.Rate = math.NaN() },
		"more than":       func(s *Settings) { s.Rate = math.Inf(1) },
		"stores from 0":   func(s *Settings) { s.Stores = -1 },
		"is a directory":  func(s *Settings) { s.JSON = there },
		"not a directory": func(s *Settings) { s.Charts = filepath.Join(s.Devices, "charts") },
		"dumbo twice": func(s *Settings) {
			s.Stores = 0
			_ = os.WriteFile(s.Devices, []byte("dumbo fpd_a\npike-place fpd_b\ndumbo fpd_c\n"), 0o600)
		},
	} {
		_, s := loadOn(t, openShop(t, lies{}).URL, nil)
		change(s)
		if _, err := s.load(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, scenario := range []string{"place", "lifecycle", "menu"} {
		line, err := kong.New(&commands{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := line.Parse([]string{scenario, "--devices=x", "--clients=-5"}); err == nil {
			t.Errorf("%s has -5 clients", scenario)
		}
	}
}

func TestChartsAreDrawnWithoutJSON(t *testing.T) {
	t.Parallel()
	there := t.TempDir()
	l, s := loadOn(t, openShop(t, lies{}).URL, func(s *Settings) { s.Charts = filepath.Join(there, "charts") })
	s.JSON = there
	l.Run(t.Context(), arrivals(s.phases(), nil), l.lifecycle)
	if err := s.finish(l, l.report("lifecycle"), s); err == nil {
		t.Error("a file was written in the place of a directory")
	}
	if _, err := os.Stat(filepath.Join(s.Charts, "lifecycle-percentiles.svg")); err != nil {
		t.Error(err)
	}
}

func TestLackOfFilesIsTheGenerators(t *testing.T) {
	t.Parallel()
	for cause, kind := range map[error]string{syscall.EMFILE: "generator", syscall.EADDRNOTAVAIL: "generator", syscall.ECONNREFUSED: "transport"} {
		var fault *Fault
		if err := unconnected(fmt.Errorf("dial: %w", cause)); !errors.As(err, &fault) || fault.Kind != kind {
			t.Errorf("%v: %v", cause, err)
		}
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
