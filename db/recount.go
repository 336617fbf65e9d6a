package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// placedAhead is more than anybody can order ahead.
const placedAhead = 8 * 24 * time.Hour

// recountSlots puts the orders of a store, those made already too, into its slots as they are cut from now
// on, and counts the places taken. The caller has changed the store's settings in this transaction, which
// keeps orders out meanwhile.
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
		if slot, open := s.Hours.SlotAt(p.At, s.Location, s.SlotMinutes); open {
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
	stores, slots := columnsOfSlots(taken)
	places := make([]int, len(slots))
	for i, start := range slots {
		places[i] = taken[slotID{s.ID, start}]
	}
	batch.Queue(`
    insert into slots (store_id, starts_at, taken)
    select *
    from unnest($1::int4[], $2::timestamptz[], $3::int4[])
    on conflict (store_id, starts_at) do update set taken = excluded.taken`, stores, slots, places)
	return tx.SendBatch(ctx, batch).Close()
}
