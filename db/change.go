package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// Decision makes of an order what is to become of it, through its moves, or refuses with an error
// and leaves it alone. It sees the locked order and the time, may run more than once, and does nothing else.
type Decision func(o *Order, now time.Time) error

// Change asks for one decision on one order.
type Change struct {
	Ref     OrderRef
	Decide  Decision
	Command *Command // the board's command behind it, recorded with its result
}

// Changed is the order after the decision, and the command's result if there was one.
type Changed struct {
	Order  *Order
	Result CommandResult
}

// Outbox puts the consequences of a change into the transaction that makes it.
type Outbox struct {
	Charge func(context.Context, pgx.Tx, []OrderRef) error
	Settle func(context.Context, pgx.Tx, []OrderRef) error // find out about a charge that was not answered
	Refund func(context.Context, pgx.Tx, []OrderRef) error
	Notify func(context.Context, pgx.Tx, []Notice) error
}

// Notice is a message that an order's customer should get.
type Notice struct {
	OrderRef
	Kind string `json:"k"`
}

// changing is one change on its way through a transaction.
type changing struct {
	*Change
	before Order // the state columns as they were
	after  *Order
	err    error
	result CommandResult
	replay bool // the command was answered before; nothing is written
}

func (c *changing) moved() bool { return c.after != nil && c.after.Version > c.before.Version }

// flushChanges writes a group of changes, each of another order, in one transaction.
func (o *Orders) flushChanges(ctx context.Context, group []*Change) ([]Result[Changed], error) {
	var work []*changing
	err := o.inTx(ctx, func(tx pgx.Tx) (err error) {
		work, err = o.change(ctx, tx, group)
		return err
	})
	if err != nil {
		return nil, err
	}
	results := make([]Result[Changed], len(work))
	for i, c := range work {
		results[i] = Result[Changed]{Changed{c.after, c.result}, c.err}
		if c.moved() || c.after != nil && o.hub.behind(c.after) { // by a commit that nobody here heard of
			o.hub.Publish(c.after)
		}
	}
	return results, nil
}

// change locks the orders in key order, decides on each, and writes what moved with its
// consequences. Nothing is committed here.
func (o *Orders) change(ctx context.Context, tx pgx.Tx, group []*Change) ([]*changing, error) {
	work := make([]*changing, len(group))
	for i, c := range group {
		work[i] = &changing{Change: c}
	}
	if err := o.read(ctx, tx, work); err != nil {
		return nil, err
	}
	for _, c := range work {
		c.decide()
	}
	batch := new(pgx.Batch)
	o.queueMoves(batch, work)
	queuePayments(batch, work)
	queueLedger(batch, work)
	queueRefunds(batch, work)
	queueFreedSlots(batch, work)
	queueCommands(batch, work)
	if batch.Len() > 0 {
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return nil, err
		}
	}
	return work, o.consequences(ctx, tx, work)
}

func (c *changing) decide() {
	switch {
	case c.after == nil && c.Command != nil:
		if !c.replay {
			c.result = CommandResult{Result: "rejected", Reason: "unknown_order"}
		}
	case c.after == nil:
		c.err = ErrNotFound
	case c.replay:
	case c.Command != nil:
		c.result = c.Command.apply(c.after)
	default:
		c.err = c.Decide(c.after, time.Now())
	}
}

// read fills in the commands that were answered before, and the orders as they are. The lock comes first: a
// statement that waits for a lock sees the new row, but its subqueries still see the history of before. Of an order
// that the hub remembers at the version that was locked, nothing more is read.
func (o *Orders) read(ctx context.Context, tx pgx.Tx, work []*changing) error {
	refs := make([]OrderRef, len(work))
	for i, c := range work {
		refs[i] = c.Ref
	}
	var locked []lockedOrder
	batch := new(pgx.Batch)
	queueReplays(batch, work)
	queueLocks(batch, refs, &locked)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	found, err := o.ordersLocked(ctx, tx, locked)
	for _, c := range work {
		if order := found[c.Ref]; order != nil {
			c.after = order
			c.before = Order{Status: order.Status, Version: order.Version, Payment: order.Payment, Refunds: order.Refunds}
		}
	}
	return err
}

// queueLocks locks the orders in key order.
func queueLocks(batch *pgx.Batch, refs []OrderRef, locked *[]lockedOrder) {
	stores, ids := columnsOf(refs)
	batch.Queue(`
    select o.store_id, o.id, o.version, o.slot_starts_at, o.seen_at is not null
    from unnest($1::int4[], $2::uuid[]) as want (store_id, id)
    join orders o on o.store_id = want.store_id and o.id = want.id
    order by o.store_id, o.id
    for no key update of o`, stores, ids).Query(func(rows pgx.Rows) (err error) {
		*locked, err = pgx.CollectRows(rows, pgx.RowToStructByPos[lockedOrder])
		return err
	})
}

// lockedOrder is what may change of an order without a new version, and the version.
type lockedOrder struct {
	OrderRef
	Version      int
	SlotStartsAt *time.Time
	Seen         bool
}

// ordersLocked are the orders as they were locked, each a copy to be moved on.
func (o *Orders) ordersLocked(ctx context.Context, tx pgx.Tx, locked []lockedOrder) (map[OrderRef]*Order, error) {
	versions := make([]changeRef, len(locked))
	for i, l := range locked {
		versions[i] = changeRef{l.OrderRef, l.Version}
	}
	found, err := o.ordersAt(ctx, tx, versions)
	if err != nil {
		return nil, err
	}
	for _, l := range locked {
		next := found[l.OrderRef].next()
		next.SlotStartsAt, next.Seen = l.SlotStartsAt, l.Seen
		found[l.OrderRef] = next
	}
	return found, nil
}

// ordersAt are the orders at these versions: those that the hub remembers, and the others as they are read.
func (o *Orders) ordersAt(ctx context.Context, q Querier, versions []changeRef) (map[OrderRef]*Order, error) {
	found := make(map[OrderRef]*Order, len(versions))
	var unknown []OrderRef
	for _, v := range versions {
		if order := o.hub.remembered(v.OrderRef, v.Version); order != nil {
			found[v.OrderRef] = order
		} else {
			unknown = append(unknown, v.OrderRef)
		}
	}
	if len(unknown) == 0 {
		return found, nil
	}
	orders, err := OrdersByID(ctx, q, unknown)
	for _, order := range orders {
		found[order.Ref()] = order
	}
	return found, err
}

// queueMoves is the guarded update: it takes an order only from the very version and status that the
// decision saw, and appends each new version to the history.
func (o *Orders) queueMoves(batch *pgx.Batch, work []*changing) {
	var orders moveRows
	var steps stepRows
	for _, c := range work {
		if c.moved() {
			orders.add(c)
			steps.add(c.Ref, c.after.Steps[c.before.Version:])
		}
	}
	if len(orders.ids) == 0 {
		return
	}
	batch.Queue(`
    update orders o
    set status = v.status, version = v.version, payment_status = v.payment_status, attempt = v.attempt,
        captured = v.captured, refunded = v.refunded, failure = nullif(v.failure, ''), holder = nullif(v.holder, ''),
        updated_at = v.updated_at
    from unnest($1::int4[], $2::uuid[], $3::text[], $4::int4[], $5::text[], $6::int4[], $7::text[], $8::int4[],
                $9::int8[], $10::int8[], $11::text[], $12::text[], $13::timestamptz[])
         as v (store_id, id, was, was_version, status, version, payment_status, attempt, captured, refunded, failure, holder, updated_at)
    where o.store_id = v.store_id and o.id = v.id and o.status = v.was and o.version = v.was_version`,
		orders.stores, orders.ids, orders.was, orders.wasVersions, orders.statuses, orders.versions, orders.payments, orders.attempts,
		orders.captured, orders.refunded, orders.failures, orders.holders, orders.updated).Exec(func(tag pgconn.CommandTag) error {
		if int(tag.RowsAffected()) != len(orders.ids) {
			return fmt.Errorf("%d of %d locked orders moved: %w", tag.RowsAffected(), len(orders.ids), ErrRace)
		}
		return nil
	})
	steps.queue(batch, o.hub.origin)
}

type moveRows struct {
	stores                          []int32
	ids                             []uuid.UUID
	was, statuses, payments         []string
	wasVersions, versions, attempts []int
	captured, refunded              []int64
	failures, holders               []string
	updated                         []time.Time
}

func (r *moveRows) add(c *changing) {
	o := c.after
	r.stores, r.ids = append(r.stores, o.StoreID), append(r.ids, o.ID)
	r.was, r.wasVersions = append(r.was, string(c.before.Status)), append(r.wasVersions, c.before.Version)
	r.statuses, r.versions = append(r.statuses, string(o.Status)), append(r.versions, o.Version)
	r.payments, r.attempts = append(r.payments, string(o.Payment.Status)), append(r.attempts, o.Payment.Attempt)
	r.captured, r.refunded = append(r.captured, o.Payment.Captured), append(r.refunded, o.Payment.Refunded)
	r.failures, r.holders = append(r.failures, o.Payment.Failure), append(r.holders, o.Holder)
	r.updated = append(r.updated, o.UpdatedAt)
}

// stepRows are history rows on their way into the database, column by column.
type stepRows struct {
	stores                         []int32
	ids                            []uuid.UUID
	versions                       []int
	statuses, payments, by, reason []string
	at                             []time.Time
}

func (r *stepRows) add(ref OrderRef, steps []Step) {
	for _, s := range steps {
		r.stores, r.ids = append(r.stores, ref.StoreID), append(r.ids, ref.ID)
		r.versions, r.at = append(r.versions, s.Version), append(r.at, s.At)
		r.statuses, r.payments = append(r.statuses, string(s.Status)), append(r.payments, string(s.PaymentStatus))
		r.by, r.reason = append(r.by, s.By), append(r.reason, s.Reason)
	}
}

func (r *stepRows) queue(batch *pgx.Batch, origin int32) {
	batch.Queue(`
    insert into order_history (store_id, order_id, version, status, payment_status, by, reason, at, origin)
    select store_id, order_id, version, status, payment_status, by, nullif(reason, ''), at, $9
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[])
         as v (store_id, order_id, version, status, payment_status, by, reason, at)`,
		r.stores, r.ids, r.versions, r.statuses, r.payments, r.by, r.reason, r.at, origin)
}

// queueFreedSlots gives back the places of orders that will not be made.
func queueFreedSlots(batch *pgx.Batch, work []*changing) {
	var stores []int32
	var starts []time.Time
	for _, c := range work {
		if c.moved() && c.after.SlotStartsAt != nil && (c.after.Status == Cancelled || c.after.Status == Expired) && !c.before.Status.Final() {
			stores, starts = append(stores, c.after.StoreID), append(starts, *c.after.SlotStartsAt)
		}
	}
	if stores == nil {
		return
	}
	batch.Queue(`
    with freed as (
        select store_id, starts_at, count(*) as places
        from unnest($1::int4[], $2::timestamptz[]) as v (store_id, starts_at)
        group by store_id, starts_at
    ), locked as (
        select s.store_id, s.starts_at
        from slots s
        join freed using (store_id, starts_at)
        order by s.store_id, s.starts_at
        for update of s
    )
    update slots s
    set taken = s.taken - freed.places
    from locked
    join freed using (store_id, starts_at)
    where s.store_id = locked.store_id and s.starts_at = locked.starts_at`, stores, starts)
}

// consequences puts into the outbox what follows from each move.
func (o *Orders) consequences(ctx context.Context, tx pgx.Tx, work []*changing) error {
	var charges, settles, refunds []OrderRef
	var notices []Notice
	for _, c := range work {
		if !c.moved() {
			continue
		}
		if c.after.Payment.Attempt > c.before.Payment.Attempt {
			charges = append(charges, c.Ref)
		}
		if c.after.Payment.Status == Unknown && c.before.Payment.Status != Unknown {
			settles = append(settles, c.Ref)
		}
		if c.asksForRefund() {
			refunds = append(refunds, c.Ref)
		}
		if kinds := noticeKinds(&c.before, c.after); c.after.Contact != nil {
			for _, kind := range kinds {
				notices = append(notices, Notice{c.Ref, kind})
			}
		}
	}
	return errors.Join(
		send(ctx, tx, o.outbox.Charge, charges),
		send(ctx, tx, o.outbox.Settle, settles),
		send(ctx, tx, o.outbox.Refund, refunds),
		send(ctx, tx, o.outbox.Notify, notices))
}

func send[T any](ctx context.Context, tx pgx.Tx, to func(context.Context, pgx.Tx, []T) error, what []T) error {
	if len(what) == 0 {
		return nil
	}
	return to(ctx, tx, what)
}

// noticeKinds says of what a move lets the customer know. An undo repeats nothing, and neither does a second refund:
// the messages are at most once per kind.
func noticeKinds(before, after *Order) []string {
	var kinds []string
	became := func(s Status) bool { return after.Status == s && before.Status != s }
	switch {
	case became(StatusPlaced) && before.Status == PaymentPending:
		kinds = append(kinds, "order_confirmed")
	case became(Ready):
		kinds = append(kinds, "order_ready")
	case became(Cancelled) || became(Expired):
		kinds = append(kinds, "order_cancelled")
	}
	if after.Payment.Refunded > 0 && before.Payment.Refunded == 0 {
		kinds = append(kinds, "refund_issued")
	}
	return kinds
}
