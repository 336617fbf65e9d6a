package jobs

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// sweep makes the order's payment and refunds so old that they have lost their jobs, and sweeps.
func (s *shop) sweep(t *testing.T, o *db.Order) {
	t.Helper()
	s.exec(t, `update payments set created_at = now() - $2::interval, updated_at = now() - $2::interval where order_id = $1`, o.ID, time.Minute)
	s.exec(t, `update refunds set updated_at = now() - $2::interval where order_id = $1`, o.ID, time.Minute)
	if err := (&sweepWorker{client: s.jobs}).Work(t.Context(), &river.Job[sweepArgs]{}); err != nil {
		t.Fatal(err)
	}
}

// TestSweep wants every payment that stands still finished by what the provider says of it.
func TestSweep(t *testing.T) {
	t.Parallel()
	for name, x := range map[string]struct {
		make               func(*shop, *testing.T) *db.Order
		status             db.Status
		payment            db.PaymentStatus
		charged, givenBack int
	}{
		"never charged": {func(s *shop, t *testing.T) *db.Order {
			return s.forgotten(t, "tok_visa")
		}, db.StatusPlaced, db.Captured, 1, 0},
		"never charged, and the job died with its process": {func(s *shop, t *testing.T) *db.Order {
			o := s.forgotten(t, "tok_visa")
			s.giveJob(t, settleArgs{o.Ref()})
			s.exec(t, `update river_job set state = 'running', attempt = 1, attempted_at = now() - $1::interval where kind = 'settle'`, jobTimeout+time.Second)
			return o
		}, db.StatusPlaced, db.Captured, 1, 0},
		"charged, and not taken note of": {func(s *shop, t *testing.T) *db.Order {
			o := s.forgotten(t, "tok_visa")
			s.chargeUnseen(t, o)
			return o
		}, db.StatusPlaced, db.Captured, 1, 0},
		"declined, and not taken note of": {func(s *shop, t *testing.T) *db.Order {
			o := s.forgotten(t, "tok_declined")
			s.chargeUnseen(t, o)
			return o
		}, db.PaymentFailed, db.Failed, 0, 0},
		"cancelled, never charged": {func(s *shop, t *testing.T) *db.Order {
			return s.mute().cancelled(t, s.forgotten(t, "tok_visa"))
		}, db.Cancelled, db.Void, 0, 0},
		"an intent, and not taken note of": {func(s *shop, t *testing.T) *db.Order {
			o := s.forgotten(t, "tok_visa")
			s.makeIntent(t, o)
			return o
		}, db.StatusPlaced, db.Captured, 1, 0},
		"an intent, not confirmed": {func(s *shop, t *testing.T) *db.Order {
			return s.withIntent(t, s.forgotten(t, "tok_visa"))
		}, db.StatusPlaced, db.Captured, 1, 0},
		"cancelled, an intent not confirmed": {func(s *shop, t *testing.T) *db.Order {
			return s.mute().cancelled(t, s.withIntent(t, s.forgotten(t, "tok_visa")))
		}, db.Cancelled, db.Void, 0, 0},
		"cancelled, charged and not taken note of": {func(s *shop, t *testing.T) *db.Order {
			o := s.forgotten(t, "tok_visa")
			s.chargeUnseen(t, o)
			return s.mute().cancelled(t, o)
		}, db.Cancelled, db.Refunded, 1, 1},
		"unknown": {func(s *shop, t *testing.T) *db.Order {
			o := s.forgotten(t, "tok_visa")
			s.chargeUnseen(t, o)
			settled, err := s.mute().orders.Settle(t.Context(), o.Ref(), db.Settle(db.Charged{Attempt: 1, Status: db.Unknown}))
			if err != nil || settled.Payment.Status != db.Unknown {
				t.Fatal(settled, err)
			}
			return settled
		}, db.StatusPlaced, db.Captured, 1, 0},
		"refund forgotten": {func(s *shop, t *testing.T) *db.Order {
			return s.mute().cancelled(t, s.paid(t, nil))
		}, db.Cancelled, db.Refunded, 1, 1},
		"refund made, and not taken note of": {func(s *shop, t *testing.T) *db.Order {
			o := s.mute().cancelled(t, s.paid(t, nil))
			c := s.charge(t, o)
			if _, err := s.jobs.provider.Refund(t.Context(), o.Refunds[0].Key(o.Ref()), c, c.Amount, time.Now()); err != nil {
				t.Fatal(err)
			}
			return o
		}, db.Cancelled, db.Refunded, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			o := x.make(s, t)
			s.sweep(t, o)
			s.sweep(t, o) // a second sweep finds nothing, or what is under way
			o = s.await(t, o.Ref(), within, func(o *db.Order) bool { return o.Payment.Status.Settled() })
			if o.Status != x.status || o.Payment.Status != x.payment {
				t.Errorf("the order is %s, its payment %s; want %s, %s", o.Status, o.Payment.Status, x.status, x.payment)
			}
			s.wantsMoney(t, o, x.charged, x.givenBack)
		})
	}
}

// giveJob inserts a job that is not due.
func (s *shop) giveJob(t *testing.T, args river.JobArgs) {
	t.Helper()
	if _, err := s.jobs.river.Insert(t.Context(), args, &river.InsertOpts{ScheduledAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
}

// TestSweepLeavesJobsAlone sweeps payments that have a job, and one that has none: only that gets one.
func TestSweepLeavesJobsAlone(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	alone, grouped, stands := s.forgotten(t, "tok_visa"), s.forgotten(t, "tok_visa"), s.forgotten(t, "tok_visa")
	s.giveJob(t, settleArgs{alone.Ref()})
	s.giveJob(t, chargeArgs{orderList{grouped.Ref()}})
	s.exec(t, `insert into river_job (kind, args, state, queue, max_attempts, scheduled_at)
		select kind, args::jsonb, 'scheduled', kind, 50, now() + interval '1 hour' from (values ('settle', '{"s": "x"}'), ('charge', '{"orders": 7}')) as poison (kind, args)`)
	for _, o := range []*db.Order{alone, grouped, stands} {
		s.sweep(t, o)
	}
	s.await(t, stands.Ref(), within, func(o *db.Order) bool { return o.Status == db.StatusPlaced })
	var waiting, added int
	if err := s.pool.QueryRow(t.Context(), `select count(*) filter (where state = 'scheduled'), count(*) filter (where kind = 'settle' and state <> 'scheduled') from river_job
		where kind in ('settle', 'charge')`).Scan(&waiting, &added); err != nil || waiting != 4 || added != 1 {
		t.Errorf("%d jobs wait and %d were added, want 4 and 1 (%v)", waiting, added, err)
	}
}

// TestADeadLetterRests is a charge that the provider will not let us read: somebody has to look at it, and after a rest it
// is tried again, until then not.
func TestADeadLetterRests(t *testing.T) {
	t.Parallel()
	var readable atomic.Bool
	s := openShop(t, through(func(r *http.Request) (*http.Response, error) {
		if readable.Load() || r.Method != http.MethodGet {
			return nil, nil
		}
		return answered(http.StatusBadRequest, map[string]any{"error": map[string]any{"type": "invalid_request_error", "message": "no"}})
	}))
	o := s.forgotten(t, "tok_visa")
	s.chargeUnseen(t, o)
	dead := func(more string) (n int) {
		t.Helper()
		if err := s.pool.QueryRow(t.Context(), `select count(*) from river_job where kind = 'settle' `+more).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	s.sweep(t, o)
	s.until(t, "the job is a dead letter", func() bool {
		s.exec(t, `update river_job set max_attempts = greatest(attempt, 1) where kind = 'settle' and state <> 'running'`)
		return dead(`and state = 'discarded'`) == 1
	})
	for range 3 {
		s.sweep(t, o)
	}
	if n := dead(""); n != 1 {
		t.Errorf("of one charge are %d jobs while it rests", n)
	}
	readable.Store(true)
	s.exec(t, `update river_job set finalized_at = now() - $1::interval where kind = 'settle'`, deadRests)
	s.sweep(t, o)
	s.await(t, o.Ref(), within, isPlaced)
	if n := dead(""); n != 2 {
		t.Errorf("of one charge are %d jobs after its rest", n)
	}
}

// TestADeadGroupHoldsNobodyUp has the job of a whole group die: each of its orders is taken up at once.
func TestADeadGroupHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.forgotten(t, "tok_visa")
	s.exec(t, `insert into river_job (kind, args, state, queue, max_attempts, attempt, finalized_at)
		values ('charge', jsonb_build_object('orders', jsonb_build_array(jsonb_build_object('s', $1::int, 'o', $2::text))), 'discarded', 'charge', 10, 10, now())`,
		o.StoreID, o.ID)
	s.sweep(t, o)
	s.await(t, o.Ref(), within, isPlaced)
}

// TestPlanOfJobs has PostgreSQL say how it finds the jobs of payments among those of an hour's rush and the dead letters
// of years.
func TestPlanOfJobs(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	for _, sql := range []string{
		`insert into river_job (kind, args, state, queue, max_attempts, created_at, finalized_at)
		 select 'settle', '{}', 'discarded', 'settle', 50, at, at from generate_series(1, 20000) i, lateral (select now() - i * interval '1 hour' as at) as _`,
		`insert into river_job (kind, args, state, queue, max_attempts, created_at, finalized_at)
		 select 'charge', '{}', 'completed', 'charge', 10, at, at from generate_series(1, 20000) i, lateral (select now() - i * interval '0.1 seconds' as at) as _`,
		`analyze river_job`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := pool.Query(t.Context(), "explain (analyze, costs off, timing off, summary off) "+jobsOfPayments, jobsSought()...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	plan := strings.Join(lines, "\n")
	if err != nil || strings.Contains(plan, "Seq Scan") || !strings.Contains(plan, "river_job_state_and_finalized_at_index") || strings.Contains(plan, "Rows Removed") {
		t.Errorf("%v\n%s", err, plan)
	}
	t.Log(plan)
}

// TestNoJobIsUnique wants no unique key on any job of a shop at work: see timerOpts.
func TestNoJobIsUnique(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.sweep(t, s.forgotten(t, "tok_visa"))
	s.cancelled(t, s.paid(t, nil))
	s.until(t, "all timers have run", func() bool {
		var kinds int
		if err := s.pool.QueryRow(t.Context(), `select count(distinct kind) from river_job where queue = $1 and state = 'completed'`, queueTimers).Scan(&kinds); err != nil {
			t.Fatal(err)
		}
		return kinds == len(periodic())
	})
	var kind string
	err := s.pool.QueryRow(t.Context(), `select kind from river_job where unique_key is not null limit 1`).Scan(&kind)
	if !errors.Is(err, pgx.ErrNoRows) {
		t.Errorf("%q is unique (%v)", kind, err)
	}
}
