package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// OrderFilter chooses a page of a store's orders, newest first. The zero value of a field chooses all.
type OrderFilter struct {
	Status Status
	From   time.Time // placed at or after
	To     time.Time // placed before
	Before uuid.UUID // the last order of the page before
	Limit  int
}

// ListOrders is one page of a store's orders. Time and page are bounds of the order's own id, so that a
// page deep in the past costs what the first one does.
func ListOrders(ctx context.Context, q Querier, storeID int32, f OrderFilter) ([]*Order, error) {
	below := uuid.Max
	if !f.To.IsZero() {
		below = uuidFloor(f.To)
	}
	if f.Before != uuid.Nil && string(f.Before[:]) < string(below[:]) {
		below = f.Before
	}
	open := ""
	if f.Status != "" && !f.Status.Final() {
		open = " and o.open" // a few, which have an index
	}
	rows, err := q.Query(ctx, `
    select`+orderColumns+`
    from orders o
    where o.store_id = $1 and o.id >= $2 and o.id < $3 and ($4 = '' or o.status = $4)`+open+`
    order by o.id desc
    limit $5`, storeID, uuidFloor(f.From), below, string(f.Status), f.Limit)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, scanOrder)
}

// uuidFloor is the lowest id of a moment: its milliseconds, then how far it is into the last one. Before 1970 it is zero.
func uuidFloor(at time.Time) (id uuid.UUID) {
	ms := at.UnixMilli()
	if ms <= 0 {
		return id
	}
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	into := int64(at.Nanosecond()) % 1e6 << 12 / 1e6 // of 4096
	id[6], id[7] = 0x70|byte(into>>8), byte(into)
	return id
}

// newID is a UUIDv7 of a moment, by RFC 9562, 6.2, method 3. Ids sort as their moments do, to the microsecond. Unlike
// uuid.NewV7 it remembers no time: after one id from a clock that went wrong all others would be of that month too, for which
// orders have no partition.
func newID(at time.Time) uuid.UUID {
	id, floor := uuid.New(), uuidFloor(at)
	copy(id[:8], floor[:8])
	return id
}

// FindOrder is the order of a number that a store gave out at or after from and before to, or ErrNotFound. It reads
// the orders of that time alone.
func FindOrder(ctx context.Context, q Querier, storeID int32, number int, from, to time.Time) (id uuid.UUID, err error) {
	err = q.QueryRow(ctx, findOrder, storeID, uuidFloor(from), uuidFloor(to), number).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, ErrNotFound
	}
	return id, err
}

// StoreOfOrder is where an order was placed, or ErrNotFound.
func StoreOfOrder(ctx context.Context, q Querier, id uuid.UUID) (storeID int32, err error) {
	err = q.QueryRow(ctx, `select store_id from order_history where order_id = $1 limit 1`, id).Scan(&storeID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, ErrNotFound
	}
	return storeID, err
}

const findOrder = `
    select id
    from orders
    where store_id = $1 and id >= $2 and id < $3 and number = $4
    order by id
    limit 1`
