package db_test

import (
	"testing"
	"time"

	"frenchpress/db"
)

// TestSuspectsOfARush compares a rush of which all is given back, both sides agreeing. What that takes must not grow with
// the square of it: this one would then not end within what a statement has.
func TestSuspectsOfARush(t *testing.T) {
	t.Parallel()
	pool := openDatabase(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for _, sql := range []string{
		`set session_replication_role = replica`, // payments without their orders
		`insert into payments (store_id, order_id, attempt, amount, status, provider_ref, created_at, updated_at)
		 select 1, (substr(uuid_floor(now())::text, 1, 14) || '7' || substr(gen_random_uuid()::text, 16))::uuid, 1, 500, 'refunded', 'pi_' || i, now(), now() from generate_series(1, 20000) i`,
		`insert into order_history (store_id, order_id, version, status, payment_status, by, at, origin)
		 select store_id, order_id, 1, 'cancelled', 'refunded', 'payment', updated_at, 1 from payments`,
		`insert into refunds (store_id, order_id, n, amount, sales, tax, tip, lines, method, by, status, provider_ref, created_at, updated_at)
		 select store_id, order_id, 1, amount, amount, 0, 0, '[]', 'card', 'customer', 'done', 're_' || provider_ref, created_at, updated_at from payments`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	seen := new(db.Seen)
	if err := conn.QueryRow(t.Context(), `
    select array_agg(provider_ref), array_agg(store_id), array_agg(order_id), array_agg(attempt), array_agg(amount), array_agg('re_' || provider_ref)
    from payments`).Scan(&seen.Intents, &seen.Stores, &seen.Orders, &seen.Attempts, &seen.Received, &seen.Refunds); err != nil {
		t.Fatal(err)
	}
	seen.RefundStores, seen.RefundOrders, seen.RefundIntents, seen.GivenBack = seen.Stores, seen.Orders, seen.Intents, seen.Received
	suspects, err := db.Suspects(t.Context(), conn, seen, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 10)
	if err != nil || len(suspects) != 0 {
		t.Errorf("suspects %v, %v", suspects, err)
	}
	seen.Intents, seen.Refunds = seen.Intents[1:], seen.Refunds[:len(seen.Refunds)-1]
	seen.Stores, seen.Orders, seen.Attempts, seen.Received = seen.Stores[1:], seen.Orders[1:], seen.Attempts[1:], seen.Received[1:]
	last := len(seen.RefundStores) - 1
	seen.RefundStores, seen.RefundOrders, seen.RefundIntents, seen.GivenBack = seen.RefundStores[:last], seen.RefundOrders[:last], seen.RefundIntents[:last], seen.GivenBack[:last]
	suspects, err = db.Suspects(t.Context(), conn, seen, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 10)
	if err != nil || len(suspects) != 2 {
		t.Errorf("with a charge and a refund missing: suspects %v, %v", suspects, err)
	}
}
