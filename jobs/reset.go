package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"frenchpress/db"
)

type resetArgs struct {
	Reset uuid.UUID `json:"reset"`
}

func (resetArgs) Kind() string { return "password_reset" }

func (resetArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueNotify, MaxAttempts: letterTries}
}

// RequestReset sends a code to the member of staff of that name, if there is one who has an address. Nobody can tell
// by the answer, nor by the time that it takes.
func (c *Client) RequestReset(ctx context.Context, name string) error {
	return db.RequestReset(ctx, c.pool, name, func(ctx context.Context, tx pgx.Tx, reset uuid.UUID) error {
		_, err := c.river.InsertTx(ctx, tx, resetArgs{reset}, nil)
		return err
	})
}

// resetWorker sends the code with which somebody sets a new password.
type resetWorker struct {
	river.WorkerDefaults[resetArgs]
	client *Client
}

func (w *resetWorker) Work(ctx context.Context, job *river.Job[resetArgs]) error {
	reset, err := db.FindReset(ctx, w.client.pool, job.Args.Reset)
	if errors.Is(err, db.ErrNotFound) {
		return nil // nobody, or they have asked again
	}
	if err != nil {
		return err
	}
	return unlessBusy([]error{w.client.send(ctx, Message{
		Notification: db.Notification{
			StoreID: db.Chain, Subject: reset.ID, Kind: "password_reset", Channel: "email", Address: reset.Email, Stale: reset.Stale(time.Now()),
		},
		Text: fmt.Sprintf("%s, your code for a new password is %s. It works once, within %d minutes. If you did not ask for it, do nothing: your password stays.",
			reset.Name, reset.Code(w.client.config.Secret), int(db.ResetLife/time.Minute)),
	})})
}
