package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Refusals that callers tell apart.
var (
	ErrNotFound       = errors.New("not found")
	ErrPrecondition   = errors.New("it was changed in the meantime")
	ErrNotPayable     = &Error{Code: CodeNotPayable, Detail: "only an order whose payment failed can be paid again"}
	ErrNotCancellable = &Error{Code: CodeNotCancellable, Detail: "the order is being made or is finished"}
	ErrKeyReused      = &Error{Code: CodeKeyReused, Detail: "the Idempotency-Key was used with another body"}
)

// Orders is the write path: every order is placed and moved through here. Its methods are safe for
// concurrent use; whatever they return has been committed.
type Orders struct {
	pool   *pgxpool.Pool
	hub    *Hub
	outbox Outbox

	placing   *Group[keyID, *Placing, Placed]
	settling  *Group[OrderRef, *Change, Changed]
	advancing *Group[OrderRef, *Change, Changed]
	reading   *Group[*OrderRef, *OrderRef, *Order]
}

// groupPace trades 15 ms on average, under load alone, for fewer statements: at 950 orders a second a pace saves a
// sixth of the processor time of server and database.
const groupPace = 30 * time.Millisecond

// settlingWaiting has room for all that the workers can charge at a time, 64 groups: what a provider has said must not
// be turned away.
const settlingWaiting = 64 * groupMax

// advancingMax is three times what a group of placings holds, for an order that is placed once is moved three times at
// the board. With equal groups, when nothing keeps up any more, as many orders are placed as steps are taken: the shop
// would take three times as many orders as it finishes.
const advancingMax = 3 * groupMax

// boardBehind is how many steps may wait at the board before no more orders are to be taken, a quarter of those that may wait
// at all: the orders that were taken come with theirs, and whoever made a drink must be able to say so. At 1.7 times what
// the shop could carry it finished 1.5 times as many orders with this as without, in half the memory.
const boardBehind = groupWaiting / 4

// NewOrders opens the write path. The pace of its groups is its own.
func NewOrders(pool *pgxpool.Pool, hub *Hub, outbox Outbox, size GroupSize) *Orders {
	o := &Orders{pool: pool, hub: hub, outbox: outbox}
	size.Pace = groupPace
	byOrder := func(c *Change) OrderRef { return c.Ref }
	forSettling, forAdvancing := size, size
	forSettling.Waiting = settlingWaiting
	forAdvancing.Max = cmp.Or(size.Max, advancingMax)
	o.placing = NewGroup(size, (*Placing).keyID, o.flushPlacings)
	o.settling = NewGroup(forSettling, byOrder, o.flushChanges)
	o.advancing = NewGroup(forAdvancing, byOrder, o.flushChanges)
	o.reading = NewGroup(size, func(ref *OrderRef) *OrderRef { return ref }, o.flushReads)
	return o
}

// Behind tells whether the board does not keep up with the orders that were taken.
func (o *Orders) Behind() bool { return o.advancing.Waiting() >= boardBehind }

// Close answers what was accepted and refuses the rest with ErrStopping.
func (o *Orders) Close(ctx context.Context) error {
	return errors.Join(o.placing.Close(ctx), o.advancing.Close(ctx), o.settling.Close(ctx), o.reading.Close(ctx))
}

// NewOrder is an order as of version 1, without what the write gives it. A zero total needs no
// provider; a counter order is paid at the till.
func NewOrder(store *Store, fulfilment string, customer Customer, quote *Quote, method, token string, contact *Contact, pickupAt *time.Time) *Order {
	at := time.Now().UTC().Truncate(time.Microsecond)
	if pickupAt != nil {
		kept := pickupAt.UTC().Truncate(time.Microsecond) // what the database keeps, and a replay shows
		pickupAt = &kept
	}
	o := &Order{
		StoreID: store.ID, Store: store.Slug, ID: newID(at), Version: 1, Fulfilment: fulfilment, PickupAt: pickupAt,
		Snapshot: Snapshot{Customer: customer, Quote: *quote}, Contact: contact,
		Payment: Payment{Method: method}, PlacedAt: at, UpdatedAt: at,
	}
	switch {
	case method == "counter" && quote.Total > 0:
		o.Status, o.Payment.Status = StatusPlaced, Due
	case quote.Total == 0:
		o.Status, o.Payment.Status = StatusPlaced, Captured
	default:
		o.Status, o.Payment.Status = PaymentPending, Pending
		o.Payment.Attempt, o.Payment.Token = 1, token
	}
	o.Steps = []Step{{1, o.Status, o.Payment.Status, "customer", "", at}}
	o.body = new(orderBody)
	return o
}

// Settle records what the world outside said of an order's money.
func (o *Orders) Settle(ctx context.Context, ref OrderRef, decide Decision) (*Order, error) {
	changed, err := o.settling.Do(ctx, &Change{Ref: ref, Decide: decide})
	return changed.Order, err
}

// Advance moves an order as a person or a timer decided.
func (o *Orders) Advance(ctx context.Context, ref OrderRef, decide Decision) (*Order, error) {
	changed, err := o.advancing.Do(ctx, &Change{Ref: ref, Decide: decide})
	return changed.Order, err
}

// AdvanceAudited is Advance with a line in the audit: who did what, and detail, in the same commit.
func (o *Orders) AdvanceAudited(ctx context.Context, ref OrderRef, decide Decision, actor, action string, detail any) (*Order, error) {
	moved, err := repeated(func() (*Order, error) {
		var work []*changing
		err := o.inTx(ctx, func(tx pgx.Tx) (err error) {
			if work, err = o.change(ctx, tx, []*Change{{Ref: ref, Decide: decide}}); err != nil {
				return err
			}
			if work[0].err != nil {
				return work[0].err
			}
			return Audit(ctx, tx, ref.StoreID, actor, action, detail)
		})
		if err != nil {
			return nil, err
		}
		return work[0].after, nil
	})
	if err == nil {
		o.hub.Publish(moved)
	}
	return moved, err
}

// Current is the order as it is now, or ErrNotFound. Under load many are read at a time.
func (o *Orders) Current(ctx context.Context, ref OrderRef) (*Order, error) {
	return o.reading.Do(ctx, &ref)
}

// flushReads asks for the versions, and for all of an order only where the hub does not remember it.
func (o *Orders) flushReads(ctx context.Context, group []*OrderRef) ([]Result[*Order], error) {
	refs := make([]OrderRef, len(group))
	for i, ref := range group {
		refs[i] = *ref
	}
	stores, ids := columnsOf(refs)
	rows, err := o.pool.Query(ctx, `
    select o.store_id, o.id, o.version
    from unnest($1::int4[], $2::uuid[]) as want (store_id, id)
    join orders o on o.store_id = want.store_id and o.id = want.id`, stores, ids)
	if err != nil {
		return nil, err
	}
	versions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[changeRef])
	if err != nil {
		return nil, err
	}
	found, err := o.ordersAt(ctx, o.pool, versions)
	if err != nil {
		return nil, err
	}
	results := make([]Result[*Order], len(group))
	for i, ref := range refs {
		if results[i].Answer = found[ref]; results[i].Answer == nil {
			results[i].Err = ErrNotFound
		}
	}
	return results, nil
}

// Command carries out one command of a store's board. The order is as it is now; nil for a command
// about the store, or about an order that the store does not have.
func (o *Orders) Command(ctx context.Context, storeID int32, c *Command, menu *Menu) (Changed, error) {
	if !c.OfStore() {
		return o.advancing.Do(ctx, &Change{Ref: OrderRef{storeID, c.Order}, Command: c})
	}
	result, err := repeated(func() (CommandResult, error) { return o.commandStore(ctx, storeID, c, menu) })
	return Changed{Result: result}, err
}

// PayAgain starts another charge under an idempotency key, or finds what the key was used for.
// bodyHash covers the order too: the key's scope is the route of all orders.
func (o *Orders) PayAgain(ctx context.Context, ref OrderRef, token, by, key string, bodyHash []byte, wait time.Duration) (Placed, error) {
	id, keys := keyID{ref.StoreID, PaymentRoute, key}, new(keyRows)
	keys.add(id, bodyHash, ref.ID, wait)
	return repeated(func() (Placed, error) {
		return o.payAgain(ctx, &Change{Ref: ref, Decide: PayAgain(token, by)}, id, keys)
	})
}

func (o *Orders) payAgain(ctx context.Context, c *Change, id keyID, keys *keyRows) (Placed, error) {
	var placed Placed
	err := o.inTx(ctx, func(tx pgx.Tx) error {
		won := map[keyID]bool{}
		batch := new(pgx.Batch)
		keys.queue(batch, won)
		if err := tx.SendBatch(ctx, batch).Close(); err != nil {
			return err
		}
		if !won[id] {
			replay, err := replayOf(ctx, tx, id, keys.hashes[0])
			if err == nil && replay == nil {
				err = fmt.Errorf("key of store %d vanished: %w", id.storeID, ErrRace)
			}
			placed.Replay = replay
			return err
		}
		work, err := o.change(ctx, tx, []*Change{c})
		if err != nil {
			return err
		}
		placed.Order = work[0].after
		return work[0].err
	})
	if err == nil && placed.Order != nil {
		o.hub.Publish(placed.Order)
	}
	return placed, err
}

// Answer is the first answer to a request under an idempotency key: a waiting request and all its
// repeats wait for the payment or for the time the first one gave, and the first to get there freezes
// what all of them say. render makes status and body of an order.
func (o *Orders) Answer(ctx context.Context, storeID int32, route, key string, replay *Replay, render func(*Order) (int, []byte)) (*Replay, error) {
	if replay.Status != 0 {
		return replay, nil
	}
	order, err := o.awaitSettled(ctx, OrderRef{storeID, replay.OrderID}, replay.WaitUntil)
	if err != nil {
		return nil, err
	}
	status, body := render(order)
	return freeze(ctx, o.pool, keyID{storeID, route, key}, replay.OrderID, status, body)
}

// awaitSettled is the order once its payment is settled or failed, at the latest at until.
func (o *Orders) awaitSettled(ctx context.Context, ref OrderRef, until *time.Time) (*Order, error) {
	watcher := o.hub.WatchOrder(ref)
	defer watcher.Close()
	order, err := o.Current(ctx, ref)
	if until == nil || err != nil {
		return order, err
	}
	limit, cancel := context.WithDeadline(ctx, *until)
	defer cancel()
	for order.Status == PaymentPending {
		newer, err := watcher.Next(limit)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err != nil:
			return o.Current(ctx, ref)
		}
		order = newer[len(newer)-1]
	}
	return order, nil
}
