package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"frenchpress/db"
)

const (
	lookEvery = 500 * time.Millisecond
	lookFor   = 10 * time.Second
	// givenUpAfter is when no worker can still be about to send a charge: only then does the provider's not
	// knowing it mean that it will never be.
	givenUpAfter = jobTimeout + chargePatience
)

// errNotYet is a provider that is still working on a charge.
var errNotYet = errors.New("the provider has not decided yet")

type settleArgs struct {
	db.OrderRef
}

func (settleArgs) Kind() string { return "settle" }

func (settleArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSettle, MaxAttempts: 50}
}

// settleWorker finds out about one charge that was not answered: what the provider says of it decides,
// never a new charge. Only where the provider knows nothing of the key is the charge sent again, under
// that key, and only while the order still wants it.
type settleWorker struct {
	river.WorkerDefaults[settleArgs]
	client *Client
}

func (w *settleWorker) NextRetry(job *river.Job[settleArgs]) time.Time { return soon(job.Attempt) }

func (w *settleWorker) Work(ctx context.Context, job *river.Job[settleArgs]) error {
	charges, err := db.ChargesOf(ctx, w.client.pool, []db.OrderRef{job.Args.OrderRef})
	if err != nil || len(charges) == 0 || charges[0].Status.Settled() {
		return err
	}
	charge := charges[0]
	said, err := w.client.lookUp(ctx, charge)
	switch {
	case err != nil:
		return err
	case said != nil:
		return w.client.settle(ctx, charge, charged(said))
	case !charge.Wanted && time.Since(charge.BegunAt) < givenUpAfter:
		return errNotYet
	case !charge.Wanted:
		return w.client.settle(ctx, charge, db.Charged{Status: db.Void})
	}
	now, err := w.client.charge(ctx, charge)
	if err == nil && (now == "" || now == db.Unknown) {
		err = errNotYet
	}
	return err
}

// lookUp is what the provider says of a charge, nil if it does not know the key. It waits for a charge
// under way, at most lookFor.
func (c *Client) lookUp(ctx context.Context, charge *db.Charge) (*ProviderCharge, error) {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	for {
		said, err := c.provider.LookUp(ctx, charge.Key())
		if err != nil || said == nil || !said.Processing {
			return said, err
		}
		select {
		case <-ctx.Done():
			return nil, errNotYet
		case <-time.After(lookEvery):
		}
	}
}
