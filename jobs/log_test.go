package jobs

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river/rivertype"
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

// TestFailuresTellOfDeadLetters fails a job about a charge that the provider has not decided: only the end is worth a line.
func TestFailuresTellOfDeadLetters(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]string{49: "", 50: "dead letter"} {
		var text strings.Builder
		f := failures{log: slog.New(slog.NewTextHandler(&text, nil))}
		f.HandleError(t.Context(), &rivertype.JobRow{Attempt: attempt, MaxAttempts: 50}, fmt.Errorf("charging: %w", errNotYet))
		if said := text.String(); !strings.Contains(said, want) || (said == "") != (want == "") {
			t.Errorf("attempt %d of 50 says %q", attempt, said)
		}
	}
}
