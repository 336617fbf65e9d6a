package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"frenchpress/db"
	"frenchpress/db/dbtest"
	"frenchpress/jobs/sandbox"
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
	bank    http.RoundTripper // the provider
}

// openShop boots one. Whatever is between it and its provider sees every call.
func openShop(t *testing.T, between ...func(http.RoundTripper) http.RoundTripper) *shop {
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
	transport, books, err := sandbox.Share(t.TempDir(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := books.Close(); err != nil {
			t.Error(err)
		}
	})
	s.bank = transport
	for _, stand := range between {
		transport = stand(transport)
	}
	s.jobs, err = New(s.pool, s.pool, Config{ExpireAfter: 15 * time.Minute, AbandonAfter: 2 * time.Hour, Log: log,
		Provider: NewProvider("http://sandbox", "sk_test", transport, log)})
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
	return s.placeMany(t, 1, token, contact)
}

func (s *shop) placeMany(t *testing.T, lattes int, token string, contact *db.Contact) *db.Order {
	t.Helper()
	view, err := s.catalog.View(t.Context(), s.store, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	quote, faults := view.Price(db.QuoteRequest{Fulfilment: "pickup", Lines: []db.LineRequest{{Item: "latte", Size: "small", Quantity: lattes}}})
	if faults != nil {
		t.Fatal(faults)
	}
	order := db.NewOrder(s.store, "pickup", db.Customer{Name: "Ada"}, quote, "card", token, contact, nil)
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
		"tok_3ds":      {db.PaymentFailed, db.Failed, "authentication_required"},

		"tok_chargeDeclinedExpiredCard": {db.PaymentFailed, db.Failed, "expired_card"},

		"tok_visa!timeout_before":    {db.StatusPlaced, db.Captured, ""},
		"tok_visa!timeout_after":     {db.StatusPlaced, db.Captured, ""},
		"tok_visa!error_before":      {db.StatusPlaced, db.Captured, ""},
		"tok_visa!error_after":       {db.StatusPlaced, db.Captured, ""},
		"tok_visa!rate_limited":      {db.StatusPlaced, db.Captured, ""},
		"tok_visa!reset_before":      {db.StatusPlaced, db.Captured, ""},
		"tok_visa!reset_after":       {db.StatusPlaced, db.Captured, ""},
		"tok_declined!timeout_after": {db.PaymentFailed, db.Failed, "card_declined"},
		"tok_declined!error_after":   {db.PaymentFailed, db.Failed, "card_declined"},
		"tok_3ds!timeout_after":      {db.PaymentFailed, db.Failed, "authentication_required"},
	} {
		t.Run(token, func(t *testing.T) {
			t.Parallel()
			placed := s.place(t, token, nil)
			order := s.await(t, placed.Ref(), 30*time.Second, func(o *db.Order) bool { return o.Status != db.PaymentPending })
			if order.Status != want.status || order.Payment.Status != want.payment || order.Payment.Failure != want.failure {
				t.Errorf("the order is %s, its payment %+v", order.Status, order.Payment)
			}
			s.wantsMoney(t, order, map[bool]int{true: 1, false: 0}[want.payment == db.Captured], 0)
		})
	}
}

// TestPaidAgainElsewhere has a card refused and another one given at another process, while this one, which charges it,
// remembers the order as it was placed.
func TestPaidAgainElsewhere(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.mute().place(t, "tok_nonsense", nil)
	elsewhere := db.NewOrders(s.pool, db.NewHub(s.pool), s.jobs.Outbox(), db.GroupSize{})
	if _, err := elsewhere.Settle(t.Context(), o.Ref(), db.Settle(db.Charged{Attempt: 1, Status: db.Failed, Failure: "invalid_token"})); err != nil {
		t.Fatal(err)
	}
	if _, err := elsewhere.PayAgain(t.Context(), o.Ref(), "tok_visa", "customer", "key", []byte("hash"), 0); err != nil {
		t.Fatal(err)
	}
	s.eventually(t, "the second card is not charged", `select status = 'placed' from orders where id = $1`, o.ID)
	s.wantsMoney(t, o, 1, 0)
}

// entry is a line of the provider's ledger.
type entry struct {
	Kind, Intent, Refund string
	Amount               int64
	Metadata             map[string]string
}

// ledger is what the provider's ledger says of an order.
func (s *shop) ledger(t *testing.T, o *db.Order) []entry {
	t.Helper()
	resp := s.askBank(t, http.MethodGet, "/sandbox/ledger?limit=10000")
	defer func() { _ = resp.Body.Close() }()
	var all []entry
	for lines := json.NewDecoder(resp.Body); ; {
		var e entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if e.Metadata["order"] == o.Ref().Reference() {
			all = append(all, e)
		}
	}
}

// release has the provider take the money of an order that it held back.
func (s *shop) release(t *testing.T, o *db.Order) {
	t.Helper()
	s.control(t, "/sandbox/intents/"+s.charge(t, o).Intent+"/release?outcome=succeeded")
}

// control has the sandbox do something.
func (s *shop) control(t *testing.T, path string) {
	t.Helper()
	s.askBank(t, http.MethodPost, path).Body.Close()
}

// askBank asks the sandbox for something of its own; the caller closes the answer.
func (s *shop) askBank(t *testing.T, method, path string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandbox"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer sk_test")
	resp, err := s.bank.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	return resp
}

// wantsMoney holds an order against the provider's books.
func (s *shop) wantsMoney(t *testing.T, o *db.Order, charged, givenBack int) {
	t.Helper()
	charges, refunds := 0, 0
	for _, e := range s.ledger(t, o) {
		switch e.Kind {
		case "captured":
			charges++
		case "refunded":
			refunds++
		}
	}
	if charges != charged || refunds != givenBack {
		t.Errorf("charged %d times, given back %d times; want %d, %d", charges, refunds, charged, givenBack)
	}
}
