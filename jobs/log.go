package jobs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// repeatEvery is how often River may say the same: while the database is away each of its queues asks it ten times a second.
const repeatEvery = time.Minute

// errorsOnly is a log that keeps River's own words to errors, each at most once a minute: what a job came to is told once,
// by failures.
func errorsOnly(log *slog.Logger) *slog.Logger {
	return slog.New(errorHandler{log.Handler(), &lastSaid{at: map[string]time.Time{}}})
}

// errorHandler goes by a line's message, of which River has a few dozen.
type errorHandler struct {
	slog.Handler
	said *lastSaid
}

// lastSaid is when each message was let through.
type lastSaid struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (h errorHandler) Handle(ctx context.Context, line slog.Record) error {
	h.said.mu.Lock()
	again := line.Time.Sub(h.said.at[line.Message]) < repeatEvery
	if !again {
		h.said.at[line.Message] = line.Time
	}
	h.said.mu.Unlock()
	if again {
		return nil
	}
	return h.Handler.Handle(ctx, line)
}

func (h errorHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelError && h.Handler.Enabled(ctx, level)
}

func (h errorHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return errorHandler{h.Handler.WithAttrs(attrs), h.said}
}

func (h errorHandler) WithGroup(name string) slog.Handler {
	return errorHandler{h.Handler.WithGroup(name), h.said}
}

// Tally counts what happens alike again and again, so that it is told of now and then, with how often it was. It is safe for
// concurrent use.
type Tally struct{ count, told atomic.Int64 }

// Due counts one, and gives how many are to be told of now; 0 until so long after they were told of last.
func (t *Tally) Due(every time.Duration) int64 {
	t.count.Add(1)
	told, now := t.told.Load(), time.Now().UnixNano()
	if now-told >= int64(every) && t.told.CompareAndSwap(told, now) {
		return t.count.Swap(0)
	}
	return 0
}
