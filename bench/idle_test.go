package main

import (
	"context"
	"testing"
	"time"
)

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
