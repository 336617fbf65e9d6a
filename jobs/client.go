// Package jobs is what happens later: the River workers that charge, refund, notify and keep time, the
// payment provider and the notification channels.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/riverqueue/river/rivertype"

	"frenchpress/db"
)

// The queues, so that nothing waits behind work of another kind.
const (
	queueCharge = "charge" // groups of orders, straight after they were placed
	queueSettle = "settle" // single orders: what was unanswered, refunds, what the provider tells
	queueNotify = "notify"
	queueTimers = "timers"

	queueAnnounce = "announce" // to many, whom no order waits for
)

const (
	// fetchCooldown is how soon a queue fetches again; what is notified meanwhile waits for that.
	fetchCooldown = 10 * time.Millisecond
	// notifyCooldown is how soon an insert notifies again. River drops the notifications in between, and
	// their jobs then wait for the poll: with 20 ms every fourth of a row of single orders did, for half a
	// second.
	notifyCooldown = time.Millisecond
	// fetchPoll finds jobs whose notification was dropped or lost: soon where a customer waits.
	fetchPoll       = 500 * time.Millisecond
	fetchPollCharge = 100 * time.Millisecond
	// jobTimeout bounds a job; the longest waits lookFor for the provider's decision and asks once more.
	jobTimeout = 15 * time.Second
	// rescueAfter takes up the jobs of a process that died: just above jobTimeout. River looks every 30 s, so that such a
	// job rests 50 s at most.
	rescueAfter = 20 * time.Second
	// softStop is how long a stopping process waits for its running jobs.
	softStop = 5 * time.Second
)

// Config is what the owner sets about jobs.
type Config struct {
	ExpireAfter  time.Duration
	AbandonAfter time.Duration
	Secret       []byte    // what the codes in messages are derived from
	Provider     *Provider // nil for a client that works no jobs
	Log          *slog.Logger
}

// Client inserts and works the jobs.
type Client struct {
	config   Config
	pool     *pgxpool.Pool
	river    *river.Client[pgx.Tx]
	provider *Provider

	// post carries messages to people. An error means that the message was certainly not sent; where that is not certain
	// there is none.
	post func(context.Context, Message) error

	orders *db.Orders // set before Start

	stopping context.Context // ends with Stop, for jobs that mostly rest
	stop     context.CancelFunc
}

// Migrate brings River's tables up to date. The caller holds the migration lock.
func Migrate(ctx context.Context, pool *pgxpool.Pool) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrating River's tables: %w", err)
	}
	return nil
}

// New makes a client that can insert jobs; Start works them. On queue River fetches and finishes them: a job is
// inserted in the transaction of what caused it, and one that was done may be done again, so a relaxed pool will do.
func New(pool, queue *pgxpool.Pool, config Config) (*Client, error) {
	c := &Client{config: config, pool: pool, provider: config.Provider, post: logged(config.Log)}
	c.stopping, c.stop = context.WithCancel(context.Background())
	workers := river.NewWorkers()
	river.AddWorker(workers, &chargeWorker{client: c})
	river.AddWorker(workers, &settleWorker{client: c})
	river.AddWorker(workers, &refundWorker{client: c})
	river.AddWorker(workers, &notifyWorker{client: c})
	river.AddWorker(workers, &resetWorker{client: c})
	river.AddWorker(workers, &announceWorker{client: c})
	river.AddWorker(workers, &pageWorker{client: c})
	river.AddWorker(workers, &messageWorker{client: c})
	river.AddWorker(workers, &reconcileWorker{client: c})
	river.AddWorker(workers, &sweepWorker{client: c})
	river.AddWorker(workers, &expireWorker{client: c})
	river.AddWorker(workers, &abandonWorker{client: c})
	river.AddWorker(workers, &housekeepingWorker{client: c})
	var err error
	c.river, err = river.NewClient(riverpgxv5.New(queue), &river.Config{
		Logger:                      errorsOnly(config.Log),
		Workers:                     workers,
		PeriodicJobs:                periodic(),
		ErrorHandler:                &failures{log: config.Log},
		RetryPolicy:                 &soon{},
		FetchCooldown:               notifyCooldown,
		FetchPollInterval:           fetchPoll,
		JobTimeout:                  jobTimeout,
		RescueStuckJobsAfter:        rescueAfter,
		SoftStopTimeout:             softStop,
		CompletedJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: -1,
		Queues: map[string]river.QueueConfig{
			queueCharge: {MaxWorkers: 64, FetchCooldown: fetchCooldown, FetchPollInterval: fetchPollCharge},
			queueSettle: {MaxWorkers: 512, FetchCooldown: fetchCooldown},
			queueNotify: {MaxWorkers: 16, FetchCooldown: fetchCooldown},
			queueTimers: {MaxWorkers: 4, FetchCooldown: fetchCooldown},

			queueAnnounce: {MaxWorkers: 2, FetchCooldown: fetchCooldown},
		},
	})
	return c, err
}

// Start works jobs until Stop. The context only bounds the start.
func (c *Client) Start(ctx context.Context, orders *db.Orders) error {
	c.orders = orders
	return c.river.Start(context.WithoutCancel(ctx))
}

// Stop waits for running jobs, at most softStop and a little; what does not end is taken up again later.
func (c *Client) Stop(ctx context.Context) error {
	c.stop()
	return c.river.Stop(ctx)
}

// Outbox is how the write path puts jobs into its transactions.
func (c *Client) Outbox() db.Outbox {
	return db.Outbox{
		Charge: func(ctx context.Context, tx pgx.Tx, orders []db.OrderRef) error {
			_, err := c.river.InsertTx(ctx, tx, chargeArgs{orders}, nil)
			return err
		},
		Settle: func(ctx context.Context, tx pgx.Tx, orders []db.OrderRef) error {
			_, err := c.river.InsertManyFastTx(ctx, tx, settles(orders))
			return err
		},
		Refund: func(ctx context.Context, tx pgx.Tx, orders []db.OrderRef) error {
			_, err := c.river.InsertManyFastTx(ctx, tx, jobEach(orders, func(o db.OrderRef) river.JobArgs { return refundArgs{o} }))
			return err
		},
		Notify: func(ctx context.Context, tx pgx.Tx, notices []db.Notice) error {
			var letters []river.InsertManyParams
			for some := range slices.Chunk(notices, lettersPerJob) {
				letters = append(letters, river.InsertManyParams{Args: notifyArgs{some}})
			}
			_, err := c.river.InsertManyFastTx(ctx, tx, letters)
			return err
		},
	}
}

// jobEach gives every order a job of its own.
func jobEach(orders []db.OrderRef, args func(db.OrderRef) river.JobArgs) []river.InsertManyParams {
	params := make([]river.InsertManyParams, len(orders))
	for i, ref := range orders {
		params[i].Args = args(ref)
	}
	return params
}

func settles(orders []db.OrderRef) []river.InsertManyParams {
	return jobEach(orders, func(o db.OrderRef) river.JobArgs { return settleArgs{o} })
}

// soon tries a failed job again after a second at first, later every ten; a timer's is left to River, for the next one is due
// in a moment.
type soon struct{ river.DefaultClientRetryPolicy }

func (s *soon) NextRetry(job *rivertype.JobRow) time.Time {
	if job.Queue == queueTimers {
		return s.DefaultClientRetryPolicy.NextRetry(job)
	}
	return time.Now().Add(min(time.Duration(job.Attempt)*time.Second, 10*time.Second))
}

// failures writes one line for every job that failed.
type failures struct{ log *slog.Logger }

func (f *failures) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	next, level := "it will be tried again", slog.LevelWarn
	switch {
	case job.Attempt >= job.MaxAttempts:
		next = "it is a dead letter now: see /staff/jobs/"
	case errors.Is(err, errNotYet):
		level = slog.LevelDebug
	}
	f.log.Log(ctx, level, "job failed", "job", job.ID, "kind", job.Kind, "args", string(job.EncodedArgs), "attempt", job.Attempt,
		"error", err, "next", next)
	return nil
}

func (f *failures) HandlePanic(ctx context.Context, job *rivertype.JobRow, panicVal any, trace string) *river.ErrorHandlerResult {
	f.log.ErrorContext(ctx, "job panicked", "job", job.ID, "kind", job.Kind, "args", string(job.EncodedArgs), "attempt", job.Attempt,
		"panic", fmt.Sprint(panicVal), "trace", trace)
	return nil
}
