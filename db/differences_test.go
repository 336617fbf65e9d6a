package db_test

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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
	rows, err := conn.Query(t.Context(), `select provider_ref, store_id, order_id, attempt, amount from payments`)
	if err != nil {
		t.Fatal(err)
	}
	charges, err := pgx.CollectRows(rows, pgx.RowToStructByPos[db.SeenCharge])
	if err != nil {
		t.Fatal(err)
	}
	seen := &db.Seen{Charges: charges}
	for _, c := range charges {
		seen.Refunds = append(seen.Refunds, db.SeenRefund{Refund: "re_" + c.Intent, Intent: c.Intent, OrderRef: c.OrderRef, Amount: c.Received})
	}
	suspects, err := db.Suspects(t.Context(), pool, seen, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 10)
	if err != nil || len(suspects) != 0 {
		t.Errorf("suspects %v, %v", suspects, err)
	}
	seen.Charges, seen.Refunds = seen.Charges[1:], seen.Refunds[:len(seen.Refunds)-1]
	suspects, err = db.Suspects(t.Context(), pool, seen, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 10)
	if err != nil || len(suspects) != 2 {
		t.Errorf("with a charge and a refund missing: suspects %v, %v", suspects, err)
	}
}
