package db_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// till is the write path of one process; its outbox only tells what it gets.
type till struct {
	*db.Orders
	pool  *pgxpool.Pool
	hub   *db.Hub
	store *db.Store
	view  db.View

	mu      sync.Mutex
	groups  [][]db.OrderRef                                    // the charges of each flush
	onWrite func(context.Context, pgx.Tx, []db.OrderRef) error // inside the transaction that charges; may be nil

	cut *cut // of the pool, where twoProcesses made it
}

func openTill(t *testing.T, pool *pgxpool.Pool, groupMax int) *till {
	t.Helper()
	catalog, err := db.OpenCatalog(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	w := &till{pool: pool, hub: db.NewHub(pool)}
	w.store, _ = catalog.Store("ferry-building")
	if w.view, err = catalog.View(t.Context(), w.store, time.Now()); err != nil {
		t.Fatal(err)
	}
	ignore := func(context.Context, pgx.Tx, []db.OrderRef) error { return nil }
	w.Orders = db.NewOrders(pool, w.hub, db.Outbox{
		Charge: w.charge, Settle: ignore, Refund: ignore,
		Notify: func(context.Context, pgx.Tx, []db.Notice) error { return nil },
	}, db.GroupSize{Max: groupMax})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := w.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return w
}

// runHub lets this process learn of what the others write.
func (w *till) runHub(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = w.hub.Run(ctx) })
	t.Cleanup(func() { stop(); running.Wait() })
}

func (w *till) charge(ctx context.Context, tx pgx.Tx, orders []db.OrderRef) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.groups = append(w.groups, orders)
	if w.onWrite != nil {
		return w.onWrite(ctx, tx, orders)
	}
	return nil
}

// holdFirst makes the first placing flush wait for what gather gives.
func (w *till) holdFirst(hold func()) {
	w.onWrite = func(context.Context, pgx.Tx, []db.OrderRef) error {
		hold()
		return nil
	}
}

// latte is an order of one, on its way in under a key.
func (w *till) latte(t *testing.T, method, key string) *db.Placing {
	t.Helper()
	fulfilment := map[string]string{"card": "pickup", "counter": "in_store"}[method]
	quote, faults := w.view.Price(db.QuoteRequest{Fulfilment: fulfilment, Lines: []db.LineRequest{{Item: "latte", Size: "small", Quantity: 1}}})
	if faults != nil {
		t.Fatal(faults)
	}
	order := db.NewOrder(w.store, fulfilment, db.Customer{Name: "Ada"}, quote, method, "tok_visa", nil, nil)
	return &db.Placing{Order: order, Key: key, BodyHash: []byte("hash"), Store: w.store}
}

// arrival is a context that tells when a Group waits on it: then the request has joined.
type arrival struct {
	context.Context
	once   sync.Once
	joined chan struct{}
}

func (a *arrival) Done() <-chan struct{} {
	a.once.Do(func() { close(a.joined) })
	return a.Context.Done()
}

// gather makes requests share a group: first is held inside its flush until all the others have joined.
func gather(t *testing.T, first func(hold func()), others ...func(context.Context)) {
	t.Helper()
	held, joined := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		first(sync.OnceFunc(func() {
			close(held)
			<-joined
		}))
	})
	await(t, held, "the first flush")
	for _, other := range others {
		ctx := &arrival{Context: t.Context(), joined: make(chan struct{})}
		all.Go(func() { other(ctx) })
		await(t, ctx.joined, "a request to join")
	}
	close(joined)
	all.Wait()
}

func await(t *testing.T, what <-chan struct{}, name string) {
	t.Helper()
	select {
	case <-what:
	case <-time.After(20 * time.Second):
		t.Fatalf("waited in vain for %s", name)
	}
}

// refusedWith tells whether PostgreSQL refused something with this SQLSTATE.
func refusedWith(err error, code string) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == code
}

// TestABadOrderFailsAlone has orders that PostgreSQL refuses, each for a reason of its own, in a group of good ones.
func TestABadOrderFailsAlone(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	bad := map[int]struct {
		code  string // SQLSTATE
		spoil func(*db.Order)
	}{
		3:  {"23514", func(o *db.Order) { o.Snapshot.Total = -1 }},
		7:  {"23514", func(o *db.Order) { o.Payment.Status = "generous" }},
		11: {"22P05", func(o *db.Order) { o.Snapshot.Customer.Name = "A\x00da" }},
		12: {"23514", func(o *db.Order) { o.ID = uuid.UUID{} }}, // of no partition
	}
	placed, errs := make([]db.Placed, 20), make([]error, 20)
	var others []func(context.Context)
	for i := range placed {
		p := w.latte(t, "card", strconv.Itoa(i))
		if b, ok := bad[i]; ok {
			b.spoil(p.Order)
		}
		others = append(others, func(ctx context.Context) { placed[i], errs[i] = w.Place(ctx, p) })
	}
	gather(t, func(hold func()) {
		w.holdFirst(hold)
		if _, err := w.Place(t.Context(), w.latte(t, "card", "first")); err != nil {
			t.Error(err)
		}
	}, others...)
	numbers := map[int]bool{1: true} // of the first
	for i := range placed {
		if b, ok := bad[i]; ok {
			if !refusedWith(errs[i], b.code) {
				t.Errorf("bad order %d: %v, want SQLSTATE %s", i, errs[i], b.code)
			}
			if again, err := w.Place(t.Context(), w.latte(t, "card", strconv.Itoa(i))); err != nil || again.Order == nil {
				t.Errorf("the key of bad order %d is used up: %+v, %v", i, again, err)
			}
			continue
		}
		if errs[i] != nil || placed[i].Order == nil || placed[i].Replay != nil {
			t.Fatalf("good order %d: %+v, %v", i, placed[i], errs[i])
		}
		stored, err := db.OrderByID(t.Context(), w.pool, placed[i].Order.Ref())
		if err != nil || !bytes.Equal(stored.JSON(), placed[i].Order.JSON()) {
			t.Errorf("order %d as answered\n%s\nand as stored (%v)\n%s", i, placed[i].Order.JSON(), err, stored.JSON())
		}
		numbers[stored.Number] = true
	}
	if len(numbers) != 1+len(placed)-len(bad) || !numbers[len(numbers)] {
		t.Errorf("the numbers are %v, want 1 to %d", numbers, 1+len(placed)-len(bad))
	}
}

// TestARefusedOrderLeavesItsKey has a store that is paused between the price and the write.
func TestARefusedOrderLeavesItsKey(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	pause := func(until string) {
		if _, err := w.pool.Exec(t.Context(), `update store_settings set paused_until = $1::timestamptz`, until); err != nil {
			t.Fatal(err)
		}
	}
	pause("2100-01-01")
	if placed, err := w.Place(t.Context(), w.latte(t, "card", "key")); !isCode(err, db.CodeStorePaused) {
		t.Fatalf("at a paused store: %+v, %v", placed, err)
	}
	pause("2000-01-01")
	if placed, err := w.Place(t.Context(), w.latte(t, "card", "key")); err != nil || placed.Order == nil || placed.Order.Number != 1 {
		t.Errorf("afterwards: %+v, %v", placed, err)
	}
}

// TestSoldOutWhileTheMenuIsPut has an item sold out in the middle of a change of the store's menu, which holds the store's
// settings and goes on to what is available: one waits for the other, and neither for both.
func TestSoldOutWhileTheMenuIsPut(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	put, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = put.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = put.Exec(t.Context(), `select set_config('lock_timeout', '500ms', true) from store_settings where store_id = $1 for update`, w.store.ID)
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan error, 1)
	go func() {
		id := uuid.New()
		sold := &db.Command{ID: id, Type: "sold_out", Item: "latte", OccurredAt: time.Now(), Hash: id[:], By: "device:test"}
		changed, err := w.Command(t.Context(), w.store.ID, sold, w.view.Menu)
		if err == nil && changed.Result.Result != "applied" {
			err = fmt.Errorf("it is %+v", changed.Result)
		}
		said <- err
	}()
	for waits := false; !waits; time.Sleep(5 * time.Millisecond) {
		err := w.pool.QueryRow(t.Context(), `
    select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')`).Scan(&waits)
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err = put.Exec(t.Context(), `
    insert into availability (store_id, kind, ref, available, decided_at) values ($1, 'item', 'latte', false, now())`, w.store.ID)
	if err := errors.Join(err, put.Commit(t.Context()), <-said); err != nil {
		t.Error(err)
	}
}

// TestSlotsOfNewHours has a store that opens half an hour later between an order's coming in and its write: its place is
// counted where the next order finds it.
func TestSlotsOfNewHours(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	catalog, err := db.OpenCatalog(t.Context(), w.pool)
	if err != nil {
		t.Fatal(err)
	}
	late := w.latte(t, "counter", "key")
	at := time.Now().AddDate(0, 0, 2).In(w.store.Location)
	at = time.Date(at.Year(), at.Month(), at.Day(), 12, 10, 0, 0, w.store.Location)
	late.Asked, late.Order.PickupAt = true, &at
	var halfPast db.Hours
	if err := json.Unmarshal([]byte(fmt.Sprintf(`[{"day": %q, "opens": "00:30", "closes": "24:00"}]`, strings.ToLower(at.Format("Mon")))), &halfPast); err != nil {
		t.Fatal(err)
	}
	if err := catalog.Patch(t.Context(), w.store, db.StorePatch{Hours: &halfPast, SlotMinutes: new(60), SlotLimit: new(new(1))}, "test"); err != nil {
		t.Fatal(err)
	}
	placed, err := w.Place(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	if from := placed.Order.SlotStartsAt.In(w.store.Location).Format("15:04"); from != "11:30" {
		t.Errorf("it is counted in the slot from %s", from)
	}
}

// TestCrowdAtTheCounter fills a counter with orders that cost nothing.
func TestCrowdAtTheCounter(t *testing.T) {
	t.Parallel()
	const most = 250
	w := openTill(t, dbtest.Database(t), 0)
	var all errgroup.Group
	var mu sync.Mutex
	var taken []*db.Order
	for i := range most + 70 {
		all.Go(func() error {
			placed, err := w.Place(t.Context(), w.latte(t, "counter", fmt.Sprint("key ", i)))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				taken = append(taken, placed.Order)
			} else if !isCode(err, db.CodeCounterFull) {
				return err
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil || len(taken) != most {
		t.Fatalf("%d orders were taken: %v", len(taken), err)
	}
	if _, err := w.Place(t.Context(), w.latte(t, "card", "paid")); err != nil {
		t.Errorf("an order by card: %v", err)
	}
	id := uuid.New()
	paid := &db.Command{ID: id, Type: "take_payment", Order: taken[0].ID, OccurredAt: time.Now(), Hash: id[:], By: "device:test"}
	if changed, err := w.Command(t.Context(), w.store.ID, paid, w.view.Menu); err != nil || changed.Result.Result != "applied" {
		t.Fatal(changed.Result, err)
	}
	for _, full := range []bool{false, true} {
		if _, err := w.Place(t.Context(), w.latte(t, "counter", fmt.Sprint("next ", full))); isCode(err, db.CodeCounterFull) != full {
			t.Errorf("when one has paid: %v", err)
		}
	}
}

// TestPickupJustPast asks for a moment ago, which may lie in the slot before the one that the order gets.
func TestPickupJustPast(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	if _, err := w.pool.Exec(t.Context(), `update store_settings set slot_limit = 5`); err != nil {
		t.Fatal(err)
	}
	now := time.Now().Truncate(time.Microsecond)
	past := now.Add(-30 * time.Second)
	late := w.latte(t, "card", "key")
	late.Asked, late.Order.PickupAt = true, &past
	placed, err := w.Place(t.Context(), late)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := db.OrderByID(t.Context(), w.pool, placed.Order.Ref())
	if err != nil || stored.PickupAt.Before(now) || stored.PickupAt.Before(*stored.SlotStartsAt) {
		t.Fatalf("it is picked up at %v, in the slot from %v: %v", stored.PickupAt, stored.SlotStartsAt, err)
	}
	if placed.Order.PickupAt.Location() != time.UTC || !placed.Order.PickupAt.Equal(*stored.PickupAt) {
		t.Errorf("it was answered with %v, and is %v", placed.Order.PickupAt, stored.PickupAt)
	}
}

// TestAnotherTryStartsAfresh has a store that stops limiting its slots between two tries to place an order.
func TestAnotherTryStartsAfresh(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	beside, err := pgxpool.NewWithConfig(t.Context(), config.Copy())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(beside.Close)
	limit := func(places *int) error {
		_, err := beside.Exec(t.Context(), `update store_settings set slot_limit = $1`, places)
		return err
	}
	var failed atomic.Bool
	config.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) {
		if failed.CompareAndSwap(true, false) { // the next transaction begins
			return true, limit(nil)
		}
		return true, nil
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := openTill(t, pool, 0)
	if err := limit(new(3)); err != nil {
		t.Fatal(err)
	}
	w.onWrite = func(context.Context, pgx.Tx, []db.OrderRef) error {
		w.onWrite = nil
		failed.Store(true)
		return &pgconn.PgError{Code: "40P01"}
	}
	placed, err := w.Place(t.Context(), w.latte(t, "card", "key"))
	if err != nil || placed.Order.SlotStartsAt != nil || placed.Order.PickupAt != nil {
		t.Fatalf("%+v, %v", placed.Order, err)
	}
	if _, err := w.Advance(t.Context(), placed.Order.Ref(), db.CancelByCustomer("customer", "")); err != nil {
		t.Errorf("cancelling it: %v", err)
	}
}

// TestGatheredOrdersShareATransaction shows that the test above is about groups at all.
func TestGatheredOrdersShareATransaction(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	var others []func(context.Context)
	for i := range 20 {
		others = append(others, func(ctx context.Context) {
			if _, err := w.Place(ctx, w.latte(t, "card", strconv.Itoa(i))); err != nil {
				t.Error(err)
			}
		})
	}
	gather(t, func(hold func()) {
		w.holdFirst(hold)
		if _, err := w.Place(t.Context(), w.latte(t, "card", "first")); err != nil {
			t.Error(err)
		}
	}, others...)
	if len(w.groups) != 2 || len(w.groups[1]) != 20 {
		t.Errorf("%d flushes, the last of %d orders", len(w.groups), len(w.groups[len(w.groups)-1]))
	}
}

// TestABadChangeFailsAlone has decisions that refuse, that panic and that break a constraint in a group of good ones.
func TestABadChangeFailsAlone(t *testing.T) {
	t.Parallel()
	w := openTill(t, dbtest.Database(t), 0)
	refs := make([]db.OrderRef, 12)
	for i := range refs {
		placed, err := w.Place(t.Context(), w.latte(t, "card", strconv.Itoa(i)))
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = placed.Order.Ref()
	}
	refusal := errors.New("no")
	bad := map[int]db.Decision{
		2: func(*db.Order, time.Time) error { return refusal },
		5: func(*db.Order, time.Time) error { panic("of this test") },
		8: func(o *db.Order, now time.Time) error {
			o.Payment.Captured = 7 // neither nothing nor all
			return db.CancelByCustomer("customer", "")(o, now)
		},
	}
	errs := make([]error, len(refs))
	var others []func(context.Context)
	for i, ref := range refs[1:] {
		decide := bad[i+1]
		if decide == nil {
			decide = db.CancelByCustomer("customer", "")
		}
		others = append(others, func(ctx context.Context) { _, errs[i+1] = w.Advance(ctx, ref, decide) })
	}
	gather(t, func(hold func()) {
		_, errs[0] = w.Advance(t.Context(), refs[0], func(*db.Order, time.Time) error {
			hold()
			return nil
		})
	}, others...)
	if !errors.Is(errs[2], refusal) || errs[5] == nil || !refusedWith(errs[8], "23514") {
		t.Errorf("the bad ones: %v; %.80v; %v", errs[2], errs[5], errs[8])
	}
	for i, ref := range refs {
		order, err := db.OrderByID(t.Context(), w.pool, ref)
		if err != nil {
			t.Fatal(err)
		}
		want := db.Cancelled
		if i == 0 || bad[i] != nil {
			want = db.PaymentPending
		} else if errs[i] != nil {
			t.Errorf("order %d: %v", i, errs[i])
		}
		if order.Status != want {
			t.Errorf("order %d is %s, want %s", i, order.Status, want)
		}
	}
}
