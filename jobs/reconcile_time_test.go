package jobs

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"frenchpress/db"
)

// TestReconcileGetsOn compares a whole day with a provider that never gets to the end of a list of more than two hours.
func TestReconcileGetsOn(t *testing.T) {
	t.Parallel()
	const patience, most = 300 * time.Millisecond, 2 * time.Minute
	s := openShop(t, listing(func(span time.Duration) time.Duration {
		if span > 2*time.Hour {
			return most
		}
		return 0
	}))
	until := s.doneUntil(t, 24*time.Hour)
	for end := time.Now().Add(most); ; {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := s.jobs.Reconcile(ctx, until)
		inTime := ctx.Err() == nil
		cancel()
		if err != nil && inTime {
			t.Fatal(err)
		}
		last, err := db.LastReconciliation(t.Context(), s.pool)
		switch {
		case err != nil:
			t.Fatal(err)
		case !last.DoneUntil.Before(until.Add(-time.Second)):
			return
		case time.Now().After(end):
			t.Fatalf("after %s it is done until %s before the end", most, until.Sub(last.DoneUntil))
		}
	}
}

// TestReconcileWastesNoTime compares with a provider that takes a second for each hour that is compared, and for many at once
// a little more: no window is begun that there is no time for.
func TestReconcileWastesNoTime(t *testing.T) {
	t.Parallel()
	s := openShop(t, listing(func(span time.Duration) time.Duration {
		return time.Duration(float64(span) / 7200 * (1 + 0.05*span.Hours()))
	}))
	until := s.doneUntil(t, 24*time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	if err := s.jobs.Reconcile(ctx, until); err != nil {
		t.Fatal(err)
	}
	last, err := db.LastReconciliation(t.Context(), s.pool)
	if err != nil {
		t.Fatal(err)
	}
	if left := until.Sub(last.DoneUntil); left > 21*time.Hour {
		t.Errorf("of 24 hours %s are left", left)
	}
}

// TestReconcileAfterAFastClock finds the books compared until next year: the last day is compared again.
func TestReconcileAfterAFastClock(t *testing.T) {
	t.Parallel()
	s := openShop(t, listing(func(time.Duration) time.Duration { return 0 }))
	until := s.doneUntil(t, time.Hour)
	if _, err := s.pool.Exec(t.Context(), `update reconciliation set done_until = now() + interval '1 year'`); err != nil {
		t.Fatal(err)
	}
	if err := s.jobs.Reconcile(t.Context(), until); err != nil {
		t.Fatal(err)
	}
	if last, err := db.LastReconciliation(t.Context(), s.pool); err != nil || last.DoneUntil.After(time.Now()) || last.DoneUntil.Before(until) {
		t.Errorf("the books are compared until %+v, %v", last, err)
	}
	if err := db.Reconciled(t.Context(), s.pool, time.Now().Add(time.Hour), time.Minute, 0, 0); err != nil {
		t.Fatal(err)
	}
	if last, err := db.LastReconciliation(t.Context(), s.pool); err != nil || time.Since(last.DoneUntil) < time.Minute {
		t.Errorf("by a clock that is fast the books are compared until %+v, %v", last, err)
	}
}

// TestOpenDifferencesLeaveTime has many open differences about which the provider gives no answer, and little time: half of
// it is left for what is new.
func TestOpenDifferencesLeaveTime(t *testing.T) {
	t.Parallel()
	s := openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if !strings.Contains(r.URL.Path, "/pi_mute") {
			return nil, nil
		}
		<-r.Context().Done()
		return nil, r.Context().Err()
	}))
	until := s.doneUntil(t, time.Hour)
	open := make([]db.Difference, againAtOnce)
	for i := range open {
		open[i] = db.Difference{Kind: "charge_without_order", Ref: fmt.Sprint("pi_mute", i), Words: "as it was"}
	}
	if _, err := db.KeepDifferences(t.Context(), s.pool, nil, open); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*chargePatience)
	defer cancel()
	if err := s.jobs.Reconcile(ctx, until); err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	last, err := db.LastReconciliation(t.Context(), s.pool)
	if err != nil || last.DoneUntil.Before(until.Add(-time.Hour+windowShortest)) {
		t.Errorf("nothing new was compared: %+v, %v", last, err)
	}
}

// listing has the provider's lists take a while, which depends on the time they are of, and be empty.
func listing(takes func(span time.Duration) time.Duration) func(http.RoundTripper) http.RoundTripper {
	return through(func(r *http.Request) (*http.Response, error) {
		if r.Method != http.MethodGet || !r.URL.Query().Has("created[gte]") {
			return nil, nil
		}
		from, _ := strconv.ParseInt(r.URL.Query().Get("created[gte]"), 10, 64)
		until, _ := strconv.ParseInt(r.URL.Query().Get("created[lt]"), 10, 64)
		select {
		case <-time.After(takes(time.Duration(until-from) * time.Second)):
			return page()
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	})
}

// doneUntil has the books compared up to a while before the moment that it returns, and none of them by a periodic run, which
// has all the time that there is.
func (s *shop) doneUntil(t *testing.T, ago time.Duration) time.Time {
	t.Helper()
	if err := s.jobs.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(-unsettledFor)
	s.exec(t, `delete from reconciliation`)
	if err := db.Reconciled(t.Context(), s.pool, until.Add(-ago), 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	return until
}
