package main

import (
	"context"
	"testing"
	"time"
)

// A change that is sent late counts from when it was meant to be sent.
func TestLateChange(t *testing.T) {
	t.Parallel()
	l, _ := loadOn(t, openShop(t, lies{}).URL, func(s *Settings) { s.Method = byCounter })
	if err := l.quoteAll(); err != nil {
		t.Fatal(err)
	}
	v, err := l.openIdle(l.arrival(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	defer v.live.Close()
	if err := v.nudge(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if r := l.report("watch"); r.Steps["screen"].Max < 1000 {
		t.Errorf("on the screen after %.1f ms", r.Steps["screen"].Max)
	}
}

// TestIdle changes orders with idle streams, more often than there are streams; and at a shop where each change loses one it
// comes to an end all the same, and says so.
func TestIdle(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]lies{"honest": {}, "deaf": {deaf: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, s := loadOn(t, openShop(t, lie).URL, func(s *Settings) { s.Rate = 50 })
			s.Duration = time.Second
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			run := &watchRun{Settings: *s, Watchers: 8, Idle: true}
			ended := make(chan error, 1)
			go func() { ended <- run.Run(ctx) }()
			select {
			case err := <-ended:
				if (err != nil) != lie.deaf {
					t.Error(err)
				}
			case <-time.After(45 * time.Second):
				t.Error("it does not end")
			}
		})
	}
}
