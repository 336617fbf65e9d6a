package main

import (
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
)

// throttle allows few attempts within a window, counted for each key. It remembers a bounded number of keys,
// those of the latest attempts. All methods are safe for concurrent use.
type throttle struct {
	most   int
	window time.Duration

	mu    sync.Mutex
	taken *lru.LRU[string, []time.Time] // oldest first
}

func newThrottle(most int, window time.Duration, keys int) (*throttle, error) {
	taken, err := lru.NewLRU[string, []time.Time](keys, nil)
	return &throttle{most: most, window: window, taken: taken}, err
}

// take counts one attempt under every key, or none and says how long to wait.
func (t *throttle) take(now time.Time, keys ...string) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		if taken := t.recent(key, now); len(taken) >= t.most {
			wait = max(wait, taken[0].Add(t.window).Sub(now))
		}
	}
	if wait > 0 {
		return wait
	}
	for _, key := range keys {
		t.taken.Add(key, append(t.recent(key, now), now))
	}
	return 0
}

// giveBack takes the latest attempt back: it was not a failure.
func (t *throttle) giveBack(keys ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range keys {
		if taken, ok := t.taken.Peek(key); ok && len(taken) > 0 {
			t.taken.Add(key, taken[:len(taken)-1])
		}
	}
}

func (t *throttle) recent(key string, now time.Time) []time.Time {
	taken, _ := t.taken.Peek(key)
	for len(taken) > 0 && now.Sub(taken[0]) >= t.window {
		taken = taken[1:]
	}
	return taken
}
