package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

const (
	// MaxSeedOrders bounds the past orders of one seeding: about 2 KB of disk each.
	MaxSeedOrders = 100_000_000

	seedOrdersBite = 100_000 // orders in one transaction
	// The past lies between these ages, so that today's numbers and keys are left alone.
	seedOrdersFrom = 30 * 24 * time.Hour
	seedOrdersTo   = 2 * 24 * time.Hour
)

// SeedOrders adds n orders of a latte that were paid, made and picked up in the past month, spread evenly over
// the stores and over time, with their history and payments. It is for trying out a large database; the sandbox
// has never heard of these payments.
func SeedOrders(ctx context.Context, pool *pgxpool.Pool, n int) error {
	switch {
	case n == 0:
		return nil
	case n < 0 || n > MaxSeedOrders:
		return fmt.Errorf("orders must be from 0 to %d", MaxSeedOrders)
	}
	snapshot, err := seedSnapshot(ctx, pool)
	if err != nil {
		return err
	}
	now := time.Now().UTC()
	from, to := now.Add(-seedOrdersFrom), now.Add(-seedOrdersTo)
	if _, err := pool.Exec(ctx, `select ensure_partitions($1, 2)`, from); err != nil {
		return err
	}
	step := to.Sub(from) / time.Duration(n)
	for done := 0; done < n; {
		bite := min(seedOrdersBite, n-done)
		if err := seedOrders(ctx, pool, snapshot, from.Add(time.Duration(done)*step), step, bite); err != nil {
			return err
		}
		done += bite
	}
	_, err = pool.Exec(ctx, `analyze orders, order_history, payments, ledger`)
	return err
}

// seedSnapshot is the latte at today's price.
func seedSnapshot(ctx context.Context, pool *pgxpool.Pool) (*Snapshot, error) {
	catalog, err := OpenCatalog(ctx, pool)
	if err != nil {
		return nil, err
	}
	store, ok := catalog.Store("ferry-building")
	if !ok {
		return nil, fmt.Errorf("seed the stores first: %w", ErrNotFound)
	}
	view, err := catalog.View(ctx, store, time.Now())
	if err != nil {
		return nil, err
	}
	quote, faults := view.Price(QuoteRequest{Fulfilment: "pickup", Lines: []LineRequest{{Item: "latte", Size: "small", Quantity: 1}}})
	if len(faults) > 0 {
		return nil, faults
	}
	return &Snapshot{Customer{"Ada"}, *quote}, nil
}

// seedOrders writes one bite, the first order at from and each next one a step later.
func seedOrders(ctx context.Context, pool *pgxpool.Pool, snapshot *Snapshot, from time.Time, step time.Duration, n int) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `set local statement_timeout = '10min'`); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
    with past as materialized (
        select s.store_id, i, at,
               (left(uuid_floor(at)::text, 14) || '7' || substr(md5(random()::text), 1, 3) || '-8' || substr(md5(random()::text), 1, 3)
                || '-' || substr(md5(random()::text), 1, 12))::uuid as id
        from (select i, $1::timestamptz + i * $2::interval as at from generate_series(0, $3::int - 1) i) as t
        join (select store_id, row_number() over (order by store_id) - 1 as place from stores) as s
            on s.place = t.i % (select count(*) from stores)
        order by id
    ), placed as (
        insert into orders (store_id, id, number, status, version, fulfilment, snapshot, total, payment_method, payment_status,
                            attempt, captured, updated_at)
        select store_id, id, 1 + i, 'picked_up', 5, 'pickup', $4::jsonb, $5::int8, 'card', 'captured', 1, $5, at + interval '5 minutes'
        from past
    ), moved as (
        insert into order_history (store_id, order_id, version, status, payment_status, by, at, origin)
        select store_id, id, version, status, payment_status, by, at + after, 0
        from past
        cross join (values (1, 'payment_pending', 'pending', 'customer', interval '0'), (2, 'placed', 'captured', 'payment', interval '1 second'),
                           (3, 'in_progress', 'captured', 'device:seed', interval '1 minute'), (4, 'ready', 'captured', 'device:seed', interval '4 minutes'),
                           (5, 'picked_up', 'captured', 'device:seed', interval '5 minutes')) as v (version, status, payment_status, by, after)
    ), taken as (
        insert into ledger (store_id, order_id, version, kind, card, till, sales, tax, tips, at)
        select store_id, id, 2, 'capture', $5, 0, -($5 - $6::int8), -$6::int8, 0, at + interval '1 second'
        from past
    )
    insert into payments (store_id, order_id, attempt, amount, status, provider_ref, created_at, updated_at)
    select store_id, id, 1, $5, 'captured', 'seed', at, at + interval '1 second'
    from past`, from, step, n, snapshot, snapshot.Total, snapshot.Tax)
		return err
	})
}
