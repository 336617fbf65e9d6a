package jobs

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"frenchpress/db"
)

// announceArgs walk over the subscribers: those after After are still to come.
type announceArgs struct {
	Campaign uuid.UUID `json:"campaign"`
	After    int64     `json:"after"`
}

func (announceArgs) Kind() string                 { return "announce" }
func (announceArgs) InsertOpts() river.InsertOpts { return announceOpts() }

// pageArgs send to the subscribers after After, through Through.
type pageArgs struct {
	Campaign uuid.UUID `json:"campaign"`
	After    int64     `json:"after"`
	Through  int64     `json:"through"`
}

func (pageArgs) Kind() string                 { return "announce_page" }
func (pageArgs) InsertOpts() river.InsertOpts { return announceOpts() }

func announceOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueAnnounce, MaxAttempts: letterTries}
}

// Announce sends a text of 1 to 500 characters to everybody who wants news, and says how many they are now.
func (c *Client) Announce(ctx context.Context, tx pgx.Tx, text string) (campaign uuid.UUID, subscribers int, err error) {
	if campaign, subscribers, err = db.AddCampaign(ctx, tx, text); err != nil {
		return uuid.Nil, 0, err
	}
	_, err = c.river.InsertTx(ctx, tx, announceArgs{Campaign: campaign}, nil)
	return campaign, subscribers, err
}

// announceWorker takes one step: the job of a page of subscribers, the job of the next step and its own end are one
// transaction, so that a crash leaves nobody out.
type announceWorker struct {
	river.WorkerDefaults[announceArgs]
	client *Client
}

func (w *announceWorker) Work(ctx context.Context, job *river.Job[announceArgs]) error {
	return pgx.BeginFunc(ctx, w.client.pool, func(tx pgx.Tx) error {
		page, err := db.Subscribers(ctx, tx, job.Args.After, 0, lettersPerJob)
		if err != nil {
			return err
		}
		var next []river.InsertManyParams
		if len(page) > 0 {
			through := page[len(page)-1].ID
			next = append(next, river.InsertManyParams{Args: pageArgs{job.Args.Campaign, job.Args.After, through}})
			if len(page) == lettersPerJob {
				next = append(next, river.InsertManyParams{Args: announceArgs{job.Args.Campaign, through}})
			}
			if _, err := w.client.river.InsertManyFastTx(ctx, tx, next); err != nil {
				return err
			}
		}
		_, err = river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job)
		return err
	})
}

// pageWorker sends to the subscribers of one page. Run again, it sends to those whom it has not reached.
type pageWorker struct {
	river.WorkerDefaults[pageArgs]
	client *Client
}

func (w *pageWorker) Work(ctx context.Context, job *river.Job[pageArgs]) error {
	text, err := db.CampaignText(ctx, w.client.pool, job.Args.Campaign)
	if err != nil {
		return err
	}
	var outcomes []error
	for after := job.Args.After; ; { // once, but for those who changed their minds meanwhile
		page, err := db.Subscribers(ctx, w.client.pool, after, job.Args.Through, lettersPerJob)
		if err != nil || len(page) == 0 {
			return errors.Join(err, unlessBusy(outcomes))
		}
		outcomes = append(outcomes, w.send(ctx, job.Args.Campaign, text, page)...)
		after = page[len(page)-1].ID
	}
}

// send tells each subscriber, and what became of it.
func (w *pageWorker) send(ctx context.Context, campaign uuid.UUID, text string, to []db.Subscriber) []error {
	return sendEach(to, func(subscriber db.Subscriber) error {
		return w.client.send(ctx, Message{db.Notification{
			StoreID: db.Chain, Subject: campaignSubject(campaign, subscriber.To), Kind: "marketing",
			Channel: subscriber.Channel, Address: subscriber.To,
		}, text})
	})
}

// campaignSubject is what makes a message of a campaign to an address the only one.
func campaignSubject(campaign uuid.UUID, address string) uuid.UUID {
	return uuid.NewSHA1(campaign, []byte(address))
}
