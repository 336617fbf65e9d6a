package jobs

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

func TestMain(m *testing.M) {
	dbtest.Main(m, func(ctx context.Context, pool *pgxpool.Pool) error {
		if err := db.Migrate(ctx, pool, Migrate); err != nil {
			return err
		}
		return db.SeedDemo(ctx, pool)
	})
}

// shop is a working shop without its HTTP side.
type shop struct {
	pool    *pgxpool.Pool
	hub     *db.Hub
	catalog *db.Catalog
	jobs    *Client
	orders  *db.Orders
	store   *db.Store
}

func openShop(t *testing.T) *shop {
	t.Helper()
	ctx := t.Context()
	s := &shop{pool: dbtest.Database(t)}
	s.hub = db.NewHub(s.pool)
	var err error
	if s.catalog, err = db.OpenCatalog(ctx, s.pool); err != nil {
		t.Fatal(err)
	}
	level := slog.LevelWarn
	if os.Getenv("TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: level}))
	s.jobs, err = New(s.pool, Config{ExpireAfter: 15 * time.Minute, AbandonAfter: 2 * time.Hour, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.orders = db.NewOrders(s.pool, s.hub, s.jobs.Outbox(), db.GroupSize{})
	if err := s.jobs.Start(ctx, s.orders); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := s.jobs.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := s.orders.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	s.store, _ = s.catalog.Store("ferry-building")
	return s
}

// place places a latte, paid with a card token.
func (s *shop) place(t *testing.T, token string, contact *db.Contact) *db.Order {
	t.Helper()
	view, err := s.catalog.View(t.Context(), s.store, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	quote, faults := view.Price(db.QuoteRequest{Fulfilment: "pickup", Lines: []db.LineRequest{{Item: "latte", Size: "small", Quantity: 1}}})
	if faults != nil {
		t.Fatal(faults)
	}
	order, err := db.NewOrder(s.store, "pickup", db.Customer{Name: "Ada"}, quote, "card", token, contact, nil)
	if err != nil {
		t.Fatal(err)
	}
	placed, err := s.orders.Place(t.Context(), &db.Placing{Order: order, Key: order.ID.String(), BodyHash: []byte("hash"), Store: s.store})
	if err != nil {
		t.Fatal(err)
	}
	return placed.Order
}

// await waits until the order is as wanted, at most limit.
func (s *shop) await(t *testing.T, ref db.OrderRef, limit time.Duration, wanted func(*db.Order) bool) *db.Order {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	watcher := s.hub.WatchOrder(ref)
	defer watcher.Close()
	order, err := db.OrderByID(ctx, s.pool, ref)
	if err != nil {
		t.Fatal(err)
	}
	for !wanted(order) {
		newer, err := watcher.Next(ctx)
		if err != nil {
			t.Fatalf("after %v the order is %s, its payment %s: %v", limit, order.Status, order.Payment.Status, err)
		}
		order = newer[len(newer)-1]
	}
	return order
}

func TestChargesByToken(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for token, want := range map[string]struct {
		status  db.Status
		payment db.PaymentStatus
		failure string
	}{
		"tok_visa":     {db.StatusPlaced, db.Captured, ""},
		"tok_declined": {db.PaymentFailed, db.Failed, "card_declined"},
		"tok_slow":     {db.StatusPlaced, db.Captured, ""},
		"tok_timeout":  {db.StatusPlaced, db.Captured, ""},
		"tok_flaky":    {db.StatusPlaced, db.Captured, ""},
		"tok_nonsense": {db.PaymentFailed, db.Failed, "invalid_token"},
	} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			placed := s.place(t, token, nil)
			order := s.await(t, placed.Ref(), 20*time.Second, func(o *db.Order) bool { return o.Status != db.PaymentPending })
			if order.Status != want.status || order.Payment.Status != want.payment || order.Payment.Failure != want.failure {
				t.Errorf("the order is %s, its payment %+v", order.Status, order.Payment)
			}
			var charges int
			err := s.pool.QueryRow(t.Context(), `select count(*) from sandbox.charges where reference = $1 and outcome = 'succeeded'`,
				(&db.Charge{OrderRef: order.Ref()}).Reference()).Scan(&charges)
			if wantCharges := map[bool]int{true: 1, false: 0}[want.payment == db.Captured]; err != nil || charges != wantCharges {
				t.Errorf("%d charges in the provider's ledger, want %d (%v)", charges, wantCharges, err)
			}
		})
	}
}
