package jobs

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"

	"frenchpress/db"
)

const (
	// lettersPerJob and lettersAtOnce: three channels may take a second each for every order of a job, and it ends in time.
	lettersPerJob = 50
	lettersAtOnce = 13
	// letterTries outlast seven minutes without the channel, or the database.
	letterTries = 50
)

type notifyArgs struct {
	Notices noticeList `json:"notices"`
}

func (notifyArgs) Kind() string { return "notify" }

func (notifyArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueNotify, MaxAttempts: letterTries}
}

// notifyWorker sends messages that one group of changes asked for.
type notifyWorker struct {
	river.WorkerDefaults[notifyArgs]
	client *Client
}

func (w *notifyWorker) Work(ctx context.Context, job *river.Job[notifyArgs]) error {
	return unlessBusy(sendEach(job.Args.Notices, func(notice db.Notice) error { return w.client.notifyOrder(ctx, notice) }))
}

// sendEach sends what one job has to send, lettersAtOnce at a time, and says what became of each.
func sendEach[T any](all []T, send func(T) error) []error {
	outcomes := make([]error, len(all))
	var letters errgroup.Group
	letters.SetLimit(lettersAtOnce)
	for i, one := range all {
		letters.Go(func() error {
			outcomes[i] = send(one)
			return nil
		})
	}
	_ = letters.Wait() // each has an outcome of its own
	return outcomes
}

// unlessBusy is what a job comes to that sent several messages: it waits a little where nothing failed but some are
// being sent by another.
func unlessBusy(outcomes []error) error {
	var failed error
	busy := false
	for _, err := range outcomes {
		if errors.Is(err, db.ErrClaimBusy) {
			busy = true
		} else {
			failed = errors.Join(failed, err)
		}
	}
	if failed == nil && busy {
		return river.JobSnooze(busyFor)
	}
	return failed
}

// busyFor is how long a message waits for an earlier one to the same customer.
const busyFor = 2 * time.Second

// notifyOrder sends one message about an order to every channel its customer has.
func (c *Client) notifyOrder(ctx context.Context, notice db.Notice) error {
	order, err := db.OrderByID(ctx, c.pool, notice.OrderRef)
	if err != nil {
		return err
	}
	m := Message{db.Notification{StoreID: notice.StoreID, Subject: notice.ID, Kind: notice.Kind}, messageText(notice.Kind, order)}
	var failed error
	for _, address := range order.Contact.Addresses() {
		m.Channel, m.Address = address.Channel, address.To
		failed = errors.Join(failed, c.send(ctx, m))
	}
	return failed
}

// send sends a message on its channel at most once: it is claimed before, and what was claimed is never sent again unless
// the channel said for certain that it was not sent. Every attempt is logged, also one that was suppressed.
func (c *Client) send(ctx context.Context, m Message) error {
	if why, err := db.ClaimNotification(ctx, c.pool, m.Notification); err != nil || why != "" {
		return err
	}
	err := c.post(ctx, m)
	keeping, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepWithin)
	defer cancel()
	return errors.Join(err, db.FinishNotification(keeping, c.pool, m.Notification, err))
}
