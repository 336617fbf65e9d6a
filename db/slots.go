package db

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// slotsAhead bounds how many coming slots are looked through for a free one.
const slotsAhead = 96

// OpenSlot is a slot with the places still free in it; Free is nil where the store sets no limit.
type OpenSlot struct {
	Slot
	Free *int `json:"free"`
}

type slotID struct {
	storeID int32
	start   time.Time
}

func (s slotID) compare(other slotID) int {
	return cmp.Or(cmp.Compare(s.storeID, other.storeID), s.start.Compare(other.start))
}

// Upcoming are the slots of the store that end after from, at most n, within a week.
func (s *Store) Upcoming(from time.Time, slotMinutes, n int) []Slot {
	var found []Slot
	local := from.In(s.Location)
	for day := -1; day <= 7 && len(found) < n; day++ {
		date := time.Date(local.Year(), local.Month(), local.Day()+day, 12, 0, 0, 0, s.Location)
		for _, slot := range s.Hours.Slots(date, s.Location, slotMinutes) {
			if slot.EndsAt.After(from) && len(found) < n {
				found = append(found, slot)
			}
		}
	}
	return found
}

// SlotsTaken are the places taken in the slots that start from from up to but not including to.
func SlotsTaken(ctx context.Context, q Querier, storeID int32, from, to time.Time) (map[time.Time]int, error) {
	rows, err := q.Query(ctx, `
    select starts_at, taken
    from slots
    where store_id = $1 and starts_at >= $2 and starts_at < $3`, storeID, from, to)
	if err != nil {
		return nil, err
	}
	type slot struct {
		StartsAt time.Time
		Taken    int
	}
	slots, err := pgx.CollectRows(rows, pgx.RowToStructByPos[slot])
	taken := make(map[time.Time]int, len(slots))
	for _, s := range slots {
		taken[s.StartsAt.UTC()] = s.Taken
	}
	return taken, err
}

// takeSlots gives each order its place and estimates when it is ready. The rows are locked before
// they are counted, so that no slot is ever oversold; who came first is served first.
func takeSlots(ctx context.Context, tx pgx.Tx, work []*placing, settings map[int32]writeSettings, now time.Time) error {
	var limited []*placing
	for _, p := range work {
		p.Order.SlotStartsAt = nil // of a try before this one
		if !p.Asked {
			p.Order.PickupAt = nil
		}
		if p.wins() && settings[p.Store.ID].SlotLimit != nil {
			limited = append(limited, p)
		}
	}
	if len(limited) > 0 {
		slices.SortFunc(limited, func(a, b *placing) int { return bytes.Compare(a.Order.ID[:], b.Order.ID[:]) })
		if err := takeLimitedSlots(ctx, tx, limited, settings, now); err != nil {
			return err
		}
	}
	for _, p := range work {
		if p.wins() {
			ready := now.Add(time.Duration(settings[p.Store.ID].PrepMinutes) * time.Minute).UTC().Truncate(time.Second)
			if p.Order.PickupAt != nil && p.Order.PickupAt.After(ready) {
				ready = *p.Order.PickupAt
			}
			p.Order.ReadyEstimate = &ready
		}
	}
	return nil
}

func takeLimitedSlots(ctx context.Context, tx pgx.Tx, limited []*placing, settings map[int32]writeSettings, now time.Time) error {
	if err := holdSettings(ctx, tx, limited, settings); err != nil {
		return err
	}
	wanted := make(map[*placing][]OpenSlot, len(limited))
	free := map[int32][]OpenSlot{} // by store, for those who take any
	for _, p := range limited {
		slots, known := free[p.Store.ID]
		if p.Asked || !known {
			var err error
			if slots, err = wantedSlots(ctx, tx, p, settings[p.Store.ID], now, len(limited)); err != nil {
				return err
			}
		}
		if !p.Asked {
			free[p.Store.ID] = slots
		}
		wanted[p] = slots
	}
	taken, err := lockSlots(ctx, tx, wanted)
	if err != nil {
		return err
	}
	grown := map[slotID]int{}
	var refused []*placing
	for _, p := range limited {
		limit := *settings[p.Store.ID].SlotLimit
		i := slices.IndexFunc(wanted[p], func(s OpenSlot) bool { return taken[slotID{p.Store.ID, s.StartsAt}] < limit })
		if i < 0 {
			refused = append(refused, p)
			continue
		}
		start := wanted[p][i].StartsAt
		taken[slotID{p.Store.ID, start}]++
		grown[slotID{p.Store.ID, start}]++
		p.Order.SlotStartsAt = &start
		if !p.Asked {
			at := start
			if at.Before(now) {
				at = now.UTC().Truncate(time.Second) // of the slot that runs already
			}
			p.Order.PickupAt = &at
		}
	}
	if err := growSlots(ctx, tx, grown); err != nil {
		return err
	}
	return refuseFull(ctx, tx, refused, settings, now)
}

// holdSettings reads how the stores cut and limit their slots again and keeps that so until the commit: who
// changes it counts the places anew, and must see those given out here. Processes that place orders at one store
// wait for each other here, before they look for free places, or the slower one would find them gone.
func holdSettings(ctx context.Context, tx pgx.Tx, limited []*placing, settings map[int32]writeSettings) error {
	stores := make([]int32, len(limited))
	for i, p := range limited {
		stores[i] = p.Store.ID
	}
	rows, err := tx.Query(ctx, readSettings+` and slot_limit is not null
    order by store_id
    for no key update`, stores)
	if err != nil {
		return err
	}
	return noteSettings(rows, settings)
}

// wantedSlots are the slots an order could go into: the one it asked for, or the first with free
// places, enough of them for everybody in the group. There is none where the store has closed since.
func wantedSlots(ctx context.Context, tx pgx.Tx, p *placing, s writeSettings, now time.Time, requests int) ([]OpenSlot, error) {
	if !p.Asked {
		return freeSlotsFrom(ctx, tx, p.Store, s, now, requests)
	}
	slot, open := p.Store.Hours.SlotAt(p.pickup(now), p.Store.Location, s.SlotMinutes)
	if !open {
		return nil, nil
	}
	return []OpenSlot{{Slot: slot}}, nil
}

// pickup is when the customer comes: at the time asked for, or now.
func (p *placing) pickup(now time.Time) time.Time {
	if p.Asked && p.Order.PickupAt.After(now) {
		return *p.Order.PickupAt
	}
	return now
}

// freeSlotsFrom are the first slots from a moment on with at least places free in all, as read without
// a lock.
func freeSlotsFrom(ctx context.Context, q Querier, store *Store, s writeSettings, from time.Time, places int) ([]OpenSlot, error) {
	slots := store.Upcoming(from, s.SlotMinutes, slotsAhead)
	if len(slots) == 0 {
		return nil, nil
	}
	taken, err := SlotsTaken(ctx, q, store.ID, slots[0].StartsAt, slots[len(slots)-1].EndsAt)
	if err != nil {
		return nil, err
	}
	var free []OpenSlot
	for _, slot := range slots {
		if left := *s.SlotLimit - taken[slot.StartsAt]; left > 0 && places > 0 {
			free = append(free, OpenSlot{slot, &left})
			places -= left
		}
	}
	return free, nil
}

// refuseFull tells those who got no place of the next free slot, where there is one. It comes after the
// others of the group have taken theirs, and asks once for all who wanted the same.
func refuseFull(ctx context.Context, tx pgx.Tx, refused []*placing, settings map[int32]writeSettings, now time.Time) error {
	told := map[slotID]*Error{}
	for _, p := range refused {
		s := settings[p.Store.ID]
		id := slotID{p.Store.ID, p.pickup(now)}
		if slot, open := p.Store.Hours.SlotAt(id.start, p.Store.Location, s.SlotMinutes); open {
			id.start = slot.StartsAt
		}
		if told[id] == nil {
			next, err := freeSlotsFrom(ctx, tx, p.Store, s, id.start, 1)
			if err != nil {
				return err
			}
			told[id] = &Error{Code: CodeSlotFull, Detail: "every place in that pickup slot is taken"}
			if len(next) > 0 {
				told[id].Extra = map[string]any{"next_slot": next[0]}
			}
		}
		if !p.Asked && told[id].Extra != nil {
			return fmt.Errorf("the slots seen free are gone: %w", ErrRace)
		}
		p.err = told[id]
	}
	return nil
}

// lockSlots makes sure that the slots exist, locks them in key order and counts the places taken.
func lockSlots(ctx context.Context, tx pgx.Tx, wanted map[*placing][]OpenSlot) (map[slotID]int, error) {
	taken := map[slotID]int{}
	for p, slots := range wanted {
		for _, slot := range slots {
			taken[slotID{p.Store.ID, slot.StartsAt}] = 0
		}
	}
	stores, starts := columnsOfSlots(taken)
	batch := new(pgx.Batch)
	batch.Queue(`
    insert into slots (store_id, starts_at)
    select store_id, starts_at
    from unnest($1::int4[], $2::timestamptz[]) as v (store_id, starts_at)
    order by store_id, starts_at
    on conflict do nothing`, stores, starts)
	batch.Queue(`
    select s.store_id, s.starts_at, s.taken
    from unnest($1::int4[], $2::timestamptz[]) as want (store_id, starts_at)
    join slots s on s.store_id = want.store_id and s.starts_at = want.starts_at
    order by s.store_id, s.starts_at
    for update of s`, stores, starts).Query(func(rows pgx.Rows) error {
		var id slotID
		var n int
		_, err := pgx.ForEachRow(rows, []any{&id.storeID, &id.start, &n}, func() error {
			taken[slotID{id.storeID, id.start.UTC()}] = n
			return nil
		})
		return err
	})
	return taken, tx.SendBatch(ctx, batch).Close()
}

func growSlots(ctx context.Context, tx pgx.Tx, grown map[slotID]int) error {
	if len(grown) == 0 {
		return nil
	}
	stores, starts := columnsOfSlots(grown)
	places := make([]int, len(starts))
	for i := range starts {
		places[i] = grown[slotID{stores[i], starts[i]}]
	}
	_, err := tx.Exec(ctx, `
    update slots s
    set taken = s.taken + v.places
    from unnest($1::int4[], $2::timestamptz[], $3::int4[]) as v (store_id, starts_at, places)
    where s.store_id = v.store_id and s.starts_at = v.starts_at`, stores, starts, places)
	return err
}

func columnsOfSlots(slots map[slotID]int) ([]int32, []time.Time) {
	ids := make([]slotID, 0, len(slots))
	for id := range slots {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, slotID.compare)
	stores, starts := make([]int32, len(ids)), make([]time.Time, len(ids))
	for i, id := range ids {
		stores[i], starts[i] = id.storeID, id.start
	}
	return stores, starts
}
