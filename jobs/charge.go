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
	// chargesAtOnce bounds the charges under way at the provider for one group.
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
	began := time.Now()
	var mu sync.Mutex
	var leaving []db.OrderRef
	var g errgroup.Group
	atProvider := make(chan struct{}, chargesAtOnce)
	for _, charge := range charges {
		if charge.Status != db.Pending {
			continue // settled, or unknown and with a job of its own
		}
		g.Go(func() error {
			said, err := w.client.chargeInGroup(ctx, charge, began, job.Attempt == 1, atProvider)
			if err == nil && said == "" {
				mu.Lock()
				defer mu.Unlock()
				leaving = append(leaving, charge.OrderRef)
			}
			return err
		})
	}
	err = g.Wait()
	if len(leaving) > 0 {
		_, left := w.client.river.InsertManyFast(ctx, settles(leaving))
		err = errors.Join(err, left)
	}
	return err
}

// chargeInGroup charges one order of a group that was begun at a moment; it says nothing if the order has
// to leave with a job of its own: because others took so long that it may not be wanted any more, or
// because it is not wanted now and an earlier try may have got through.
func (c *Client) chargeInGroup(ctx context.Context, charge *db.Charge, began time.Time, firstTry bool, atProvider chan struct{}) (db.PaymentStatus, error) {
	if !charge.Wanted {
		if firstTry && time.Since(charge.BegunAt) < sweepAfter {
			return db.Void, c.settle(ctx, charge, db.Charged{Status: db.Void})
		}
		return "", nil
	}
	select {
	case atProvider <- struct{}{}: // chargePatience bounds how long the others take
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if time.Since(began) > chargePatience {
		<-atProvider
		return "", nil
	}
	result, err := c.askProvider(ctx, charge)
	<-atProvider
	if err != nil || result.Status == "" {
		return "", err
	}
	return result.Status, c.settle(ctx, charge, result)
}

// charge asks the provider once and records what it said. Empty means that nothing was done.
func (c *Client) charge(ctx context.Context, charge *db.Charge) (db.PaymentStatus, error) {
	result, err := c.askProvider(ctx, charge)
	if err != nil || result.Status == "" {
		return "", err
	}
	return result.Status, c.settle(ctx, charge, result)
}

// askProvider asks the provider once to charge: captured, failed, or unknown if it did not answer in time.
// Empty means that nothing was done.
func (c *Client) askProvider(ctx context.Context, charge *db.Charge) (db.Charged, error) {
	patience, cancel := context.WithTimeout(ctx, chargePatience)
	defer cancel()
	said, err := c.provider.Charge(patience, charge.Key(), charge.Reference(), charge.Amount, charge.Token)
	result := db.Charged{Status: db.Unknown}
	switch {
	case err == nil:
		result = charged(said)
	case ctx.Err() != nil:
		return db.Charged{}, ctx.Err()
	case !errors.Is(err, context.DeadlineExceeded):
		c.config.Log.LogAttrs(ctx, slog.LevelWarn, "the provider refused a charge; it will be tried again under the same key",
			slog.Int("store", int(charge.StoreID)), slog.String("order", charge.ID.String()), slog.Any("error", err))
		return db.Charged{}, nil
	}
	return result, nil
}

func (c *Client) settle(ctx context.Context, charge *db.Charge, said db.Charged) error {
	said.Attempt = charge.Attempt
	_, err := c.orders.Settle(ctx, charge.OrderRef, db.Settle(said))
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
