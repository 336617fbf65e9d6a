package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// refundRows are refunds on their way into the database, column by column.
type refundRows struct {
	stores                                                []int32
	ids                                                   []uuid.UUID
	ns, tries                                             []int
	amounts, sales, taxes, tips                           []int64
	lines                                                 []string // JSON
	methods, reasons, by, statuses, failures, providerRef []string
	created, updated                                      []time.Time
}

// add takes the refunds that a change began or moved on.
func (r *refundRows) add(c *changing) {
	for i := range c.after.Refunds {
		refund := &c.after.Refunds[i]
		if was := c.before.refundStatus(i); was == refund.Status {
			continue
		}
		r.stores, r.ids = append(r.stores, c.after.StoreID), append(r.ids, c.after.ID)
		r.ns, r.tries = append(r.ns, refund.N), append(r.tries, refund.Tries)
		r.amounts, r.sales = append(r.amounts, refund.Amount), append(r.sales, refund.Sales)
		r.taxes, r.tips = append(r.taxes, refund.Tax), append(r.tips, refund.Tip)
		r.lines = append(r.lines, string(mustMarshal(c.after, append([]LineUnits{}, refund.Lines...)))) // a tip alone has an empty list, not null
		r.methods, r.reasons = append(r.methods, refund.Method), append(r.reasons, refund.Reason)
		r.by, r.statuses = append(r.by, refund.By), append(r.statuses, refund.Status)
		r.failures, r.providerRef = append(r.failures, refund.Failure), append(r.providerRef, refund.Ref)
		r.created, r.updated = append(r.created, refund.At), append(r.updated, refund.UpdatedAt)
	}
}

// refundStatus is that of the refund at a place, empty if there is none.
func (o *Order) refundStatus(place int) string {
	if place >= len(o.Refunds) {
		return ""
	}
	return o.Refunds[place].Status
}

// asksForRefund tells whether a change leaves the provider something to give back that it had not before.
func (c *changing) asksForRefund() bool {
	for i, r := range c.after.Refunds {
		if r.Status == RefundAsked && c.before.refundStatus(i) != RefundAsked {
			return true
		}
	}
	return false
}

// queueRefunds writes the refunds that changes began or moved on. One that is done never changes again.
func queueRefunds(batch *pgx.Batch, work []*changing) {
	var r refundRows
	for _, c := range work {
		if c.moved() {
			r.add(c)
		}
	}
	if len(r.ids) == 0 {
		return
	}
	batch.Queue(`
    insert into refunds as r (store_id, order_id, n, amount, sales, tax, tip, lines, method, reason, by, status, failure,
                              provider_ref, tries, created_at, updated_at)
    select store_id, order_id, n, amount, sales, tax, tip, lines::jsonb, method, nullif(reason, ''), by, status, nullif(failure, ''),
           nullif(provider_ref, ''), tries, created_at, updated_at
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::text[], $9::text[],
                $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::int4[], $16::timestamptz[], $17::timestamptz[])
         as v (store_id, order_id, n, amount, sales, tax, tip, lines, method, reason, by, status, failure, provider_ref, tries, created_at, updated_at)
    on conflict (order_id, store_id, n) do update
    set method = excluded.method, status = excluded.status, failure = excluded.failure, provider_ref = excluded.provider_ref,
        tries = excluded.tries, updated_at = excluded.updated_at
    where r.status <> 'done'`,
		r.stores, r.ids, r.ns, r.amounts, r.sales, r.taxes, r.tips, r.lines, r.methods, r.reasons, r.by, r.statuses, r.failures,
		r.providerRef, r.tries, r.created, r.updated)
}

// RefundsAsked are the refunds of an order that wait for the provider.
func RefundsAsked(ctx context.Context, q Querier, ref OrderRef) ([]Refund, error) {
	order, err := OrderByID(ctx, q, ref)
	if err != nil {
		return nil, err
	}
	var asked []Refund
	for _, r := range order.Refunds {
		if r.Status == RefundAsked {
			asked = append(asked, r)
		}
	}
	return asked, nil
}

// StuckRefunds are the orders with a refund that has waited for the provider since before cutoff, oldest first, at most
// limit.
func StuckRefunds(ctx context.Context, q Querier, cutoff time.Time, limit int) ([]OrderRef, error) {
	rows, err := q.Query(ctx, `
    select distinct on (order_id) store_id, order_id
    from refunds
    where status = 'pending' and updated_at < $1
    order by order_id
    limit $2`, cutoff, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[OrderRef])
}

// FailedRefund is a refund that the provider has refused for good, as staff need to see it.
type FailedRefund struct {
	OrderRef
	N         int
	Store     string // slug
	Number    int
	Amount    int64
	Currency  string
	Customer  string
	Reason    string
	By        string
	Failure   string
	Tries     int
	UpdatedAt time.Time
}

// FailedRefunds is one page of what waits for staff, of all stores, the oldest order first, after the place of the
// last one of the page before.
func FailedRefunds(ctx context.Context, q Querier, after uuid.UUID, afterN, limit int) ([]FailedRefund, error) {
	rows, err := q.Query(ctx, `
    select r.store_id, r.order_id, r.n, s.slug, o.number, r.amount, s.currency, coalesce(o.snapshot -> 'customer' ->> 'name', ''),
           coalesce(r.reason, ''), r.by, coalesce(r.failure, ''), r.tries, r.updated_at
    from refunds r
    join orders o on o.store_id = r.store_id and o.id = r.order_id
    join stores s on s.store_id = r.store_id
    where r.status = 'failed' and (r.order_id, r.n) > ($1, $2)
    order by r.order_id, r.n
    limit $3`, after, afterN, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[FailedRefund])
}

// CountFailedRefunds is how many refunds wait for staff, at most most.
func CountFailedRefunds(ctx context.Context, q Querier, most int) (n int, err error) {
	err = q.QueryRow(ctx, `
    select count(*)
    from (select from refunds where status = 'failed' limit $1) as failed`, most).Scan(&n)
	return n, err
}
