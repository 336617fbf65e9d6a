package jobs

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"frenchpress/db"
)

// forgotten is an order whose charge no job knows of, as after a loss of River's tables.
func (s *shop) forgotten(t *testing.T, token string) *db.Order {
	t.Helper()
	return s.mute().place(t, token, nil)
}

func (s *shop) cancelled(t *testing.T, o *db.Order) *db.Order {
	t.Helper()
	o, err := s.orders.Advance(t.Context(), o.Ref(), db.CancelByCustomer("customer", ""))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// charge is the order's current one.
func (s *shop) charge(t *testing.T, o *db.Order) *db.Charge {
	t.Helper()
	charges, err := db.ChargesOf(t.Context(), s.pool, []db.OrderRef{o.Ref()})
	if err != nil || len(charges) != 1 {
		t.Fatal(charges, err)
	}
	return charges[0]
}

// chargeUnseen makes the provider charge the order, and the process end before it could take note of more than the
// intent.
func (s *shop) chargeUnseen(t *testing.T, o *db.Order) {
	t.Helper()
	c := s.makeIntent(t, o)
	if stored, err := db.StoreIntents(t.Context(), s.pool, []*db.Charge{c}); err != nil || !stored[c.OrderRef] {
		t.Fatal(stored, err)
	}
	if heard := s.jobs.provider.Confirm(t.Context(), c); heard.Word != told {
		t.Fatal(heard)
	}
}

// makeIntent makes an intent that our books know nothing of.
func (s *shop) makeIntent(t *testing.T, o *db.Order) *db.Charge {
	t.Helper()
	c := s.charge(t, o)
	heard := s.jobs.provider.Create(t.Context(), c)
	if heard.Word != told {
		t.Fatal(heard)
	}
	c.Intent = heard.Intent.ID
	return c
}

func (s *shop) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := s.pool.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// TestSweeperFindsByItself leaves a payment to the sweeper as it runs in the shop.
func TestSweeperFindsByItself(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.forgotten(t, "tok_visa")
	s.exec(t, `update payments set updated_at = now() - $2::interval where order_id = $1`, o.ID, sweepAfter)
	o = s.await(t, o.Ref(), 20*time.Second, func(o *db.Order) bool { return o.Status == db.StatusPlaced })
	s.wantsMoney(t, o, 1, 0)
}

func TestSweepLeavesTheYoung(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	young := s.forgotten(t, "tok_visa")
	s.sweep(t, s.paid(t, nil))
	var found bool
	err := s.pool.QueryRow(t.Context(), `select exists (select from river_job where kind in ('settle', 'refund'))`).Scan(&found)
	if err != nil || found {
		t.Errorf("a job was made for a payment that is young or settled (%v)", err)
	}
	if c := s.charge(t, young); c.Status != db.Pending {
		t.Errorf("the young payment is %s", c.Status)
	}
}

// withIntent has an intent whose id is stored.
func (s *shop) withIntent(t *testing.T, o *db.Order) *db.Order {
	t.Helper()
	if stored, err := db.StoreIntents(t.Context(), s.pool, []*db.Charge{s.makeIntent(t, o)}); err != nil || !stored[o.Ref()] {
		t.Fatal(stored, err)
	}
	return o
}

// TestRenounced is an order that was cancelled before it had an intent: whoever was about to charge it cannot
// any more.
func TestRenounced(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.mute().cancelled(t, s.forgotten(t, "tok_visa"))
	late := s.makeIntent(t, o)
	if err := (&settleWorker{client: s.jobs}).Work(t.Context(), &river.Job[settleArgs]{Args: settleArgs{o.Ref()}}); err != nil {
		t.Error(err)
	}
	s.await(t, o.Ref(), within, func(o *db.Order) bool { return o.Payment.Status == db.Void })
	if stored, err := db.StoreIntents(t.Context(), s.pool, []*db.Charge{late}); err != nil || stored[late.OrderRef] {
		t.Errorf("its intent was stored all the same (%v)", err)
	}
	s.wantsMoney(t, o, 0, 0)
}

// TestCancelledElsewhere is an order that another process cancelled, of which this one, which placed it and is about to
// charge it, was not told.
func TestCancelledElsewhere(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o, other := s.forgotten(t, "tok_visa"), *s
	other.hub = db.NewHub(s.pool)
	other.mute().cancelled(t, o)
	if charges, err := s.orders.BegunCharges(t.Context(), []db.OrderRef{o.Ref()}); err != nil || len(charges) != 1 || !charges[0].Wanted {
		t.Fatalf("this process knew of it: %v %v", charges, err)
	}
	job := &river.Job[chargeArgs]{JobRow: &rivertype.JobRow{Attempt: 1}, Args: chargeArgs{orderList{o.Ref()}}}
	if err := (&chargeWorker{client: s.jobs}).Work(t.Context(), job); err != nil {
		t.Error(err)
	}
	s.await(t, o.Ref(), within, func(o *db.Order) bool { return o.Payment.Status == db.Void })
	s.wantsMoney(t, o, 0, 0)
}

// TestLateSuccess is a charge that went through although it was given up, against all rules: when the provider tells of
// it, the money goes back.
func TestLateSuccess(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.mute().cancelled(t, s.withIntent(t, s.forgotten(t, "tok_visa")))
	late := s.charge(t, o)
	if heard := s.jobs.provider.Confirm(t.Context(), late); heard.Word != told {
		t.Fatal(heard)
	}
	if _, err := s.jobs.settle(t.Context(), late, db.Charged{Status: db.Void}); err != nil {
		t.Fatal(err)
	}
	s.tell(t, "evt_late", "payment_intent.succeeded", late.Intent)
	o = s.await(t, o.Ref(), within, func(o *db.Order) bool { return o.Payment.Status == db.Refunded })
	if o.Status != db.Cancelled || o.Payment.Captured != o.Payment.Refunded || o.Payment.Captured == 0 {
		t.Errorf("the order is %s, its payment %+v", o.Status, o.Payment)
	}
	s.wantsMoney(t, o, 1, 1)
}

// TestAbandonCountsFromReady gives money back while an order waits to be collected, which is no reason to wait longer;
// whoever makes it once more is.
func TestAbandonCountsFromReady(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	again, refunded := s.do(t, "ready", s.paid(t, nil)), s.do(t, "ready", s.paid(t, nil))
	time.Sleep(10 * time.Millisecond)
	s.giveBackOne(t, refunded)
	s.do(t, "ready", s.do(t, "undo", again))
	soon := *s.jobs
	soon.config.AbandonAfter = time.Since(refunded.UpdatedAt) - 5*time.Millisecond // the cutoff is right after they were ready
	if err := (&abandonWorker{client: &soon}).Work(t.Context(), &river.Job[abandonArgs]{}); err != nil {
		t.Fatal(err)
	}
	if is := s.statuses(t); is[refunded.ID] != db.Abandoned || is[again.ID] != db.Ready {
		t.Errorf("the refunded one is %s, the one made again %s", is[refunded.ID], is[again.ID])
	}
}

// tell is a message of the provider.
func (s *shop) tell(t *testing.T, id, kind, object string) {
	t.Helper()
	if err := s.jobs.Take(t.Context(), Delivery{id, kind, object}); err != nil {
		t.Fatal(err)
	}
}

// impatient is the same client with timers of a millisecond.
func (s *shop) impatient() *Client {
	c := *s.jobs
	c.config.ExpireAfter, c.config.AbandonAfter = time.Millisecond, time.Millisecond
	return &c
}

func (s *shop) expire(t *testing.T) {
	t.Helper()
	time.Sleep(5 * time.Millisecond) // all orders are older than the timer
	if err := (&expireWorker{client: s.impatient()}).Work(t.Context(), &river.Job[expireArgs]{}); err != nil {
		t.Fatal(err)
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	declined := s.place(t, "tok_declined", nil)
	s.await(t, declined.Ref(), within, func(o *db.Order) bool { return o.Status == db.PaymentFailed })
	paid, underWay := s.paid(t, nil), s.place(t, "tok_visa!hold", nil)
	s.await(t, underWay.Ref(), within, func(o *db.Order) bool { return o.Payment.Status == db.Unknown })
	s.expire(t)
	s.expire(t)
	s.release(t, underWay)
	for _, x := range []struct {
		o       *db.Order
		status  db.Status
		payment db.PaymentStatus
	}{{declined, db.Expired, db.Void}, {paid, db.StatusPlaced, db.Captured}, {underWay, db.Expired, db.Refunded}} {
		// The charge under way goes through later; it must not revive the order.
		o := s.await(t, x.o.Ref(), within, func(o *db.Order) bool { return o.Payment.Status == x.payment })
		if o.Status != x.status {
			t.Errorf("the order is %s, its payment %s; want %s", o.Status, o.Payment.Status, x.status)
		}
	}
	s.wantsMoney(t, declined, 0, 0)
	s.wantsMoney(t, underWay, 1, 1)
	if late := s.forgotten(t, "tok_visa"); late.Status != db.PaymentPending {
		t.Errorf("placed as %s", late.Status)
	} else if err := (&expireWorker{client: s.jobs}).Work(t.Context(), &river.Job[expireArgs]{}); err != nil {
		t.Error(err)
	} else if o, err := db.OrderByID(t.Context(), s.pool, late.Ref()); err != nil || o.Status != db.PaymentPending {
		t.Errorf("within its quarter of an hour the order is %v (%v)", o, err)
	}
}

func TestAbandon(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	want := map[uuid.UUID]db.Status{}
	for _, step := range []struct {
		kinds []string
		then  db.Status
	}{{nil, db.StatusPlaced}, {[]string{"start"}, db.InProgress}, {[]string{"ready"}, db.Abandoned}, {[]string{"ready", "collect"}, db.PickedUp}, {[]string{"ready", "undo"}, db.InProgress}} {
		o := s.paid(t, nil)
		for _, kind := range step.kinds {
			o = s.do(t, kind, o)
		}
		want[o.ID] = step.then
	}
	abandon := func(c *Client) {
		if err := (&abandonWorker{client: c}).Work(t.Context(), &river.Job[abandonArgs]{}); err != nil {
			t.Fatal(err)
		}
	}
	ahead := s.do(t, "ready", s.do(t, "start", s.paid(t, nil)))
	if _, err := s.pool.Exec(t.Context(), `update orders set pickup_at = now() + interval '1 hour' where id = $1`, ahead.ID); err != nil {
		t.Fatal(err)
	}
	want[ahead.ID] = db.Ready // it was made before its time
	abandon(s.jobs)
	for id, status := range s.statuses(t) {
		if status == db.Abandoned {
			t.Errorf("%s is abandoned within its two hours", id)
		}
	}
	time.Sleep(5 * time.Millisecond)
	abandon(s.impatient())
	for id, status := range s.statuses(t) {
		if status != want[id] {
			t.Errorf("%s is %s, want %s", id, status, want[id])
		}
		o, err := db.OrderByID(t.Context(), s.pool, db.OrderRef{StoreID: s.store.ID, ID: id})
		if err != nil || o.Payment.Status != db.Captured {
			t.Errorf("the payment of an order that is %s: %+v (%v)", status, o.Payment, err)
		}
	}
}

func (s *shop) statuses(t *testing.T) map[uuid.UUID]db.Status {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `select id, status from orders`)
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID     uuid.UUID
		Status db.Status
	}
	orders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	found := map[uuid.UUID]db.Status{}
	for _, o := range orders {
		found[o.ID] = o.Status
	}
	return found
}

// TestHousekeepingIsKeptWaiting holds a table that gets a month: that is told of, and left to the next run.
func TestHousekeepingIsKeptWaiting(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var lines bytes.Buffer
	s.jobs.config.Log = slog.New(slog.NewTextHandler(&lines, nil))
	var there bool
	month := `to_regclass('ledger' || to_char(now() at time zone 'UTC' + interval '1 month', '_YYYY_MM'))`
	s.exec(t, `do $$ begin execute 'drop table ' || `+month+`; end $$`)
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), `lock table ledger in share update exclusive mode`); err != nil {
		t.Fatal(err)
	}
	work := func() error {
		return (&housekeepingWorker{client: s.jobs}).Work(t.Context(), &river.Job[housekeepingArgs]{})
	}
	if err := work(); err != nil || !strings.Contains(lines.String(), "level=WARN") {
		t.Fatalf("kept waiting: %v, and said %q", err, lines.String())
	}
	if err := errors.Join(tx.Rollback(t.Context()), work()); err != nil {
		t.Fatal(err)
	}
	if err := s.pool.QueryRow(t.Context(), `select `+month+` is not null`).Scan(&there); err != nil || !there {
		t.Errorf("the month is not there (%v)", err)
	}
}

func TestHousekeeping(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	old, fresh := s.paid(t, nil), s.paid(t, nil)
	s.exec(t, `update idempotency_keys set created_at = now() - $2::interval where order_id = $1`, old.ID, keysKept+time.Minute)
	if err := (&housekeepingWorker{client: s.jobs}).Work(t.Context(), &river.Job[housekeepingArgs]{}); err != nil {
		t.Fatal(err)
	}
	rows, err := s.pool.Query(t.Context(), `select order_id from idempotency_keys`)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
	if err != nil || len(kept) != 1 || kept[0] != fresh.ID {
		t.Errorf("kept are the keys of %v (%v), want %s", kept, err, fresh.ID)
	}
	next := time.Now().UTC().AddDate(0, 1, 1-time.Now().UTC().Day()).Format("2006_01")
	for _, table := range []string{"orders", "order_history", "payments"} {
		var there bool
		if err := s.pool.QueryRow(t.Context(), `select to_regclass($1) is not null`, table+"_"+next).Scan(&there); err != nil || !there {
			t.Errorf("there is no %s_%s (%v)", table, next, err)
		}
	}
}
