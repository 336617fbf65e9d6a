package jobs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"frenchpress/db"
)

// undecidedEvery is how often the provider is asked for a refund that it takes days to decide about. It tells of it by
// itself, too.
const undecidedEvery = time.Minute

type refundArgs struct {
	db.OrderRef
}

func (refundArgs) Kind() string { return "refund" }

func (refundArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSettle, MaxAttempts: 50}
}

// refundWorker has the provider carry out the refunds of an order that wait for it.
type refundWorker struct {
	river.WorkerDefaults[refundArgs]
	client *Client
}

func (w *refundWorker) Work(ctx context.Context, job *river.Job[refundArgs]) error {
	undecided, err := w.client.refund(ctx, job.Args.OrderRef)
	if err == nil && undecided != nil && job.Attempt >= job.MaxAttempts {
		return river.JobSnooze(undecidedEvery) // that is nobody's fault, and no dead letter
	}
	return errors.Join(err, undecided)
}

// refund asks the provider for all refunds of an order that wait for it. What it has not decided yet stands apart from
// what went wrong.
func (c *Client) refund(ctx context.Context, ref db.OrderRef) (undecided, err error) {
	asked, err := db.RefundsAsked(ctx, c.pool, ref)
	if err != nil || len(asked) == 0 {
		return nil, err
	}
	charge, err := c.charge(ctx, ref)
	if err != nil || charge == nil {
		return nil, err
	}
	for i := range asked {
		if failed := c.giveBack(ctx, charge, &asked[i]); errors.Is(failed, errNotYet) {
			undecided = failed
		} else {
			err = errors.Join(err, failed)
		}
	}
	return undecided, err
}

// giveBack asks the provider once for a refund and records what it said. Only what it has refused for good ends here
// without an error: that waits for staff. Anything else is asked again, under the same key.
func (c *Client) giveBack(ctx context.Context, charge *db.Charge, refund *db.Refund) error {
	patience, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	ref, err := c.provider.Refund(patience, refund.Key(charge.OrderRef), charge, refund.Amount, refund.UpdatedAt)
	failpoint(toRefund)
	said := db.RefundDone(refund.N, ref)
	var refused *refusal
	switch {
	case errors.As(err, &refused):
		said = db.RefundFailed(refund.N, refund.Tries, refused.words)
		c.config.Log.LogAttrs(ctx, slog.LevelWarn, "the provider refused a refund for good; it waits for staff at /staff/refunds",
			slog.Int("store_id", int(charge.StoreID)), slog.String("order", charge.ID.String()), slog.Int("refund", refund.N),
			slog.String("reason", refused.words))
	case err != nil:
		return err
	}
	_, err = c.orders.Settle(ctx, charge.OrderRef, said)
	failpoint(toSettleRefund)
	return err
}
