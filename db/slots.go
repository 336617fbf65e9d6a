package db

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// MaxAhead is how far ahead orders are placed.
const MaxAhead = 7 * 24 * time.Hour

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

// slotsBetween are the slots of the store that end after from and start before until, in order. They are cut day by
// day as they are asked for.
func (s *Store) slotsBetween(from, until time.Time, slotMinutes int) iter.Seq[Slot] {
	return func(yield func(Slot) bool) {
		last := localDay(until, s.Location)
		// The slot that contains from may have begun on the day before.
		for date := localDay(from, s.Location).AddDate(0, 0, -1); !date.After(last); date = date.AddDate(0, 0, 1) {
			for _, slot := range s.Hours.Slots(date, s.Location, slotMinutes) {
				if slot.EndsAt.After(from) && slot.StartsAt.Before(until) && !yield(slot) {
					return
				}
			}
		}
	}
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

// takenAhead are the places taken in all slots that an order placed now can go into, read without a lock.
func takenAhead(ctx context.Context, q Querier, storeID int32, now time.Time) (map[time.Time]int, error) {
	return SlotsTaken(ctx, q, storeID, now.Add(-MaxSlotMinutes*time.Minute), now.Add(MaxAhead))
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
	if err := holdStores(ctx, tx, limited); err != nil {
		return err
	}
	wanted, err := wantedSlots(ctx, tx, limited, settings, now)
	if err != nil {
		return err
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

// holdStores has processes that place orders at one store wait for each other, before they look for free places, or
// the slower one would find them gone. An order whose store has changed its hours since gets the new ones, by which its
// slots are cut.
func holdStores(ctx context.Context, tx pgx.Tx, limited []*placing) error {
	stores := make([]int32, len(limited))
	for i, p := range limited {
		stores[i] = p.Store.ID
	}
	rows, err := tx.Query(ctx, `
    select store_id, version, hours
    from store_settings
    where store_id = any($1)
    order by store_id
    for no key update`, stores)
	if err != nil {
		return err
	}
	type hoursOf struct {
		StoreID int32
		Version int
		Hours   []byte
	}
	read, err := pgx.CollectRows(rows, pgx.RowToStructByPos[hoursOf])
	if err != nil {
		return err
	}
	now := make(map[int32]hoursOf, len(read))
	for _, s := range read {
		now[s.StoreID] = s
	}
	for _, p := range limited {
		s, known := now[p.Store.ID]
		if !known || s.Version == p.Store.Version {
			continue
		}
		changed := *p.Store
		changed.Hours = nil // those it has belong to other stores too
		if err := json.Unmarshal(s.Hours, &changed.Hours); err != nil {
			return err
		}
		p.Store = &changed
	}
	return nil
}

// wantedSlots are the slots that each order could go into: the one it asked for, or the first with free places, enough
// of them for everybody at its store. There is none where the store has closed since.
func wantedSlots(ctx context.Context, tx pgx.Tx, limited []*placing, settings map[int32]writeSettings, now time.Time) (map[*placing][]OpenSlot, error) {
	requests := map[int32]int{} // by store
	for _, p := range limited {
		requests[p.Store.ID]++
	}
	wanted := make(map[*placing][]OpenSlot, len(limited))
	first := map[int32][]OpenSlot{} // by store, for those who take any
	for _, p := range limited {
		s := settings[p.Store.ID]
		if p.Asked {
			at := p.pickup(now).UTC().Truncate(time.Microsecond)
			if slot, open := p.Store.Hours.SlotAt(at, p.Store.Location, s.SlotMinutes); open {
				p.Order.PickupAt = &at // by which its slot is found again when the store's slots are cut anew
				wanted[p] = []OpenSlot{{Slot: slot}}
			}
			continue
		}
		if _, known := first[p.Store.ID]; !known {
			taken, err := takenAhead(ctx, tx, p.Store.ID, now)
			if err != nil {
				return nil, err
			}
			first[p.Store.ID] = freeSlots(p.Store, s, taken, now, now.Add(MaxAhead), requests[p.Store.ID])
		}
		wanted[p] = first[p.Store.ID]
	}
	return wanted, nil
}

// pickup is when the customer comes: at the time asked for, or now.
func (p *placing) pickup(now time.Time) time.Time {
	if p.Asked && p.Order.PickupAt.After(now) {
		return *p.Order.PickupAt
	}
	return now
}

// freeSlots are the first slots between two moments with at least places free in all.
func freeSlots(store *Store, s writeSettings, taken map[time.Time]int, from, until time.Time, places int) []OpenSlot {
	var free []OpenSlot
	for slot := range store.slotsBetween(from, until, s.SlotMinutes) {
		if left := *s.SlotLimit - taken[slot.StartsAt]; left > 0 {
			free = append(free, OpenSlot{slot, &left})
			if places -= left; places <= 0 {
				break
			}
		}
	}
	return free
}

// refuseFull tells those who got no place of the next free slot, where there is one. It comes after the
// others of the group have taken theirs, reads a store's slots once and looks once for all who wanted the same.
func refuseFull(ctx context.Context, tx pgx.Tx, refused []*placing, settings map[int32]writeSettings, now time.Time) error {
	told := map[slotID]*Error{}
	ahead := map[int32]map[time.Time]int{} // places taken, by store
	for _, p := range refused {
		s := settings[p.Store.ID]
		id := slotID{p.Store.ID, p.pickup(now)}
		if slot, open := p.Store.Hours.SlotAt(id.start, p.Store.Location, s.SlotMinutes); open {
			id.start = slot.StartsAt
		}
		if ahead[p.Store.ID] == nil {
			var err error
			if ahead[p.Store.ID], err = takenAhead(ctx, tx, p.Store.ID, now); err != nil {
				return err
			}
		}
		if told[id] == nil {
			next := freeSlots(p.Store, s, ahead[p.Store.ID], id.start, now.Add(MaxAhead), 1)
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
	stores, starts, _ := columnsOfSlots(taken)
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
	stores, starts, places := columnsOfSlots(grown)
	_, err := tx.Exec(ctx, `
    update slots s
    set taken = s.taken + v.places
    from unnest($1::int4[], $2::timestamptz[], $3::int4[]) as v (store_id, starts_at, places)
    where s.store_id = v.store_id and s.starts_at = v.starts_at`, stores, starts, places)
	return err
}

func columnsOfSlots(slots map[slotID]int) (stores []int32, starts []time.Time, places []int) {
	for _, id := range slices.SortedFunc(maps.Keys(slots), slotID.compare) {
		stores, starts, places = append(stores, id.storeID), append(starts, id.start), append(places, slots[id])
	}
	return stores, starts, places
}
