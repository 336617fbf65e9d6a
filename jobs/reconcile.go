package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

const (
	reconcileEvery = time.Minute
	// reconcileWithin bounds a run, so that it is over when the next one is due, which goes on from there.
	reconcileWithin = 40 * time.Second
	// unsettledFor is how long a payment may be under way before that is a difference.
	unsettledFor = 2 * time.Minute
	// firstLook is how far back the first run looks.
	firstLook = 24 * time.Hour
	// windowLongest and windowShortest bound the time that is compared at once, and windowMost the charges in it. It grows
	// while fewer than windowUsual would be in it: the fewer windows, the less is read twice.
	windowLongest  = 6 * time.Hour
	windowShortest = 20 * time.Second
	windowUsual    = 100_000
	windowMost     = 250_000
	// overlap is how much of the time of before is looked at again, and lag is how much the provider's clock and ours may
	// be apart, or an intent come later than its payment: more than that costs a look at the one charge.
	overlap = 5 * time.Second
	lag     = 5 * time.Second
	// muchLater is how long after their payments intents are looked for where many are missing.
	muchLater = 5 * time.Minute
	// suspectsMost bounds the charges of a window that are looked at one by one.
	suspectsMost = 2000
	// readsAtOnce bounds the provider's answers waited for at a time.
	readsAtOnce = 8
	// againAtOnce is how many charges are looked at again before what was seen is kept.
	againAtOnce = 8 * readsAtOnce
	// keepWithin bounds the writing of what has to be kept even when a job's time is up.
	keepWithin = 5 * time.Second
	// differencesKept is how long a difference is remembered once it is resolved.
	differencesKept = 90 * 24 * time.Hour
)

type reconcileArgs struct{}

func (reconcileArgs) Kind() string                 { return "reconcile" }
func (reconcileArgs) InsertOpts() river.InsertOpts { return timerOpts() }

// reconcileWorker compares the provider's books with ours.
type reconcileWorker struct {
	river.WorkerDefaults[reconcileArgs]
	client *Client
}

// Timeout is longer than that of other jobs: this one mostly rests.
func (w *reconcileWorker) Timeout(*river.Job[reconcileArgs]) time.Duration {
	return reconcileWithin + keepWithin
}

// Work never fails: what it did not get to is the next run's, which a second attempt would only stand beside.
func (w *reconcileWorker) Work(ctx context.Context, _ *river.Job[reconcileArgs]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(w.client.stopping, cancel)()
	if err := w.client.Reconcile(ctx, time.Now().Add(-unsettledFor)); err != nil && w.client.stopping.Err() == nil {
		w.client.config.Log.LogAttrs(ctx, slog.LevelWarn, "the provider's books could not be compared with ours to the end; the next run goes on",
			slog.Any("error", err))
	}
	return nil
}

// Reconcile compares the provider's books with ours, from where that ended last until a moment, or as far as it gets
// in reconcileWithin, and looks again at the open differences. Neither waits for what keeps the other from its end.
func (c *Client) Reconcile(ctx context.Context, until time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, reconcileWithin)
	defer cancel()
	err := c.lookAgain(ctx)
	if err != nil {
		err = fmt.Errorf("looking again at open differences: %w", err)
	}
	return errors.Join(err, c.lookOn(ctx, until))
}

// lookOn compares what came since the last time. It begins with a short window, and takes no longer one than there is time
// for, so that every run gets on, however slow the provider's lists and however much there is.
func (c *Client) lookOn(ctx context.Context, until time.Time) error {
	last, err := db.LastReconciliation(ctx, c.pool)
	if err != nil {
		return err
	}
	from := until.Add(-firstLook)
	switch {
	case last == nil:
	case last.Ahead:
		c.config.Log.Error("the books are said to be compared until a time to come, by a clock that was fast: comparing the last day again",
			slog.Time("done_until", last.DoneUntil))
	default:
		from = last.DoneUntil
	}
	began, until := from, until.Truncate(time.Second).Add(time.Second)
	for span := windowShortest; from.Before(until); {
		end := from.Add(span)
		if end.After(until) {
			end = until
		}
		started := time.Now()
		charges, err := c.reconcileWindow(ctx, from.Add(-overlap), end)
		switch {
		case errors.Is(err, errTooMany) && span > windowShortest:
			span = max(span/4, windowShortest)
			continue
		case errors.Is(ctx.Err(), context.DeadlineExceeded) && from.After(began):
			return nil // the next run goes on
		case err != nil:
			return fmt.Errorf("comparing the provider's books with ours from %s until %s: %w", from.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), err)
		case charges < windowUsual/4:
			span = min(4*span, windowLongest)
		}
		span = min(span, longestIn(ctx, end.Sub(from), time.Since(started)))
		from = end
	}
	return nil
}

// longestIn is how long a window may be to be read in half of the time until a context ends, if one of a span took that long:
// the other half is for what takes longer than expected.
func longestIn(ctx context.Context, span, took time.Duration) time.Duration {
	ends, ok := ctx.Deadline()
	if !ok {
		return windowLongest
	}
	longest := float64(span) * float64(time.Until(ends)) / 2 / float64(max(took, 1))
	return time.Duration(max(float64(windowShortest), min(longest, float64(windowLongest))))
}

// lookAgain examines the charges that stand still, whose time may have been compared before the money was taken, and the
// differences that are open, first those that were not looked at for longest. It takes half of the time at most: the
// next run goes on.
func (c *Client) lookAgain(ctx context.Context) error {
	suspects, err := c.stuck(ctx)
	if err != nil {
		return err
	}
	open, err := db.OpenDifferences(ctx, c.pool, suspectsMost)
	if err != nil {
		return err
	}
	slices.SortStableFunc(open, func(a, b db.Difference) int { return a.LastSeen.Compare(b.LastSeen) })
	for _, d := range open {
		ref, _ := db.ParseReference(d.Order) // without an order: the intent may name one by now
		suspects = append(suspects, db.Suspect{Intent: d.Ref, OrderRef: ref})
	}
	ends, _ := ctx.Deadline()
	half, cancel := context.WithTimeout(ctx, time.Until(ends)/2)
	defer cancel()
	for some := range slices.Chunk(suspects, againAtOnce) {
		failed := c.examineAll(half, some)
		if half.Err() != nil {
			break
		}
		err = errors.Join(err, failed)
	}
	return err
}

// stuck are the charges that have not been settled for long, the oldest of them.
func (c *Client) stuck(ctx context.Context) (suspects []db.Suspect, err error) {
	unsettled, err := db.StuckCharges(ctx, c.pool, time.Now().Add(-unsettledFor), againAtOnce)
	if err != nil {
		return nil, err
	}
	charges, err := db.ChargesOf(ctx, c.pool, unsettled)
	for _, charge := range charges {
		if charge.Intent != "" {
			suspects = append(suspects, db.Suspect{Intent: charge.Intent, OrderRef: charge.OrderRef, Attempt: charge.Attempt})
		}
	}
	return suspects, err
}

// reconcileWindow compares a time, and takes note that it is done up to its end, but for what may be under way. It
// returns how many charges the provider has of that time.
func (c *Client) reconcileWindow(ctx context.Context, from, until time.Time) (charges int, err error) {
	from = from.Truncate(time.Second)
	theirs := new(window)
	if err := c.provider.Intents(ctx, from.Add(-lag), until.Add(lag), windowMost, theirs.addIntent); err != nil {
		return 0, err
	}
	if err := c.provider.Refunds(ctx, from.Add(-lag), until.Add(lag), windowMost, theirs.addRefund); err != nil {
		return 0, err
	}
	ours, err := db.Suspects(ctx, c.pool, &theirs.seen, from, until, suspectsMost)
	if err == nil && len(ours) > againAtOnce { // as when the provider was away: then intents come long after their payments
		err = c.provider.Intents(ctx, until.Add(lag), until.Add(lag+muchLater), windowMost, theirs.addIntent)
		if err == nil || errors.Is(err, errTooMany) {
			ours, err = db.Suspects(ctx, c.pool, &theirs.seen, from, until, suspectsMost)
		}
	}
	if err != nil {
		return 0, err
	}
	if len(ours) == suspectsMost {
		c.config.Log.LogAttrs(ctx, slog.LevelError, "the provider's books and ours differ in so many charges that not all of them are looked at",
			slog.Time("from", from), slog.Time("until", until), slog.Int("looked_at", suspectsMost))
	}
	if err := c.examineAll(ctx, append(theirs.suspects, ours...)); err != nil {
		return 0, err
	}
	settledUntil := time.Now().Add(-unsettledFor)
	if until.Before(settledUntil) {
		settledUntil = until
	}
	return theirs.intents, db.Reconciled(ctx, c.pool, settledUntil, unsettledFor, theirs.intents, theirs.refunds)
}

// window is what the provider's books say of a time: a hundred thousand charges of a rush take some 10 MB.
type window struct {
	seen             db.Seen
	suspects         []db.Suspect // what names no order of ours, and took or gave money
	intents, refunds int
}

func (w *window) addIntent(in *Intent) {
	w.intents++
	ref, ok := db.ParseReference(in.Order)
	if !ok && in.State == succeeded {
		w.suspects = append(w.suspects, db.Suspect{Intent: in.ID})
	}
	if !ok {
		return
	}
	received := in.Received
	if in.State != succeeded {
		received = 0
	}
	w.seen.Charges = append(w.seen.Charges, db.SeenCharge{Intent: in.ID, OrderRef: ref, Attempt: in.Attempt, Received: received})
}

func (w *window) addRefund(re *Refund) {
	w.refunds++
	if re.Intent == "" { // of a charge that is not ours
		return
	}
	ref, ok := db.ParseReference(re.Order)
	if !ok {
		w.suspects = append(w.suspects, db.Suspect{Intent: re.Intent})
		return
	}
	if re.Gone() {
		w.seen.Refunds = append(w.seen.Refunds, db.SeenRefund{Refund: re.ID, Intent: re.Intent, OrderRef: ref, Amount: re.Amount})
	}
}

// examineAll looks at each suspect alone, and keeps what is really different. One that the provider cannot be asked about
// is kept as well, and in nobody's way.
func (c *Client) examineAll(ctx context.Context, suspects []db.Suspect) error {
	if len(suspects) == 0 {
		return nil
	}
	found, failed := make([][]db.Difference, len(suspects)), make([]error, len(suspects))
	var reads errgroup.Group
	reads.SetLimit(readsAtOnce)
	for i, suspect := range suspects {
		reads.Go(func() error {
			found[i], failed[i] = c.examine(ctx, suspect)
			return nil
		})
	}
	_ = reads.Wait() // each has its own error
	var looked []string
	var all []db.Difference
	for i, suspect := range suspects {
		switch {
		case failed[i] == nil:
			looked, all = append(looked, suspect.Intent), append(all, found[i]...)
		case ctx.Err() == nil:
			e := evidence{intent: suspect.Intent, order: suspect.OrderRef}
			all = append(all, e.difference("charge_not_read", 0, 0, "the provider could not be asked about it"))
			c.config.Log.LogAttrs(ctx, slog.LevelWarn, "a charge could not be compared with the provider's books, which is tried again",
				slog.String("intent", suspect.Intent), slog.Any("error", failed[i]))
		}
	}
	return errors.Join(ctx.Err(), c.keepDifferences(ctx, looked, all))
}

// keepDifferences keeps what was found, even when the time is up, and tells of what is new.
func (c *Client) keepDifferences(ctx context.Context, looked []string, found []db.Difference) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWithin)
	defer cancel()
	fresh, err := db.KeepDifferences(ctx, c.pool, looked, found)
	for _, d := range fresh {
		c.config.Log.LogAttrs(ctx, slog.LevelWarn, "the provider's books and ours differ: "+d.Words+"; see /staff/payments",
			slog.String("kind", d.Kind), slog.String("intent", d.Ref), slog.String("order", d.Order),
			slog.Int64("ours", d.Ours), slog.Int64("provider", d.Provider))
	}
	return err
}
