package jobs

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"riverqueue.com/riverui"

	"frenchpress/db"
)

// Dashboard is River's own, to be mounted under prefix behind a sign-in: queues, jobs, dead letters.
func (c *Client) Dashboard(ctx context.Context, prefix string) (http.Handler, error) {
	handler, err := riverui.NewHandler(&riverui.HandlerOpts{
		Endpoints: riverui.NewEndpoints(c.river, nil),
		Logger:    slog.New(slog.DiscardHandler),
		Prefix:    prefix,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the jobs dashboard: %w", err)
	}
	return handler, handler.Start(ctx)
}

// DeadLetters counts the jobs that failed for good, up to deadLettersCounted.
func (c *Client) DeadLetters(ctx context.Context) (n int, err error) {
	err = c.pool.QueryRow(ctx, `
    select count(*)
    from (select from river_job where state = 'discarded' limit $1) as dead`, deadLettersCounted).Scan(&n)
	return n, err
}

const deadLettersCounted = 1000

// Story is what River knows of an order's jobs; in no order.
func (c *Client) Story(ctx context.Context, ref db.OrderRef) ([]db.StoryEntry, error) {
	rows, err := c.pool.Query(ctx, `
    select coalesce(finalized_at, attempted_at, created_at), id, kind, state::text, attempt, max_attempts, created_at,
           coalesce(errors[array_length(errors, 1)] ->> 'error', '')
    from river_job
    where args @> jsonb_build_object('o', $1::text)
       or args @> jsonb_build_object('orders', jsonb_build_array(jsonb_build_object('o', $1::text)))
       or args @> jsonb_build_object('notices', jsonb_build_array(jsonb_build_object('o', $1::text)))
    limit 100`, ref.ID.String())
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (db.StoryEntry, error) {
		var e db.StoryEntry
		var id int64
		var kind, state, failure string
		var attempt, most int
		var created time.Time
		err := row.Scan(&e.At, &id, &kind, &state, &attempt, &most, &created, &failure)
		e.Kind, e.Title = "job", fmt.Sprintf("%s: %s", kind, state)
		e.Detail = fmt.Sprintf("job %d, attempt %d of %d, begun %s", id, attempt, most, created.UTC().Format(time.RFC3339Nano))
		if failure != "" {
			e.Detail += ", last said: " + failure
		}
		return e, err
	})
}
