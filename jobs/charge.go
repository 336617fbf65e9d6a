package jobs

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

const (
	// chargePatience is how long the charges of a group wait for one answer before that order leaves
	// with a job of its own, so that the others do not wait behind it.
	chargePatience = 2 * time.Second
	// createPatience is shorter: no money moves yet, and the whole group waits for it.
	createPatience = time.Second
	// chargesAtOnce bounds the charges under way at the provider for one group.
	chargesAtOnce = 32
)

type chargeArgs struct {
	Orders orderList `json:"orders"`
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

// Work makes all intents, stores their ids in one statement, and confirms them. Whatever does not go straight
// through leaves with a job of its own.
func (w *chargeWorker) Work(ctx context.Context, job *river.Job[chargeArgs]) error {
	charges, err := w.charges(ctx, job)
	if err != nil {
		return err
	}
	g := &chargeGroup{client: w.client}
	for _, charge := range charges {
		if charge.Status == db.Pending {
			g.parts = append(g.parts, &part{charge: charge, next: next(knownOf(charge), said{})})
		}
	}
	g.each(ctx, toCreate, createPatience, w.client.provider.Create)
	failpoint(toCreate)
	err = g.store(ctx)
	failpoint(toStore)
	if err == nil {
		g.each(ctx, toConfirm, chargePatience, w.client.provider.Confirm)
		failpoint(toConfirm)
		err = g.settle(ctx)
		failpoint(toSettle)
	}
	return errors.Join(err, g.leave(ctx))
}

func (w *chargeWorker) charges(ctx context.Context, job *river.Job[chargeArgs]) ([]*db.Charge, error) {
	if job.Attempt == 1 {
		return w.client.orders.BegunCharges(ctx, job.Args.Orders)
	}
	return db.ChargesOf(ctx, w.client.pool, job.Args.Orders)
}

// chargeGroup are the charges of one group commit on their way.
type chargeGroup struct {
	client *Client
	parts  []*part
}

// part is one charge of a group. Only the goroutine that has it in hand touches it.
type part struct {
	charge *db.Charge
	next   step
}

// each does one thing at the provider about all parts for which it is next. What cannot begin within the patience
// is left as it is.
func (g *chargeGroup) each(ctx context.Context, what act, patience time.Duration, ask func(context.Context, *db.Charge) said) {
	var due []*part
	for _, p := range g.parts {
		if p.next.Do == what {
			due = append(due, p)
		}
	}
	end := time.Now().Add(patience)
	var taken atomic.Int64
	var asking sync.WaitGroup
	for range min(len(due), chargesAtOnce) {
		asking.Go(func() { // one goroutine for many charges: its stack grows once
			for ctx.Err() == nil && time.Now().Before(end) {
				n := int(taken.Add(1)) - 1
				if n >= len(due) {
					return
				}
				g.ask(ctx, due[n], patience, ask)
			}
		})
	}
	asking.Wait()
}

// ask does one thing at the provider about one part, and finds what is next.
func (g *chargeGroup) ask(ctx context.Context, p *part, patience time.Duration, ask func(context.Context, *db.Charge) said) {
	asked, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	heard := ask(asked, p.charge)
	if ctx.Err() != nil {
		return // the job ends, and with it what can be said of an answer that did not come
	}
	g.client.logAnswer(ctx, p.charge, heard)
	p.next = next(knownOf(p.charge), heard)
	if p.next.Do == toStore {
		p.charge.Intent = heard.Intent.ID
	}
}

// store takes note of the intents, and of the charges that are not wanted and will have none.
func (g *chargeGroup) store(ctx context.Context) error {
	var charges []*db.Charge
	for _, p := range g.parts {
		if p.next.Do == toStore || p.next.Do == toRenounce {
			charges = append(charges, p.charge)
		}
	}
	if len(charges) == 0 {
		return nil
	}
	stored, err := db.StoreIntents(ctx, g.client.pool, charges)
	if err != nil {
		return err
	}
	var refused []*db.Charge
	for _, p := range g.parts {
		switch do := p.next.Do; {
		case do != toStore && do != toRenounce:
		case !stored[p.charge.OrderRef]:
			refused = append(refused, p.charge)
			p.next = step{Do: toRead}
		case do == toStore:
			p.next = step{Do: toConfirm}
		default:
			p.charge.Renounced = true
			p.next = next(knownOf(p.charge), said{})
		}
	}
	g.client.discard(ctx, refused)
	return nil
}

// settle records what was decided, all at once so that it goes into few commits. Where the order has another attempt by
// now, begun at another process, this was not what the job is about.
func (g *chargeGroup) settle(ctx context.Context) error {
	var settling errgroup.Group
	for _, p := range g.parts {
		if p.next.Do == toSettle {
			settling.Go(func() error {
				order, err := g.client.settle(ctx, p.charge, p.next.Settle)
				if err == nil && order.Payment.Attempt != p.charge.Attempt {
					p.next = step{Do: toRead}
				}
				return err
			})
		}
	}
	return settling.Wait()
}

// leave gives what is not settled jobs of its own, which find out what our books and the provider know.
func (g *chargeGroup) leave(ctx context.Context) error {
	var leaving []db.OrderRef
	for _, p := range g.parts {
		if p.next.Do != toEnd && p.next.Do != toSettle {
			leaving = append(leaving, p.charge.OrderRef)
		}
	}
	if len(leaving) == 0 {
		return nil
	}
	_, err := g.client.river.InsertManyFast(ctx, settles(leaving))
	return err
}

// discard cancels intents that were made and not stored, for tidiness: nobody can confirm them. Where the provider
// does not answer they stay as they are.
func (c *Client) discard(ctx context.Context, charges []*db.Charge) {
	if len(charges) == 0 {
		return
	}
	refs := make([]db.OrderRef, len(charges))
	for i, charge := range charges {
		refs[i] = charge.OrderRef
	}
	now, err := db.ChargesOf(ctx, c.pool, refs)
	if err != nil {
		return
	}
	stored := make(map[string]bool, len(now))
	for _, charge := range now {
		stored[charge.Intent] = true
	}
	patience, cancel := context.WithTimeout(ctx, createPatience)
	defer cancel()
	var asking sync.WaitGroup
	for _, charge := range charges[:min(len(charges), chargesAtOnce)] {
		if charge.Intent != "" && !stored[charge.Intent] {
			asking.Go(func() { c.provider.Cancel(patience, charge, reasonFinished) })
		}
	}
	asking.Wait()
}

// knownOf is what our books say of a charge.
func knownOf(c *db.Charge) known {
	return known{Settled: c.Status.Settled() || c.Status == db.RefundPending, Void: c.Status == db.Void, Unknown: c.Status == db.Unknown, Wanted: c.Wanted,
		Renounced: c.Renounced, Intent: c.Intent}
}

func (c *Client) settle(ctx context.Context, charge *db.Charge, said db.Charged) (*db.Order, error) {
	said.Attempt, said.Ref = charge.Attempt, charge.Intent
	return c.orders.Settle(ctx, charge.OrderRef, db.Settle(said))
}

// logAnswer tells of an answer that is none of those that a customer causes.
func (c *Client) logAnswer(ctx context.Context, charge *db.Charge, heard said) {
	level := slog.LevelWarn
	switch heard.Word {
	case told, declined:
		return
	case silent, failing, busy, astray: // of all but the last the provider's tallies tell
		level = slog.LevelDebug
	case defect:
		level = slog.LevelError
	}
	c.config.Log.LogAttrs(ctx, level, "the provider did not do as it was asked; what it knows of the charge decides what follows",
		slog.Int("store_id", int(charge.StoreID)), slog.String("order", charge.ID.String()), slog.Int("attempt", charge.Attempt),
		slog.String("intent", charge.Intent), slog.String("meaning", string(heard.Word)), slog.Any("error", heard.Err))
}
