package db_test

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

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
