package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"frenchpress/db"
)

const (
	lookEvery = 500 * time.Millisecond
	lookFor   = 10 * time.Second
	// stepsMost bounds what one job does about one charge: more than any way to the end takes.
	stepsMost = 60
)

// errNotYet is a provider that is still working on a charge, or cannot be asked.
var errNotYet = errors.New("the provider has not decided yet")

type settleArgs struct {
	db.OrderRef
}

func (settleArgs) Kind() string { return "settle" }

func (settleArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSettle, MaxAttempts: 50}
}

// settleWorker carries one charge on until it is settled: what the provider says of its intent decides.
type settleWorker struct {
	river.WorkerDefaults[settleArgs]
	client *Client
}

func (w *settleWorker) Work(ctx context.Context, job *river.Job[settleArgs]) error {
	charge, err := w.client.charge(ctx, job.Args.OrderRef)
	if err != nil || charge == nil {
		return err
	}
	return w.client.carryOn(ctx, charge, said{})
}

// charge is the order's current one, nil where it has none.
func (c *Client) charge(ctx context.Context, ref db.OrderRef) (*db.Charge, error) {
	charges, err := db.ChargesOf(ctx, c.pool, []db.OrderRef{ref})
	if err != nil || len(charges) == 0 {
		return nil, err
	}
	return charges[0], nil
}

// carryOn does what is next about a charge, again and again, until it is settled or the time is up. Heard is what the
// provider said of it last.
func (c *Client) carryOn(ctx context.Context, charge *db.Charge, heard said) error {
	end := time.Now().Add(lookFor)
	for range stepsMost {
		do := next(knownOf(charge), heard)
		var err error
		switch do.Do {
		case toEnd:
			return nil
		case toGiveUp:
			return fmt.Errorf("this charge needs somebody to look at it: %w", heard.fault())
		case toWait:
			if time.Now().After(end) {
				return errors.Join(errNotYet, heard.Err)
			}
			charge, err = c.pause(ctx, charge)
			heard = said{}
		case toSettle:
			_, err = c.settle(ctx, charge, do.Settle)
			failpoint(toSettle)
			if err != nil || do.Settle.Status != db.Unknown {
				return err
			}
			charge.Status, heard = db.Unknown, said{}
		case toStore, toRenounce, toMoveOn:
			charge, err = c.keep(ctx, charge, do.Do, heard)
			failpoint(do.Do)
			if charge == nil || heard.Intent == nil || heard.Intent.ID != charge.Intent {
				heard = said{} // it was about an intent that is not the charge's, or about a key that is spent
			}
		default:
			heard = c.ask(ctx, charge, do)
			failpoint(do.Do)
			err = ctx.Err()
		}
		if err != nil || charge == nil {
			return err
		}
	}
	return errNotYet
}

func (s said) fault() error {
	if s.Err != nil {
		return s.Err
	}
	return fmt.Errorf("the intent is %q, which nobody asked for", s.Intent.State)
}

// pause waits a little and looks at the charge again: the order may not be wanted any more.
func (c *Client) pause(ctx context.Context, charge *db.Charge) (*db.Charge, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(lookEvery):
		return c.charge(ctx, charge.OrderRef)
	}
}

// keep stores the intent, that there is none, or the next key, and reads what our books say then.
func (c *Client) keep(ctx context.Context, charge *db.Charge, what act, heard said) (*db.Charge, error) {
	made := *charge
	if what == toStore {
		made.Intent = heard.Intent.ID
	}
	var err error
	if what == toMoveOn {
		err = db.MoveOn(ctx, c.pool, charge)
	} else {
		_, err = db.StoreIntents(ctx, c.pool, []*db.Charge{&made})
	}
	if err != nil {
		return nil, err
	}
	now, err := c.charge(ctx, charge.OrderRef)
	if err == nil && now != nil && now.Intent != made.Intent {
		c.discard(ctx, []*db.Charge{&made})
	}
	return now, err
}

// ask asks the provider once.
func (c *Client) ask(ctx context.Context, charge *db.Charge, do step) said {
	patience, cancel := context.WithTimeout(ctx, chargePatience)
	defer cancel()
	var heard said
	switch do.Do {
	case toCreate:
		heard = c.provider.Create(patience, charge)
	case toConfirm:
		heard = c.provider.Confirm(patience, charge)
	case toCancel:
		heard = c.provider.Cancel(patience, charge, do.Reason)
	default:
		heard = c.provider.Read(patience, charge.Intent)
	}
	c.logAnswer(ctx, charge, heard)
	return heard
}
