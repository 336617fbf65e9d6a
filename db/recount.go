package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// placedAhead is more than anybody can order ahead.
const placedAhead = MaxAhead + 24*time.Hour

// settingsLock is the class of the advisory locks on how a store cuts and limits its slots; the number is arbitrary. Who
// places orders shares the store's lock from before the settings are read until the commit, who changes them has it
// alone: so either the recount sees an order, or the order sees the new settings. Unlike a lock on the row it writes
// nothing. Each store has its own; a group takes all of its own in one statement.
const settingsLock = 0x051075

// settingsWait bounds how long a change of settings waits for a lock. A group with an order of that store waits as
// long, and all orders behind that group.
const settingsWait = "2s"

func queueShareSettings(batch *pgx.Batch, stores []int32) {
	batch.Queue(`
    select pg_advisory_xact_lock_shared($1, store_id)
    from (select distinct store_id from unnest($2::int4[]) as v (store_id) order by store_id) as in_order`, settingsLock, stores)
}

func lockSettings(ctx context.Context, tx pgx.Tx, storeID int32) error {
	batch := new(pgx.Batch)
	batch.Queue(`set local lock_timeout = '` + settingsWait + `'`)
	batch.Queue(`select pg_advisory_xact_lock($1, $2)`, settingsLock, storeID)
	return tx.SendBatch(ctx, batch).Close()
}

// recountSlots puts the orders of a store, those made already too, into its slots as they are cut from now
// on, and counts the places taken. The caller has the store's settingsLock, which keeps new orders out. A slot that
// began before all that is counted has ended, and keeps its count.
func recountSlots(ctx context.Context, tx pgx.Tx, s *Store, now time.Time) error {
	from := now.Add(-MaxSlotMinutes * time.Minute)
	rows, err := tx.Query(ctx, `
    select id, pickup_at
    from orders
    where store_id = $1 and id >= uuid_floor($3) and pickup_at >= $2 and status not in ('cancelled', 'expired')
    order by id
    for no key update`, s.ID, from, from.Add(-placedAhead))
	if err != nil {
		return err
	}
	type pickup struct {
		ID uuid.UUID
		At time.Time
	}
	pickups, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pickup])
	if err != nil {
		return err
	}
	taken := map[slotID]int{}
	ids, starts := make([]uuid.UUID, len(pickups)), make([]*time.Time, len(pickups))
	for i, p := range pickups {
		ids[i] = p.ID
		if slot, open := s.Hours.SlotAt(p.At, s.Location, s.SlotMinutes); open && !slot.StartsAt.Before(from) {
			taken[slotID{s.ID, slot.StartsAt}]++
			starts[i] = &slot.StartsAt
		}
	}
	batch := new(pgx.Batch)
	batch.Queue(`delete from slots where store_id = $1 and starts_at >= $2`, s.ID, from)
	batch.Queue(`
    update orders o
    set slot_starts_at = v.starts_at
    from unnest($2::uuid[], $3::timestamptz[]) as v (id, starts_at)
    where o.store_id = $1 and o.id = v.id`, s.ID, ids, starts)
	stores, slots, places := columnsOfSlots(taken)
	batch.Queue(`
    insert into slots (store_id, starts_at, taken)
    select *
    from unnest($1::int4[], $2::timestamptz[], $3::int4[])
    on conflict (store_id, starts_at) do update set taken = excluded.taken`, stores, slots, places)
	return tx.SendBatch(ctx, batch).Close()
}
