package jobs

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRefundThatTakesDays has the provider not decide about a refund, as where the shop's balance there is too low. That is
// nobody's fault, and no dead letter.
func TestRefundThatTakesDays(t *testing.T) {
	t.Parallel()
	var s *shop
	s = openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if !strings.HasPrefix(r.URL.Path, "/v1/refunds") {
			return nil, nil
		}
		resp, err := s.bank.RoundTrip(r)
		return reworded(resp, err, `"status":"succeeded"`, `"status":"pending"`)
	}))
	o := s.await(t, s.place(t, "tok_visa", nil).Ref(), within, isPlaced)
	s.cancelled(t, o)
	s.until(t, "it is waited for without an end", func() bool {
		s.exec(t, `update river_job set max_attempts = greatest(attempt, 1) where kind = 'refund' and state <> 'running'`)
		var state string
		var at time.Time
		if err := s.pool.QueryRow(t.Context(), `select state, scheduled_at from river_job where kind = 'refund' order by id limit 1`).Scan(&state, &at); err != nil {
			t.Fatal(err)
		}
		if state == "discarded" {
			t.Fatal("the job is a dead letter")
		}
		return state == "scheduled" && time.Until(at) > 30*time.Second
	})
}
