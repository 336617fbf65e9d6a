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

const (
	clocksDiffer = 15 * time.Second // at most, of two machines
	groupsTake   = 2 * time.Minute  // longer than an order waits for its group commit, with all groups before it
)

// Story is what River knows of an order's jobs; in no order. Those that it shares with a group are looked for around the
// moments of its versions, for they were made in the same transactions: a tenth of a second among those of a record day's hour.
func (c *Client) Story(ctx context.Context, order *db.Order) ([]db.StoryEntry, error) {
	moments := make([]time.Time, len(order.Steps))
	for i, step := range order.Steps {
		moments[i] = step.At
	}
	rows, err := c.pool.Query(ctx, `
    select coalesce(finalized_at, attempted_at, created_at), id, kind, state::text, attempt, max_attempts, created_at,
           coalesce(errors[array_length(errors, 1)] ->> 'error', '')
    from river_job
    where id in (
        select id
        from river_job
        where args @> jsonb_build_object('o', $1::text)
        union all
        select id
        from river_job
        where kind in ($2, $3)
          and created_at <@ (select range_agg(tstzrange(at - $5::interval, at + $6::interval)) from unnest($4::timestamptz[]) as at)
          and args::text like '%' || $1 || '%')
    limit 100`, order.ID.String(), chargeArgs{}.Kind(), notifyArgs{}.Kind(), moments, clocksDiffer, groupsTake)
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
