package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/tidwall/gjson"
)

const (
	pagesRead  = 200
	deepBite   = 100_000 // orders in one transaction
	calmWait   = 30 * time.Second
	deepFrom   = 30 * 24 * time.Hour // as old as the seeded past
	deepTo     = 2 * 24 * time.Hour
	calmChecks = 500 * time.Millisecond
)

// Pages are the times of reading pages of one store's history, in milliseconds.
type Pages struct {
	Orders int     `json:"orders"` // that the store has
	First  float64 `json:"first_ms"`
	Deep   float64 `json:"deep_ms"`
}

// past compares a shop with a long past and one without, turn by turn, and a page deep in the past with the first.
func (b *bench) past(ctx context.Context) (err error) {
	if b.PastOrders == 0 {
		return nil
	}
	old := b.shop
	for left := b.PastOrders; left > 0; left -= seedBite {
		if err := old.seed(ctx, "", "--stores", strconv.Itoa(b.Stores), "--orders", strconv.Itoa(min(left, seedBite))); err != nil {
			return err
		}
	}
	young, err := openServer(ctx, b.Server, b.Stores)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, young.close()) }()
	before, after, err := b.compareShops(ctx, young, old)
	if err != nil {
		return err
	}
	b.add(Row{
		What:   fmt.Sprintf("whole orders with %s past orders against none, %s/s", number(float64(b.PastOrders)), number(before)),
		Figure: percent(after/before) + " (" + number(after) + "/s)", Target: "≥ 90 %", Outcome: atLeast(after/before, 0.9),
	})
	return b.deepPages(ctx)
}

// compareShops finds the most whole orders that two shops can do, both calm, started anew and warm.
func (b *bench) compareShops(ctx context.Context, young, old *server) (before, after float64, err error) {
	defer func() { b.shop = old }()
	var without, with []*Report
	type side struct {
		shop *server
		name string
		all  *[]*Report
	}
	sides := []side{{young, "whole orders, no past", &without}, {old, "whole orders, a long past", &with}}
	for _, of := range sides {
		b.shop = of.shop
		if err := b.calm(ctx); err != nil {
			return 0, 0, err
		}
		if err := b.fresh(ctx); err != nil {
			return 0, 0, err
		}
	}
	for range rounds {
		for _, of := range sides {
			b.shop = of.shop
			r, err := b.closed(ctx, of.name, "lifecycle")
			if err != nil {
				return 0, 0, err
			}
			*of.all = append(*of.all, r)
		}
		slices.Reverse(sides)
	}
	return median(without, perSecond), median(with, perSecond), nil
}

// seedBite is how many past orders are seeded at once, so that no step takes longer than it may.
const seedBite = 1_000_000

// calm lets the database put away what it was given: the vacuums that would come by themselves in the middle of a
// run, and its checkpoint.
func (b *bench) calm(ctx context.Context) error {
	conn, err := b.shop.connect(ctx, "frenchpress")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{`vacuum (analyze) orders, order_history, payments`, `checkpoint`} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return err
		}
	}
	for deadline := time.Now().Add(b.lasts(calmWait)); time.Now().Before(deadline); {
		var busy bool
		err := conn.QueryRow(ctx, `select exists (select from pg_stat_activity where backend_type = 'autovacuum worker')`).Scan(&busy)
		if err != nil || !busy {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(calmChecks):
		}
	}
	return nil
}

// deepPages gives one store a long history and compares its first page with one from the middle of it.
func (b *bench) deepPages(ctx context.Context) error {
	b.note("")
	stores, err := readStores(b.shop.devices(), 0)
	if err != nil {
		return err
	}
	store := stores[len(stores)-1] // the first had all the orders of the runs with one store
	middleOf, err := b.deepen(ctx, store)
	if err != nil {
		return err
	}
	if err := b.calm(ctx); err != nil {
		return err
	}
	p := &Pages{Orders: b.PastOrders}
	pool, err := NewPool(b.shop.target(), nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	var first, deep []float64
	for range pagesRead {
		a, err := readPage(pool, store, "")
		if err != nil {
			return err
		}
		z, err := readPage(pool, store, "&to="+middleOf.UTC().Format(time.RFC3339))
		if err != nil {
			return err
		}
		first, deep = append(first, a), append(deep, z)
	}
	p.First, p.Deep = middle(first), middle(deep)
	b.results.Trials = append(b.results.Trials, &Trial{Name: "pages of history", Pages: p})
	b.add(Row{
		What:   fmt.Sprintf("a page of history %s orders deep against the first, %s ms", number(float64(b.PastOrders)/2), number(p.First)),
		Figure: fmt.Sprintf("%.2f times", p.Deep/p.First), Target: "≤ 1.3 times", Outcome: atMost(p.Deep/p.First, 1.3),
	})
	return nil
}

// readPage reads a full page and gives the milliseconds it took.
func readPage(pool *Pool, store *Store, more string) (float64, error) {
	c := pool.Get()
	defer func() { pool.Put(c) }()
	begun := time.Now()
	c.Request("GET", "/v1/stores/", store.Slug, "/orders?limit=200", more)
	c.Header("Authorization", "Bearer ", store.Token)
	c.NoBody()
	if err := c.Do(); err != nil {
		return 0, err
	}
	took := float64(time.Since(begun).Microseconds()) / 1000
	if c.Status() != 200 {
		return 0, c.refused("reading a page")
	}
	if n := gjson.GetBytes(c.Answer(), "orders.#").Int(); n != 200 {
		return 0, faultf("answer", "a page of %d orders, not 200", n)
	}
	return took, nil
}

// deepen gives a store a past of its own: copies of one of its finished orders, spread evenly over the time of the
// seeded ones. It returns the time by which half of them had come.
func (b *bench) deepen(ctx context.Context, store *Store) (time.Time, error) {
	conn, err := b.shop.connect(ctx, "frenchpress")
	if err != nil {
		return time.Time{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	now := time.Now()
	step := (deepFrom - deepTo) / time.Duration(b.PastOrders)
	for done := 0; done < b.PastOrders; done += deepBite {
		bite := min(deepBite, b.PastOrders-done)
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			_, err := tx.Exec(ctx, deepOrders, store.Slug, now.Add(-deepFrom+time.Duration(done)*step), step, bite)
			return err
		})
		if err != nil {
			return time.Time{}, err
		}
	}
	return now.Add(-(deepFrom + deepTo) / 2), nil
}

// newID is a UUIDv7 of a moment, in SQL.
func newID(at string) string {
	return "(left(uuid_floor(" + at + ")::text, 14) || '7' || substr(gen_random_uuid()::text, 16))::uuid"
}

var deepOrders = strings.ReplaceAll(`
    with model as materialized (
        select o.*
        from orders o
        join stores s on s.store_id = o.store_id
        where s.slug = $1 and o.status = 'picked_up' and o.version = 5
        order by o.id
        limit 1
    ), past as materialized (
        select i, at, NEWID as id
        from (select i, $2::timestamptz + i * $3::interval as at from generate_series(0, $4::int - 1) i) as t
    ), placed as (
        insert into orders (store_id, id, number, status, version, fulfilment, snapshot, total, payment_method, payment_status,
                            attempt, captured, updated_at)
        select m.store_id, past.id, 1 + past.i, m.status, m.version, m.fulfilment, m.snapshot, m.total, m.payment_method, m.payment_status,
               m.attempt, m.captured, past.at + interval '5 minutes'
        from past
        cross join model m
    )
    insert into order_history (store_id, order_id, version, status, payment_status, by, at, origin)
    select m.store_id, past.id, h.version, h.status, h.payment_status, h.by, past.at + h.version * interval '1 minute', 0
    from past
    cross join model m
    join order_history h on h.store_id = m.store_id and h.order_id = m.id`, "NEWID", newID("at"))
