package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

const (
	// sweepEvery and sweepAfter: a payment that has not moved for sweepAfter has lost its job.
	sweepEvery = 5 * time.Second
	sweepAfter = 12 * time.Second
	// timersEvery is how late an order may expire or be abandoned.
	timersEvery = 5 * time.Second
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
		run(time.Hour, housekeepingArgs{}),
	}
}

// timerOpts keeps a timer from piling up behind itself.
func timerOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueTimers, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByPeriod: sweepEvery}}
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
	stuck, err := db.Unsettled(ctx, w.client.pool, time.Now().Add(-sweepAfter), bite)
	if err != nil {
		return err
	}
	var params []river.InsertManyParams
	for _, ref := range stuck.Charges {
		params = append(params, river.InsertManyParams{Args: settleArgs{ref}, InsertOpts: onceAtATime})
	}
	for _, ref := range stuck.Refunds {
		params = append(params, river.InsertManyParams{Args: refundArgs{ref}, InsertOpts: onceAtATime})
	}
	added, orphans, err := w.insert(ctx, params)
	if err != nil {
		return err
	}
	taken, _, err := w.insert(ctx, orphans)
	if added += taken; added > 0 {
		w.client.config.Log.WarnContext(ctx, "payments stood still without a job and are taken up again", "payments", added)
	}
	return err
}

var (
	// onceAtATime leaves a payment alone that has a job.
	onceAtATime = &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
		rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRunning, rivertype.JobStateRetryable, rivertype.JobStateScheduled,
	}}}
	// despiteOrphans is for one whose job died with its process: River will see that only later, up to 30 s.
	despiteOrphans = &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByArgs: true, ByPeriod: rescueAfter}}
)

// insert adds jobs. It says how many are new, and which were not added because of a job that nobody can be working on
// any more.
func (w *sweepWorker) insert(ctx context.Context, params []river.InsertManyParams) (added int, orphans []river.InsertManyParams, err error) {
	if len(params) == 0 {
		return 0, nil, nil
	}
	inserted, err := w.client.river.InsertMany(ctx, params)
	for i, one := range inserted {
		switch attempted := one.Job.AttemptedAt; {
		case !one.UniqueSkippedAsDuplicate:
			added++
		case one.Job.State == rivertype.JobStateRunning && attempted != nil && time.Since(*attempted) > jobTimeout:
			orphans = append(orphans, river.InsertManyParams{Args: params[i].Args, InsertOpts: despiteOrphans})
		}
	}
	return added, orphans, err
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
	_, err := w.client.pool.Exec(ctx, `select ensure_partitions(now(), 3)`)
	if err == nil {
		err = db.PruneDifferences(ctx, w.client.pool, differencesKept)
	}
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
		return nil // the next run goes on
	}
	return err
}
