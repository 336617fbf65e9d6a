package main

import (
	"context"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
)

// readPatience bounds the reading of all records.
const readPatience = 2 * time.Minute

// records are what is known at the end, from three sides that know nothing of each other: the clients, the provider
// and the shop's database.
type records struct {
	Acks    []ack
	Screens []watched

	Moved []movement // the provider's

	Orders     []bookedOrder
	Twice      []string     // keys under which there is more than one order; each guest's address names his
	Steps      []bookedStep // by order and version
	Messages   []sentMessage
	Unfinished []string // orders, payments and jobs that still want something
	Poison     []string // poison jobs that are still running
	Ledger     int64    // sum of all entries

	Differences []string // that the shop itself finds between the provider's books and its own
}

// movement is money that the provider moved.
type movement struct {
	Order  string
	Refund bool
	Amount int64
}

// bookedOrder is what the shop's database says of an order.
type bookedOrder struct {
	ID, Status, Payment       string
	Version                   int64
	Total, Captured, Refunded int64
}

// bookedStep is one version of an order.
type bookedStep struct {
	Order   string
	Version int64
	Status  string
}

// sentMessage is how often a message was sent.
type sentMessage struct {
	Subject, Kind, Channel string
	Times                  int
}

// readRecords gathers everything.
func (c *chaos) readRecords(ctx context.Context) (*records, error) {
	r := new(records)
	var err error
	if r.Acks, err = readAcks(filepath.Join(c.root, "acks")); err != nil {
		return nil, err
	}
	c.mu.Lock()
	for _, w := range c.watches {
		r.Screens = append(r.Screens, w.record())
	}
	c.mu.Unlock()
	if r.Moved, err = c.provider.moved(ctx); err != nil {
		return nil, err
	}
	if r.Differences, err = c.reconcile(ctx); err != nil {
		return nil, err
	}
	return r, c.postgres.ask(ctx, readPatience, r.readDatabase)
}

func (r *records) readDatabase(ctx context.Context, conn *pgx.Conn) (err error) {
	if r.Orders, err = collect[bookedOrder](ctx, conn, `
    select id::text, status, payment_status, version, total, captured, refunded
    from orders`); err != nil {
		return err
	}
	if r.Twice, err = texts(ctx, conn, `
    select contact ->> 'email'
    from orders
    group by 1
    having count(*) > 1 and contact ->> 'email' is not null
    limit 20`); err != nil {
		return err
	}
	if r.Steps, err = collect[bookedStep](ctx, conn, `
    select order_id::text, version, status
    from order_history
    order by order_id, version`); err != nil {
		return err
	}
	if r.Messages, err = collect[sentMessage](ctx, conn, `
    select subject::text, kind, channel, count(*)
    from notification_log
    where outcome = 'sent'
    group by subject, kind, channel`); err != nil {
		return err
	}
	if r.Unfinished, err = unfinished(ctx, conn); err != nil {
		return err
	}
	if r.Poison, err = poisonLeft(ctx, conn); err != nil {
		return err
	}
	return conn.QueryRow(ctx, `select coalesce(sum(card + till + sales + tax + tips), 0)::int8 from ledger`).Scan(&r.Ledger)
}

func collect[T any](ctx context.Context, conn *pgx.Conn, query string) ([]T, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[T])
}

// unfinished names what still wants something, a few of each. Timers come again for ever and do not count.
func unfinished(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return texts(ctx, conn, `
    (select 'order ' || id || ': ' || status || ', payment ' || payment_status
     from orders
     where open or payment_status in ('pending', 'unknown', 'refund_pending')
     limit 20)
    union all
    (select 'payment of ' || order_id || ', attempt ' || attempt || ': ' || status
     from payments
     where status in ('pending', 'unknown', 'refund_pending')
     limit 20)
    union all
    (select format('job %s of kind %s: %s, attempt %s begun %s s ago, wanted %s s ago, last error %s: %s', id, kind, state, attempt,
                   extract(epoch from now() - attempted_at)::int,
                   extract(epoch from now() - scheduled_at)::int, errors[array_upper(errors, 1)] ->> 'error', left(args::text, 200))
     from river_job
     where state in ('available', 'pending', 'retryable', 'running', 'scheduled') and queue <> 'timers' and not metadata ? 'poison'
     limit 20)`)
}

func poisonLeft(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return texts(ctx, conn, `
    select 'job ' || id || ' of kind ' || kind || ' runs since ' || attempted_at
    from river_job
    where state = 'running' and metadata ? 'poison'
    limit 20`)
}

func texts(ctx context.Context, conn *pgx.Conn, query string) ([]string, error) {
	rows, err := conn.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
