package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

const (
	// chargePatience is how long the charge of a group waits for one answer before that order leaves
	// with a job of its own, so that the others do not wait behind it.
	chargePatience = 2 * time.Second
	// chargesAtOnce bounds the charges under way for one group.
	chargesAtOnce = 32
)

type chargeArgs struct {
	Orders []db.OrderRef `json:"orders"`
}

func (chargeArgs) Kind() string { return "charge" }

func (chargeArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueCharge, MaxAttempts: 10}
}

// chargeWorker charges the orders of one group commit.
type chargeWorker struct {
	river.WorkerDefaults[chargeArgs]
	client *Client
}

func (w *chargeWorker) NextRetry(job *river.Job[chargeArgs]) time.Time { return soon(job.Attempt) }

func (w *chargeWorker) Work(ctx context.Context, job *river.Job[chargeArgs]) error {
	charges, err := db.ChargesOf(ctx, w.client.pool, job.Args.Orders)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var leaving []db.OrderRef
	var g errgroup.Group
	g.SetLimit(chargesAtOnce)
	for _, charge := range charges {
		if charge.Status != db.Pending {
			continue // settled, or unknown and with a job of its own
		}
		g.Go(func() error {
			settled, err := w.client.charge(ctx, charge)
			if err == nil && !settled {
				mu.Lock()
				defer mu.Unlock()
				leaving = append(leaving, charge.OrderRef)
			}
			return err
		})
	}
	err = g.Wait()
	if len(leaving) > 0 {
		err = errors.Join(err, w.client.insertSettles(ctx, leaving))
	}
	return err
}

// charge asks the provider once and records what it said. It is false if nothing is known to have been
// done; a time-out is recorded as unknown, and its follow-up job is part of that change.
func (c *Client) charge(ctx context.Context, charge *db.Charge) (settled bool, err error) {
	if !charge.Wanted {
		return false, nil // an earlier try may have got through: its own job asks
	}
	patience, cancel := context.WithTimeout(ctx, chargePatience)
	defer cancel()
	said, err := c.provider.Charge(patience, charge.Key(), charge.Reference(), charge.Amount, charge.Token)
	switch {
	case err == nil:
		return true, c.settle(ctx, charge, charged(said))
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return true, c.settle(ctx, charge, db.Charged{Status: db.Unknown})
	}
	c.config.Log.LogAttrs(ctx, slog.LevelWarn, "the provider refused a charge; it will be tried again under the same key",
		slog.Int("store", int(charge.StoreID)), slog.String("order", charge.ID.String()), slog.Any("error", err))
	return false, nil
}

func (c *Client) settle(ctx context.Context, charge *db.Charge, said db.Charged) error {
	said.Attempt = charge.Attempt
	_, err := c.orders.Settle(ctx, charge.OrderRef, db.Settle(said, time.Now()))
	return err
}

func charged(said *ProviderCharge) db.Charged {
	if said.Succeeded {
		return db.Charged{Status: db.Captured, Ref: said.Ref}
	}
	return db.Charged{Status: db.Failed, Failure: said.Failure, Ref: said.Ref}
}

// soon is when a failed payment job is tried again: after a second at first, later every ten.
func soon(attempt int) time.Time {
	return time.Now().Add(min(time.Duration(attempt)*time.Second, 10*time.Second))
}
