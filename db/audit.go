package db

import (
	"context"
	"encoding/json"
	"time"
)

// Chain stands in for a store where something concerns them all.
const Chain int32 = 0

// Audit records who did what, in the transaction that does it. detail is kept as JSON; nil for none.
func Audit(ctx context.Context, q Querier, storeID int32, actor, action string, detail any) error {
	if detail == nil {
		detail = struct{}{}
	}
	data, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	_, err = q.Exec(ctx, `
    insert into audit (store_id, id, actor, action, detail)
    values ($1, $2, $3, $4, $5)`, storeID, newID(time.Now()), actor, action, data)
	return err
}
