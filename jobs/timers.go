package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

const (
	// sweepEvery and sweepAfter: a payment that has not moved for sweepAfter has lost its job.
	sweepEvery = 5 * time.Second
	sweepAfter = 12 * time.Second
	// deadRests is how long a payment is left alone whose job has become a dead letter. A provider that was away for long
	// is asked again after that; if it is the payment, somebody has to look at it, and more of them would say nothing new.
	deadRests = 15 * time.Minute
	// timersEvery is how late an order may expire or be abandoned.
	timersEvery = 5 * time.Second
	// housekeepingEvery keeps up with a record day: what became too old in an hour, 3 million keys, fits into no job.
	housekeepingEvery = time.Minute
	// bite bounds what one run of a timer takes on; the next run goes on.
	bite = 2000
	// atOnce bounds the orders that a timer moves at a time.
	atOnce = 256
	// keysKept is how long idempotency keys stay: twice what the contract promises.
	keysKept = 48 * time.Hour
)

func periodic() []*river.PeriodicJob {
	run := func(every time.Duration, args river.JobArgs) *river.PeriodicJob {
		return river.NewPeriodicJob(river.PeriodicInterval(every), func() (river.JobArgs, *river.InsertOpts) { return args, nil },
			&river.PeriodicJobOpts{RunOnStart: true})
	}
	return []*river.PeriodicJob{
		run(sweepEvery, sweepArgs{}),
		run(timersEvery, expireArgs{}),
		run(timersEvery, abandonArgs{}),
		run(reconcileEvery, reconcileArgs{}),
		run(housekeepingEvery, housekeepingArgs{}),
	}
}

// timerOpts has no uniqueness, nor has any other job: before it makes one due job available, River's scheduler looks at
// every unique job together with every due one, so that a thousand retries and some hundred unique jobs stop it for good
// (300 and 300 take 16 s, a thousand retries without them 24 ms). A timer that runs twice does no harm, and what piles up
// while the database is slow is gone in a moment.
func timerOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueTimers, MaxAttempts: 3}
}

type sweepArgs struct{}

func (sweepArgs) Kind() string                 { return "sweep" }
func (sweepArgs) InsertOpts() river.InsertOpts { return timerOpts() }

// sweepWorker works from the state of payments, not of jobs: whatever is stuck is found here.
type sweepWorker struct {
	river.WorkerDefaults[sweepArgs]
	client *Client
}

func (w *sweepWorker) Work(ctx context.Context, _ *river.Job[sweepArgs]) error {
	cutoff := time.Now().Add(-sweepAfter)
	charges, err := db.StuckCharges(ctx, w.client.pool, cutoff, bite)
	if err != nil {
		return err
	}
	refunds, err := db.StuckRefunds(ctx, w.client.pool, cutoff, bite)
	if err != nil || len(charges)+len(refunds) == 0 {
		return err
	}
	stuck := make(map[jobOf]river.JobArgs, len(charges)+len(refunds))
	for _, ref := range charges {
		stuck[jobOf{settleArgs{}.Kind(), ref}] = settleArgs{ref}
	}
	for _, ref := range refunds {
		stuck[jobOf{refundArgs{}.Kind(), ref}] = refundArgs{ref}
	}
	if err := w.withoutJob(ctx, stuck); err != nil {
		return err
	}
	var params []river.InsertManyParams
	for _, args := range stuck {
		params = append(params, river.InsertManyParams{Args: args})
	}
	if len(params) == 0 {
		return nil
	}
	w.client.config.Log.WarnContext(ctx, "payments stood still without a job and are taken up again", "payments", len(params))
	_, err = w.client.river.InsertManyFast(ctx, params)
	return err
}

// jobOf names an order's job.
type jobOf struct {
	kind string
	db.OrderRef
}

// withoutJob leaves those that have no job that is worked on or will be; an order that waits to be charged with its
// group has one too. One whose process died is none: River sees that only later, up to 30 s. One that has become a dead
// letter counts for as long as deadRests, but for a group's: there one order may have kept the others waiting.
func (w *sweepWorker) withoutJob(ctx context.Context, stuck map[jobOf]river.JobArgs) error {
	rows, err := w.client.pool.Query(ctx, jobsOfPayments, jobsSought()...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var kind string
		var args []byte
		if err := rows.Scan(&kind, &args); err != nil {
			return err
		}
		var of struct {
			db.OrderRef
			Orders orderList `json:"orders"`
		}
		switch {
		case json.Unmarshal(args, &of) != nil: // no order's, and no worker's either
		case kind == chargeArgs{}.Kind():
			for _, ref := range of.Orders {
				delete(stuck, jobOf{settleArgs{}.Kind(), ref})
			}
		default:
			delete(stuck, jobOf{kind, of.OrderRef})
		}
	}
	return rows.Err()
}

// jobsOfPayments finds the dead letters by their end: they are kept for ever, and River's index knows it.
const jobsOfPayments = `
    select kind, args
    from river_job
    where queue in ($1, $2) and kind in ($3, $4, $5)
      and (state in ('available', 'pending', 'retryable', 'scheduled') or state = 'running' and attempted_at > now() - $6::interval)
    union all
    select kind, args
    from river_job
    where state = 'discarded' and finalized_at > now() - $7::interval and kind in ($4, $5)`

func jobsSought() []any {
	return []any{queueCharge, queueSettle, chargeArgs{}.Kind(), settleArgs{}.Kind(), refundArgs{}.Kind(), jobTimeout, deadRests}
}

type expireArgs struct{}

func (expireArgs) Kind() string                 { return "expire" }
func (expireArgs) InsertOpts() river.InsertOpts { return timerOpts() }

// expireWorker ends orders that were not paid in time.
type expireWorker struct {
	river.WorkerDefaults[expireArgs]
	client *Client
}

func (w *expireWorker) Work(ctx context.Context, _ *river.Job[expireArgs]) error {
	cutoff := time.Now().Add(-w.client.config.ExpireAfter)
	overdue, err := db.Overdue(ctx, w.client.pool, cutoff, []db.Status{db.PaymentPending, db.PaymentFailed}, bite)
	if err != nil {
		return err
	}
	return w.client.advanceAll(ctx, overdue, db.Expire(cutoff))
}

type abandonArgs struct{}

func (abandonArgs) Kind() string                 { return "abandon" }
func (abandonArgs) InsertOpts() river.InsertOpts { return timerOpts() }

// abandonWorker ends orders that nobody collected.
type abandonWorker struct {
	river.WorkerDefaults[abandonArgs]
	client *Client
}

func (w *abandonWorker) Work(ctx context.Context, _ *river.Job[abandonArgs]) error {
	cutoff := time.Now().Add(-w.client.config.AbandonAfter)
	uncollected, err := db.Overdue(ctx, w.client.pool, cutoff, []db.Status{db.Ready}, bite)
	if err != nil {
		return err
	}
	return w.client.advanceAll(ctx, uncollected, db.Abandon(cutoff))
}

// advanceAll moves the orders through group commit; one that fails does not stop the others.
func (c *Client) advanceAll(ctx context.Context, refs []db.OrderRef, decide db.Decision) error {
	var g errgroup.Group
	g.SetLimit(atOnce)
	for _, ref := range refs {
		g.Go(func() error {
			_, err := c.orders.Advance(ctx, ref, decide)
			return err
		})
	}
	return g.Wait()
}

type housekeepingArgs struct{}

func (housekeepingArgs) Kind() string                 { return "housekeeping" }
func (housekeepingArgs) InsertOpts() river.InsertOpts { return timerOpts() }

// housekeepingWorker adds the partitions of the months to come and forgets old idempotency keys, messages of the provider
// and differences.
type housekeepingWorker struct {
	river.WorkerDefaults[housekeepingArgs]
	client *Client
}

func (w *housekeepingWorker) Work(ctx context.Context, _ *river.Job[housekeepingArgs]) error {
	months := db.AddPartitions(ctx, w.client.pool, w.client.config.Log)
	err := db.PruneDifferences(ctx, w.client.pool, differencesKept)
	for err == nil {
		var keys, messages int64
		keys, err = db.PruneKeys(ctx, w.client.pool, keysKept, bite)
		if err == nil {
			messages, err = db.PruneMessages(ctx, w.client.pool, messagesKept, bite)
		}
		if keys < bite && messages < bite {
			break
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // the next run goes on
	}
	return errors.Join(months, err)
}
