package db

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// StoreIntents takes note of the intents that the provider made for charges, and of the charges without one that
// there never will be any: whichever comes first for a charge stays, so that at most one intent of it is ever confirmed and
// none of one that was given up. It says of which orders it did; of the others somebody else has, or the order is
// not wanted any more.
func StoreIntents(ctx context.Context, q Querier, charges []*Charge) (map[OrderRef]bool, error) {
	var stores []int32
	var ids []uuid.UUID
	var attempts []int
	var intents []string
	for _, c := range charges {
		stores, ids = append(stores, c.StoreID), append(ids, c.ID)
		attempts, intents = append(attempts, c.Attempt), append(intents, c.Intent)
	}
	// The state is not asked for in the words of payments_unsettled: that index seems small, and would be gone through as a
	// whole, with all that were settled since the last vacuum.
	rows, err := q.Query(ctx, `
    update payments p
    set provider_ref = v.intent
    from unnest($1::int4[], $2::uuid[], $3::int4[], $4::text[]) as v (store_id, order_id, attempt, intent)
    join orders o on o.store_id = v.store_id and o.id = v.order_id
    where p.store_id = v.store_id and p.order_id = v.order_id and p.attempt = v.attempt
      and (p.status || '') in ('pending', 'unknown') and p.provider_ref is null
      and (v.intent = '' or o.status = 'payment_pending' and o.attempt = v.attempt)
    returning p.store_id, p.order_id`, stores, ids, attempts, intents)
	if err != nil {
		return nil, err
	}
	refs, err := pgx.CollectRows(rows, pgx.RowToStructByPos[OrderRef])
	stored := make(map[OrderRef]bool, len(refs))
	for _, ref := range refs {
		stored[ref] = true
	}
	return stored, err
}

// MoveOn takes a charge to its next idempotency keys, unless somebody else has already.
func MoveOn(ctx context.Context, q Querier, c *Charge) error {
	_, err := q.Exec(ctx, `
    update payments
    set tries = tries + 1
    where store_id = $1 and order_id = $2 and attempt = $3 and tries = $4 and status in ('pending', 'unknown')`,
		c.StoreID, c.ID, c.Attempt, c.Tries)
	return err
}
