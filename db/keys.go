package db

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// The routes that take an idempotency key, as they stand in its scope.
const (
	PlacingRoute = "orders"
	PaymentRoute = "payment"
)

type keyID struct {
	storeID int32
	route   string
	key     string
}

func (k keyID) compare(other keyID) int {
	return cmp.Or(cmp.Compare(k.storeID, other.storeID), strings.Compare(k.route, other.route), strings.Compare(k.key, other.key))
}

// Replay is what an idempotency key was used for.
type Replay struct {
	BodyHash  []byte
	OrderID   uuid.UUID
	WaitUntil *time.Time // the first request asked to wait; nil: it was answered as of version 1
	Status    int        // of the frozen answer; 0 while there is none
	Answer    []byte
}

type keyRows struct {
	stores       []int32
	routes, keys []string
	hashes       [][]byte
	orders       []uuid.UUID
	waits        []*time.Time
}

func (r *keyRows) add(id keyID, bodyHash []byte, order uuid.UUID, wait time.Duration) {
	r.stores, r.routes, r.keys = append(r.stores, id.storeID), append(r.routes, id.route), append(r.keys, id.key)
	r.hashes, r.orders = append(r.hashes, bodyHash), append(r.orders, order)
	var until *time.Time
	if wait > 0 {
		at := time.Now().Add(wait)
		until = &at
	}
	r.waits = append(r.waits, until)
}

// queue claims the keys in key order and notes which were won.
func (r *keyRows) queue(batch *pgx.Batch, won map[keyID]bool) {
	batch.Queue(`
    insert into idempotency_keys (store_id, route, key, body_hash, order_id, wait_until)
    select store_id, route, key, body_hash, order_id, wait_until
    from unnest($1::int4[], $2::text[], $3::text[], $4::bytea[], $5::uuid[], $6::timestamptz[])
         as v (store_id, route, key, body_hash, order_id, wait_until)
    order by store_id, route collate "C", key collate "C"
    on conflict do nothing
    returning store_id, route, key`, r.stores, r.routes, r.keys, r.hashes, r.orders, r.waits).Query(func(rows pgx.Rows) error {
		var id keyID
		_, err := pgx.ForEachRow(rows, []any{&id.storeID, &id.route, &id.key}, func() error {
			won[id] = true
			return nil
		})
		return err
	})
}

func columnsOfKeys(ids []keyID) (stores []int32, routes, keys []string) {
	for _, id := range ids {
		stores, routes, keys = append(stores, id.storeID), append(routes, id.route), append(keys, id.key)
	}
	return stores, routes, keys
}

// replays reads what the keys were used for.
func replays(ctx context.Context, q Querier, ids []keyID) (map[keyID]*Replay, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	stores, routes, keys := columnsOfKeys(ids)
	rows, err := q.Query(ctx, `
    select k.store_id, k.route, k.key, k.body_hash, k.order_id, k.wait_until, coalesce(k.status, 0), k.answer
    from unnest($1::int4[], $2::text[], $3::text[]) as want (store_id, route, key)
    join idempotency_keys k on k.store_id = want.store_id and k.route = want.route and k.key = want.key`, stores, routes, keys)
	if err != nil {
		return nil, err
	}
	type keyed struct {
		StoreID    int32
		Route, Key string
		Replay
	}
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[keyed])
	if err != nil {
		return nil, err
	}
	found := make(map[keyID]*Replay, len(all))
	for i, r := range all {
		found[keyID{r.StoreID, r.Route, r.Key}] = &all[i].Replay
	}
	return found, nil
}

func deleteKeys(ctx context.Context, tx pgx.Tx, ids []keyID) error {
	if len(ids) == 0 {
		return nil
	}
	stores, routes, keys := columnsOfKeys(ids)
	_, err := tx.Exec(ctx, `
    delete from idempotency_keys k
    using unnest($1::int4[], $2::text[], $3::text[]) as v (store_id, route, key)
    where k.store_id = v.store_id and k.route = v.route and k.key = v.key`, stores, routes, keys)
	return err
}

// ReplayOf is what a key of placing was used for, nil for nothing, ErrKeyReused for another body.
// It is asked when a request cannot be placed any more but may have been.
func (o *Orders) ReplayOf(ctx context.Context, storeID int32, key string, bodyHash []byte) (*Replay, error) {
	return replayOf(ctx, o.pool, keyID{storeID, PlacingRoute, key}, bodyHash)
}

func replayOf(ctx context.Context, q Querier, id keyID, bodyHash []byte) (*Replay, error) {
	found, err := replays(ctx, q, []keyID{id})
	if err != nil || found[id] == nil {
		return nil, err
	}
	if !bytes.Equal(found[id].BodyHash, bodyHash) {
		return nil, ErrKeyReused
	}
	return found[id], nil
}

// freeze keeps the answer under its key, unless one was kept before; it returns the one that counts. A key that is not
// this order's any more was forgotten while its answer was waited for: what it is used for now is not touched.
func freeze(ctx context.Context, q Querier, id keyID, order uuid.UUID, status int, answer []byte) (*Replay, error) {
	r := new(Replay)
	err := q.QueryRow(ctx, `
    update idempotency_keys
    set status = coalesce(status, $5), answer = coalesce(answer, $6)
    where store_id = $1 and route = $2 and key = $3 and order_id = $4
    returning body_hash, order_id, wait_until, status, answer`, id.storeID, id.route, id.key, order, status, answer).
		Scan(&r.BodyHash, &r.OrderID, &r.WaitUntil, &r.Status, &r.Answer)
	if errors.Is(err, pgx.ErrNoRows) {
		err = fmt.Errorf("key of order %s vanished: %w", order, ErrRace)
	}
	return r, err
}

// PruneKeys forgets keys older than age, in bites of at most limit rows; it returns how many went.
func PruneKeys(ctx context.Context, q Querier, age time.Duration, limit int) (int64, error) {
	tag, err := q.Exec(ctx, `
    delete from idempotency_keys
    where ctid in (select ctid from idempotency_keys where created_at < $1 limit $2)`, time.Now().Add(-age), limit)
	return tag.RowsAffected(), err
}
