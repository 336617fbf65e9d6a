package db

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Search are the stores whose slug, name or address contain every word of q (any case), by slug, those after the
// slug after, at most limit.
func (c *Catalog) Search(q, after string, limit int) []*Store {
	words := strings.Fields(strings.ToLower(q))
	c.mu.RLock()
	defer c.mu.RUnlock()
	from, _ := slices.BinarySearchFunc(c.sorted, after, func(s *Store, slug string) int { return strings.Compare(s.Slug, slug) })
	var found []*Store
	for _, s := range c.sorted[from:] {
		if len(found) == limit {
			break
		}
		if s.Slug != after && s.matches(words) {
			found = append(found, s)
		}
	}
	return found
}

// Named is the only store called so; a search would find those too that are called something longer.
func (c *Catalog) Named(name string) (named *Store, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.sorted {
		if !strings.EqualFold(s.Name, name) {
			continue
		}
		if named != nil {
			return nil, false
		}
		named = s
	}
	return named, named != nil
}

func (s *Store) matches(words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(s.words, word) })
}

// Near are the stores matching q that are nearest to a point (degrees), nearest first, at most limit.
func (c *Catalog) Near(q string, lat, lon float64, limit int) []*Store {
	words := strings.Fields(strings.ToLower(q))
	type hit struct {
		store *Store
		far   float64
	}
	nearer := func(a, b hit) int {
		return cmp.Or(cmp.Compare(a.far, b.far), strings.Compare(a.store.Slug, b.store.Slug))
	}
	nearest := make([]hit, 0, limit+1)
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.sorted {
		if !s.matches(words) {
			continue
		}
		h := hit{s, haversine(lat, lon, s.Lat, s.Lon)}
		if at, _ := slices.BinarySearchFunc(nearest, h, nearer); at < limit {
			nearest = slices.Insert(nearest, at, h)
			nearest = nearest[:min(len(nearest), limit)]
		}
	}
	found := make([]*Store, len(nearest))
	for i, h := range nearest {
		found[i] = h.store
	}
	return found
}

// haversine orders distances on the globe; it grows with the distance but is not in any unit.
func haversine(lat1, lon1, lat2, lon2 float64) float64 {
	const rad = math.Pi / 180
	sinLat, sinLon := math.Sin((lat2-lat1)*rad/2), math.Sin((lon2-lon1)*rad/2)
	return sinLat*sinLat + math.Cos(lat1*rad)*math.Cos(lat2*rad)*sinLon*sinLon
}

// WaitMinutes is about how long a new order takes: the store's own time for one, and as much again for
// every ten that wait. The queue is counted up to waitCounted; who comes later than in half an hour does not stand in it.
func WaitMinutes(ctx context.Context, q Querier, stores []*Store) (map[int32]int, error) {
	ids := make([]int32, len(stores))
	for i, s := range stores {
		ids[i] = s.ID
	}
	rows, err := q.Query(ctx, `
    select want.store_id,
           (select least(count(*), $2)
            from (select o.pickup_at
                  from orders o
                  where o.store_id = want.store_id and o.open and o.status in ('placed', 'in_progress')
                  limit 10 * $2) as queue
            where pickup_at is null or pickup_at < now() + interval '30 minutes')
    from unnest($1::int4[]) as want (store_id)`, ids, waitCounted)
	if err != nil {
		return nil, err
	}
	type queue struct {
		StoreID int32
		Orders  int
	}
	queues, err := pgx.CollectRows(rows, pgx.RowToStructByPos[queue])
	if err != nil {
		return nil, err
	}
	waiting := make(map[int32]int, len(queues))
	for _, q := range queues {
		waiting[q.StoreID] = q.Orders
	}
	waits := make(map[int32]int, len(stores))
	for _, s := range stores {
		waits[s.ID] = s.PrepMinutes + s.PrepMinutes*waiting[s.ID]/10
	}
	return waits, nil
}

const waitCounted = 200

// StorePatch is what staff change about a store; nil leaves a setting alone.
type StorePatch struct {
	Hours       *Hours
	PausedUntil **time.Time
	SlotMinutes *int
	SlotLimit   **int
}

// Patch changes a store's settings if they still have the version that was seen; else it returns
// ErrPrecondition. A pause holds for every order placed after Patch returned.
func (c *Catalog) Patch(ctx context.Context, s *Store, p StorePatch, by string) error {
	err := pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		if p.Hours != nil || p.SlotMinutes != nil || p.SlotLimit != nil {
			if err := lockSettings(ctx, tx, s.ID); err != nil {
				return err
			}
			if err := recountSlots(ctx, tx, p.applied(s), time.Now()); err != nil {
				return err
			}
		}
		// Last, for it stamps the change: the catalog looks no further back than catalogOverlap.
		if err := patchStore(ctx, tx, s.ID, s.Version, p); err != nil {
			return err
		}
		return Audit(ctx, tx, s.ID, by, "store_patched", p)
	})
	if err != nil {
		return err
	}
	return c.Refresh(ctx)
}

// applied is the store with its new hours and slots.
func (p StorePatch) applied(s *Store) *Store {
	changed := *s
	if p.Hours != nil {
		changed.Hours = *p.Hours
	}
	if p.SlotMinutes != nil {
		changed.SlotMinutes = *p.SlotMinutes
	}
	return &changed
}

func patchStore(ctx context.Context, q Querier, storeID int32, version int, p StorePatch) error {
	tag, err := q.Exec(ctx, `
    update store_settings
    set hours = coalesce($3::jsonb, hours),
        paused_until = case when $4 then $5 else paused_until end,
        pause_decided_at = case when $4 then clock_timestamp() else pause_decided_at end,
        slot_minutes = coalesce($6, slot_minutes),
        slot_limit = case when $7 then $8 else slot_limit end,
        version = version + 1,
        updated_at = clock_timestamp()
    where store_id = $1 and version = $2`,
		storeID, version, p.Hours, p.PausedUntil != nil, p.PausedUntil, p.SlotMinutes, p.SlotLimit != nil, p.SlotLimit)
	if err == nil && tag.RowsAffected() == 0 {
		return ErrPrecondition
	}
	return err
}
