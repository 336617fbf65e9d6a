package jobs

import (
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestErrorsOnly has River complain for three minutes, several times a second.
func TestErrorsOnly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		log := errorsOnly(slog.New(slog.NewTextHandler(&text, nil)))
		for range 900 {
			log.With("queue", "charge").Error("cannot fetch", "err", "no connection")
			log.Error("cannot clean", "err", "no connection")
			log.Warn("slow")
			time.Sleep(200 * time.Millisecond)
		}
		if fetch, clean := strings.Count(text.String(), "cannot fetch"), strings.Count(text.String(), "cannot clean"); fetch != 3 || clean != 3 || strings.Contains(text.String(), "slow") {
			t.Errorf("the log says %s", text.String())
		}
	})
}
