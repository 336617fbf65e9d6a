package db

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// commandStore carries out a command about the store itself. These are decided by time: the later
// occurred_at wins, whichever arrives first. Menu says which items and options exist.
func (o *Orders) commandStore(ctx context.Context, storeID int32, c *Command, menu *Menu) (CommandResult, error) {
	var result CommandResult
	err := o.inTx(ctx, func(tx pgx.Tx) error {
		// The settings are locked before anything else of the store, as a change of its menu does.
		if _, err := tx.Exec(ctx, `select from store_settings where store_id = $1 for no key update`, storeID); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, readAnswers, []int32{storeID}, []uuid.UUID{c.ID})
		if err != nil {
			return err
		}
		answers, err := collectAnswers(rows)
		if err != nil {
			return err
		}
		if answer, ok := answers[OrderRef{storeID, c.ID}]; ok {
			result = answer.to(c)
			return nil
		}
		if result, err = c.applyToStore(ctx, tx, storeID, menu); err != nil {
			return err
		}
		batch, first := new(pgx.Batch), new(commandRows)
		first.add(storeID, c, result)
		first.queue(batch)
		return tx.SendBatch(ctx, batch).Close()
	})
	return result, err
}

func (c *Command) applyToStore(ctx context.Context, tx pgx.Tx, storeID int32, menu *Menu) (CommandResult, error) {
	at := c.OccurredAt
	if now := time.Now(); at.After(now) {
		at = now
	}
	var changed bool
	var err error
	switch c.Type {
	case "pause", "resume":
		changed, err = decidePause(ctx, tx, storeID, c.Until, at)
	default:
		kind, ref := "item", c.Item
		if c.Option != "" {
			kind, ref = "option", c.Option
		}
		if (kind == "item" && menu.Item(ref) == nil) || (kind == "option" && !menu.HasOption(ref)) {
			return rejected("unknown_" + kind), nil
		}
		changed, err = decideAvailability(ctx, tx, storeID, kind, ref, c.Type == "available", c.Until, at)
	}
	if err != nil || !changed {
		return superseded, err
	}
	return applied, nil
}

// decidePause pauses a store until a time, or resumes it (until nil), unless that was decided later.
func decidePause(ctx context.Context, q Querier, storeID int32, until *time.Time, at time.Time) (bool, error) {
	tag, err := q.Exec(ctx, `
    update store_settings
    set paused_until = $2, pause_decided_at = $3, version = version + 1, updated_at = clock_timestamp()
    where store_id = $1 and pause_decided_at <= $3`, storeID, until, at)
	return tag.RowsAffected() > 0, err
}

// decideAvailability says that an item or option is sold out or back, unless that was decided later.
func decideAvailability(ctx context.Context, q Querier, storeID int32, kind, ref string, available bool, until *time.Time, at time.Time) (bool, error) {
	tag, err := q.Exec(ctx, `
    insert into availability as a (store_id, kind, ref, available, until, decided_at)
    values ($1, $2, $3, $4, $5, $6)
    on conflict (store_id, kind, ref) do update
    set available = excluded.available, until = excluded.until, decided_at = excluded.decided_at
    where a.decided_at <= excluded.decided_at`, storeID, kind, ref, available, until, at)
	if err != nil || tag.RowsAffected() == 0 {
		return false, err
	}
	_, err = q.Exec(ctx, `
    update store_settings
    set overlay_version = overlay_version + 1, updated_at = clock_timestamp()
    where store_id = $1`, storeID)
	return true, err
}
