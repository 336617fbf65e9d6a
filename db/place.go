package db

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// Placing is a priced order on its way in, with the idempotency key it came under.
type Placing struct {
	Order    *Order // complete but for what the write gives it: number, slot, ready estimate
	Asked    bool   // the customer chose Order.PickupAt
	Key      string
	BodyHash []byte
	Wait     time.Duration // how long the answer waits for the provider; 0 answers as of version 1
	Store    *Store
}

func (p *Placing) keyID() keyID { return keyID{p.Order.StoreID, PlacingRoute, p.Key} }

// Placed is the order as written, or what the key had been used for before.
type Placed struct {
	Order  *Order // nil for a replay
	Replay *Replay
}

// Place writes an order under its idempotency key, or finds what the key was used for.
func (o *Orders) Place(ctx context.Context, p *Placing) (Placed, error) { return o.placing.Do(ctx, p) }

// placing is one order on its way through a transaction.
type placing struct {
	*Placing
	replay *Replay
	err    error
}

func (p *placing) wins() bool { return p.replay == nil && p.err == nil }

// flushPlacings writes a group of orders, each under another key, in one transaction: keys, then
// slots, then counters, every one of them locked in key order, then the orders with their charges.
func (o *Orders) flushPlacings(ctx context.Context, group []*Placing) ([]Result[Placed], error) {
	work := make([]*placing, len(group))
	for i, p := range group {
		work[i] = &placing{Placing: p}
	}
	slices.SortFunc(work, func(a, b *placing) int { return a.keyID().compare(b.keyID()) })
	err := o.inTx(ctx, func(tx pgx.Tx) error { return o.place(ctx, tx, work) })
	if err != nil {
		return nil, err
	}
	answers := make(map[keyID]Result[Placed], len(work))
	for _, p := range work {
		if p.wins() {
			answers[p.keyID()] = Result[Placed]{Answer: Placed{Order: p.Order}}
			o.hub.Publish(p.Order)
		} else {
			answers[p.keyID()] = Result[Placed]{Placed{Replay: p.replay}, p.err}
		}
	}
	results := make([]Result[Placed], len(group))
	for i, p := range group {
		results[i] = answers[p.keyID()]
	}
	return results, nil
}

// rollbackWait is for an answer to ROLLBACK, which takes no time. Then the connection is closed, and the pool makes
// another: on a silent network TCP alone would wait for a quarter of an hour, and all orders behind this flight with it.
const rollbackWait = 3 * time.Second

// inTx does something in one transaction; ErrCommitUnknown when the answer to its COMMIT was lost.
func (o *Orders) inTx(ctx context.Context, fn func(pgx.Tx) error) error {
	tx, err := o.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollbackWait)
		defer cancel()
		_ = tx.Rollback(ctx)
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		o.hub.commitLost.Store(time.Now().UnixMilli())
		return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
	return nil
}

func (o *Orders) place(ctx context.Context, tx pgx.Tx, work []*placing) error {
	settings, err := claimKeys(ctx, tx, work)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, p := range work {
		if until := settings[p.Store.ID].PausedUntil; p.wins() && until != nil && until.After(now) {
			p.err = &Error{Code: CodeStorePaused, Detail: "the store takes no orders until " + until.UTC().Format(time.RFC3339)}
		}
	}
	if err := refuseCrowd(ctx, tx, work); err != nil {
		return err
	}
	if err := takeSlots(ctx, tx, work, settings, now); err != nil {
		return err
	}
	if err := releaseKeys(ctx, tx, work); err != nil {
		return err
	}
	winners := slices.DeleteFunc(slices.Clone(work), func(p *placing) bool { return !p.wins() })
	if len(winners) == 0 {
		return nil
	}
	if err := giveNumbers(ctx, tx, winners); err != nil {
		return err
	}
	return o.insertOrders(ctx, tx, winners)
}

// writeSettings are the settings that are checked in the write itself.
type writeSettings struct {
	StoreID     int32
	PausedUntil *time.Time
	SlotMinutes int
	SlotLimit   *int
	PrepMinutes int
}

// claimKeys inserts the keys, finds out for the losers what theirs was used for, and reads the settings
// that must hold at this moment.
func claimKeys(ctx context.Context, tx pgx.Tx, work []*placing) (map[int32]writeSettings, error) {
	keys := new(keyRows)
	stores := make([]int32, len(work))
	for i, p := range work {
		keys.add(p.keyID(), p.BodyHash, p.Order.ID, p.Wait)
		stores[i] = p.Order.StoreID
	}
	won := make(map[keyID]bool, len(work))
	settings := map[int32]writeSettings{}
	batch := new(pgx.Batch)
	keys.queue(batch, won)
	// Keys first: who waits for a key must hold nothing that its owner may yet wait for.
	queueShareSettings(batch, stores)
	batch.Queue(`
    select store_id, paused_until, slot_minutes, slot_limit, prep_minutes
    from store_settings
    where store_id = any($1)`, stores).Query(func(rows pgx.Rows) error {
		read, err := pgx.CollectRows(rows, pgx.RowToStructByPos[writeSettings])
		for _, s := range read {
			settings[s.StoreID] = s
		}
		return err
	})
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return nil, err
	}
	var lost []keyID
	for _, p := range work {
		if !won[p.keyID()] {
			lost = append(lost, p.keyID())
		}
	}
	replays, err := replays(ctx, tx, lost)
	if err != nil {
		return nil, err
	}
	for _, p := range work {
		if won[p.keyID()] {
			continue
		}
		if p.replay = replays[p.keyID()]; p.replay == nil {
			return nil, fmt.Errorf("key of store %d vanished: %w", p.Order.StoreID, ErrRace)
		}
		if !bytes.Equal(p.replay.BodyHash, p.BodyHash) {
			p.replay, p.err = nil, ErrKeyReused
		}
	}
	return settings, nil
}

// counterMost is how many orders may wait at a store's counter to be paid: more people than stand at any. They cost
// nothing, so that anybody could fill a board with them until no screen shows it any more. Two processes may overshoot it
// by what they write at the same moment.
const counterMost = 250

// refuseCrowd refuses orders to be paid at a counter where counterMost wait already.
func refuseCrowd(ctx context.Context, tx pgx.Tx, work []*placing) error {
	var unpaid []*placing
	due := map[int32]int{} // by store, those of this group as they come
	for _, p := range work {
		if p.wins() && p.Order.Payment.Status == Due {
			unpaid = append(unpaid, p)
			due[p.Store.ID] = 0
		}
	}
	if unpaid == nil {
		return nil
	}
	rows, err := tx.Query(ctx, `
    select s.id, (select count(*) from (
        select from orders o where o.store_id = s.id and o.open and o.payment_status = 'due' limit $2) as waiting)
    from unnest($1::int4[]) as s (id)`, slices.Collect(maps.Keys(due)), counterMost)
	if err != nil {
		return err
	}
	type crowd struct {
		StoreID int32
		Waiting int
	}
	crowds, err := pgx.CollectRows(rows, pgx.RowToStructByPos[crowd])
	for _, c := range crowds {
		due[c.StoreID] = c.Waiting
	}
	for _, p := range unpaid {
		if due[p.Store.ID]++; due[p.Store.ID] > counterMost {
			p.err = &Error{Code: CodeCounterFull, Detail: "too many orders wait to be paid at this counter; pay by card, or try again later"}
		}
	}
	return err
}

// releaseKeys gives back the keys of orders that were refused: an error leaves its key unused.
func releaseKeys(ctx context.Context, tx pgx.Tx, work []*placing) error {
	var refused []keyID
	for _, p := range work {
		if p.err != nil && !errors.Is(p.err, ErrKeyReused) {
			refused = append(refused, p.keyID())
		}
	}
	return deleteKeys(ctx, tx, refused)
}

type counterID struct {
	storeID int32
	day     time.Time
}

// giveNumbers counts the orders of each store and local day on, and numbers them in order of arrival.
func giveNumbers(ctx context.Context, tx pgx.Tx, winners []*placing) error {
	days := make(map[counterID][]*placing)
	var order []counterID
	for _, p := range winners {
		id := counterID{p.Order.StoreID, localDay(p.Order.PlacedAt, p.Store.Location)}
		if days[id] == nil {
			order = append(order, id)
		}
		days[id] = append(days[id], p)
	}
	slices.SortFunc(order, func(a, b counterID) int {
		return cmp.Or(cmp.Compare(a.storeID, b.storeID), a.day.Compare(b.day))
	})
	stores, dates, counts := make([]int32, len(order)), make([]time.Time, len(order)), make([]int, len(order))
	for i, id := range order {
		stores[i], dates[i], counts[i] = id.storeID, id.day, len(days[id])
	}
	rows, err := tx.Query(ctx, `
    insert into order_counters as c (store_id, day, last)
    select store_id, day, orders
    from unnest($1::int4[], $2::date[], $3::int4[]) as v (store_id, day, orders)
    order by store_id, day
    on conflict (store_id, day) do update set last = c.last + excluded.last
    returning store_id, day, last`, stores, dates, counts)
	if err != nil {
		return err
	}
	type counter struct {
		StoreID int32
		Day     time.Time
		Last    int
	}
	counters, err := pgx.CollectRows(rows, pgx.RowToStructByPos[counter])
	for _, c := range counters {
		these := days[counterID{c.StoreID, c.Day.UTC()}]
		slices.SortFunc(these, func(a, b *placing) int { return bytes.Compare(a.Order.ID[:], b.Order.ID[:]) })
		for i, p := range these {
			p.Order.Number = c.Last - len(these) + 1 + i
		}
	}
	return err
}

// localDay is midnight UTC of the date on the store's wall.
func localDay(at time.Time, loc *time.Location) time.Time {
	year, month, day := at.In(loc).Date()
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// insertOrders writes the orders with version 1 of their history, their first charges and what follows.
func (o *Orders) insertOrders(ctx context.Context, tx pgx.Tx, winners []*placing) error {
	var rows orderRows
	var steps stepRows
	var payments paymentRows
	var charges []OrderRef
	var notices []Notice
	for _, p := range winners {
		order := p.Order
		rows.add(order)
		steps.add(order.Ref(), order.Steps)
		if order.Payment.Attempt > 0 {
			payments.add(order)
			charges = append(charges, order.Ref())
		}
		if order.Status == StatusPlaced && order.Contact != nil {
			notices = append(notices, Notice{order.Ref(), "order_confirmed"})
		}
	}
	batch := new(pgx.Batch)
	rows.queue(batch)
	steps.queue(batch, o.hub.origin)
	if len(charges) > 0 {
		payments.queueInsert(batch)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return errors.Join(send(ctx, tx, o.outbox.Charge, charges), send(ctx, tx, o.outbox.Notify, notices))
}

// orderRows are orders on their way into the database, column by column.
type orderRows struct {
	stores                               []int32
	ids                                  []uuid.UUID
	numbers, attempts                    []int
	statuses, fulfilments, methods, paid []string
	pickups, slots, estimates            []*time.Time
	snapshots                            []Snapshot
	contacts                             []*Contact
	totals                               []int64
	updated                              []time.Time
}

func (r *orderRows) add(o *Order) {
	r.stores, r.ids, r.numbers = append(r.stores, o.StoreID), append(r.ids, o.ID), append(r.numbers, o.Number)
	r.statuses, r.fulfilments = append(r.statuses, string(o.Status)), append(r.fulfilments, o.Fulfilment)
	r.methods, r.paid = append(r.methods, o.Payment.Method), append(r.paid, string(o.Payment.Status))
	r.attempts, r.totals = append(r.attempts, o.Payment.Attempt), append(r.totals, o.Snapshot.Total)
	r.pickups, r.slots, r.estimates = append(r.pickups, o.PickupAt), append(r.slots, o.SlotStartsAt), append(r.estimates, o.ReadyEstimate)
	r.snapshots, r.contacts = append(r.snapshots, o.Snapshot), append(r.contacts, o.Contact)
	r.updated = append(r.updated, o.UpdatedAt)
}

func (r *orderRows) queue(batch *pgx.Batch) {
	batch.Queue(`
    insert into orders (store_id, id, number, status, fulfilment, pickup_at, slot_starts_at, ready_estimate,
                        snapshot, contact, total, payment_method, payment_status, attempt, updated_at)
    select *
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
                $9::jsonb[], $10::jsonb[], $11::int8[], $12::text[], $13::text[], $14::int4[], $15::timestamptz[])`,
		r.stores, r.ids, r.numbers, r.statuses, r.fulfilments, r.pickups, r.slots, r.estimates,
		r.snapshots, r.contacts, r.totals, r.methods, r.paid, r.attempts, r.updated)
}
