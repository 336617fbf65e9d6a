package db

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Charge is one attempt to charge an order, as the worker that carries it out needs it.
type Charge struct {
	OrderRef
	Attempt  int
	Amount   int64 // in the currency's minor unit
	Currency string
	Token    string
	Status   PaymentStatus
	Wanted   bool // the order still waits to be paid; else the charge must not be made any more

	Intent    string // the provider's name of it, stored before any money can move; empty: none has
	Renounced bool   // it was stored that there is no intent and never will be
	Tries     int    // counts the idempotency keys, from 1
}

// AnyCharge tells whether the provider has ever made an intent.
func AnyCharge(ctx context.Context, q Querier) (exists bool, err error) {
	err = q.QueryRow(ctx, `select exists (select from payments where provider_ref <> '')`).Scan(&exists)
	return exists, err
}

// Key is what the charge's idempotency keys begin with, and what makes them those of this charge.
func (c *Charge) Key() string { return fmt.Sprintf("charge-%d-%s-%d", c.StoreID, c.ID, c.Attempt) }

// KeyFor is the idempotency key under which the provider is asked to do one thing about the charge.
func (c *Charge) KeyFor(what string) string { return fmt.Sprintf("%s-%s-%d", c.Key(), what, c.Tries) }

// Reference is how the provider's books name the order.
func (ref OrderRef) Reference() string { return fmt.Sprintf("%d/%s", ref.StoreID, ref.ID) }

// ParseReference is the order that a Reference names.
func ParseReference(reference string) (ref OrderRef, ok bool) {
	store, order, _ := strings.Cut(reference, "/")
	storeID, err := strconv.ParseInt(store, 10, 32)
	if err != nil {
		return ref, false
	}
	id, err := uuid.Parse(order)
	return OrderRef{int32(storeID), id}, err == nil
}

// paymentRows are attempts on their way into the database, column by column.
type paymentRows struct {
	stores                 []int32
	ids                    []uuid.UUID
	attempts               []int
	amounts                []int64
	tokens, statuses, refs []string
	failures, words        []string
	at                     []time.Time
}

func (r *paymentRows) add(o *Order) {
	r.stores, r.ids, r.attempts = append(r.stores, o.StoreID), append(r.ids, o.ID), append(r.attempts, o.Payment.Attempt)
	r.amounts, r.tokens = append(r.amounts, o.Snapshot.Total), append(r.tokens, o.Payment.Token)
	r.statuses, r.refs = append(r.statuses, string(o.Payment.Status)), append(r.refs, o.Payment.Ref)
	r.failures, r.at = append(r.failures, o.Payment.Failure), append(r.at, o.UpdatedAt)
	r.words = append(r.words, o.Payment.Words)
}

func (r *paymentRows) queueInsert(batch *pgx.Batch) {
	batch.Queue(`
    insert into payments (store_id, order_id, attempt, amount, token, status, created_at, updated_at)
    select store_id, order_id, attempt, amount, token, 'pending', at, at
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::int8[], $5::text[], $6::timestamptz[])
         as v (store_id, order_id, attempt, amount, token, at)`,
		r.stores, r.ids, r.attempts, r.amounts, r.tokens, r.at)
}

// queueUpdate carries the state of the orders' payments over to their current attempts. A failed
// attempt stays failed, whatever becomes of its order. What was said of an unknown one is not true of what it came to.
func (r *paymentRows) queueUpdate(batch *pgx.Batch) {
	batch.Queue(`
    update payments p
    set status = v.status, failure = coalesce(nullif(v.failure, ''), p.failure), updated_at = v.at,
        provider_ref = coalesce(nullif(v.ref, ''), p.provider_ref),
        provider_words = coalesce(nullif(v.words, ''), case when p.status <> 'unknown' then p.provider_words end),
        token = case when v.status in ('pending', 'unknown') then p.token end
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::text[])
         as v (store_id, order_id, attempt, status, failure, ref, at, words)
    where p.store_id = v.store_id and p.order_id = v.order_id and p.attempt = v.attempt and p.status <> 'failed'`,
		r.stores, r.ids, r.attempts, r.statuses, r.failures, r.refs, r.at, r.words)
}

// queuePayments adds the attempts that changes began and carries over what became of the others.
func queuePayments(batch *pgx.Batch, work []*changing) {
	var begun, changed paymentRows
	for _, c := range work {
		switch {
		case !c.moved() || c.after.Payment.Attempt == 0:
		case c.after.Payment.Attempt > c.before.Payment.Attempt:
			begun.add(c.after)
		case c.after.Payment.Status != c.before.Payment.Status:
			changed.add(c.after)
		}
	}
	if len(begun.ids) > 0 {
		begun.queueInsert(batch)
	}
	if len(changed.ids) > 0 {
		changed.queueUpdate(batch)
	}
}

// BegunCharges are ChargesOf for who is the first to carry them out: those that this process began a moment ago it need not
// read. One that has got on elsewhere since is found out before any money moves: by StoreIntents, or by Settle if the
// provider makes no intent of it.
func (o *Orders) BegunCharges(ctx context.Context, refs []OrderRef) ([]*Charge, error) {
	charges := make([]*Charge, 0, len(refs))
	var others []OrderRef
	for _, ref := range refs {
		if order := o.hub.latest(ref); order != nil && order.Status == PaymentPending && order.Payment.Token != "" {
			charges = append(charges, &Charge{
				OrderRef: ref, Attempt: order.Payment.Attempt, Amount: order.Snapshot.Total, Currency: order.Snapshot.Currency,
				Token: order.Payment.Token, Status: order.Payment.Status, Wanted: true, Tries: 1,
			})
		} else {
			others = append(others, ref)
		}
	}
	if len(others) == 0 {
		return charges, nil
	}
	read, err := ChargesOf(ctx, o.pool, others)
	return append(charges, read...), err
}

const chargeColumns = `
    p.store_id, p.order_id, p.attempt, p.amount, (select currency from stores s where s.store_id = p.store_id),
    coalesce(p.token, ''), p.status, o.status = 'payment_pending',
    coalesce(p.provider_ref, ''), coalesce(p.provider_ref = '', false), p.tries`

func scanCharge(row pgx.CollectableRow) (*Charge, error) {
	c := new(Charge)
	return c, row.Scan(&c.StoreID, &c.ID, &c.Attempt, &c.Amount, &c.Currency, &c.Token, &c.Status, &c.Wanted,
		&c.Intent, &c.Renounced, &c.Tries)
}

// ChargesOf are the current attempts of the named orders, settled or not.
func ChargesOf(ctx context.Context, q Querier, refs []OrderRef) ([]*Charge, error) {
	stores, ids := columnsOf(refs)
	rows, err := q.Query(ctx, `
    select`+chargeColumns+`
    from unnest($1::int4[], $2::uuid[]) as want (store_id, id)
    join orders o on o.store_id = want.store_id and o.id = want.id
    join payments p on p.store_id = o.store_id and p.order_id = o.id and p.attempt = o.attempt`, stores, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanCharge)
}

// StuckCharges are the orders with a payment that has not moved since before cutoff, oldest first, at most limit.
func StuckCharges(ctx context.Context, q Querier, cutoff time.Time, limit int) ([]OrderRef, error) {
	rows, err := q.Query(ctx, `
    select store_id, order_id
    from payments
    where status in ('pending', 'unknown') and updated_at < $1
    order by order_id
    limit $2`, cutoff, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[OrderRef])
}

// Overdue are open orders in one of the states, placed before cutoff, and ready and to be collected by then if that is the
// state, oldest first, at most limit.
func Overdue(ctx context.Context, q Querier, cutoff time.Time, in []Status, limit int) ([]OrderRef, error) {
	rows, err := q.Query(ctx, `
    select store_id, id
    from orders o
    where open and status = any($1) and id < uuid_floor($2)
      and (status <> 'ready' or $2 > greatest(o.pickup_at, (select min(h.at)
                                                            from order_history h
                                                            where h.order_id = o.id and h.store_id = o.store_id and h.status = 'ready')))
    order by id
    limit $3`, in, cutoff, limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[OrderRef])
}
