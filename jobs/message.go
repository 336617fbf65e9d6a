package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/stripe/stripe-go/v85/webhook"

	"frenchpress/db"
)

const (
	// signedWithin is how old a message may be: whoever has listened in cannot send it again later.
	signedWithin = 5 * time.Minute
	// messagesKept is longer than the provider goes on sending what it had no answer to, which is three days.
	messagesKept = 14 * 24 * time.Hour
	// idMost is the longest id of the provider's that is taken.
	idMost = 255
)

// Delivery is what the provider tells of by itself.
type Delivery struct {
	ID     string
	Type   string
	Object string // the intent or refund that it is about
}

// Faults of a message.
var (
	ErrSignature = errors.New("the signature is not the provider's, or too old")
	ErrMessage   = errors.New("this is not a message of the provider")
)

// ReadDelivery checks a message's signature and reads which one it is. It is believed in nothing else.
func ReadDelivery(raw []byte, signature, secret string) (Delivery, error) {
	if err := webhook.ValidatePayloadWithTolerance(raw, signature, secret, signedWithin); err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	var in struct {
		ID   string `json:"id"`
		Type string `json:"type"`
		Data struct {
			Object struct {
				ID string `json:"id"`
			} `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	m := Delivery{in.ID, in.Type, in.Data.Object.ID}
	if db.TextFault(m.ID, 1, idMost) != "" || m.Type == "" || db.TextFault(m.Object, 0, idMost) != "" || m.worth() && m.Object == "" {
		return Delivery{}, ErrMessage
	}
	return m, nil
}

// worth tells whether something may have to be done about the message. Of what is created, attached or charged we
// learn nothing that we do not know.
func (m Delivery) worth() bool {
	switch m.Type {
	case "payment_intent.succeeded", "payment_intent.payment_failed", "payment_intent.canceled", "payment_intent.requires_action",
		"refund.updated", "refund.failed", "charge.refund.updated":
		return true
	}
	return false
}

// Take keeps a message and makes a job of it, both or none. One that came before, or that nothing follows from, is
// taken without more.
func (c *Client) Take(ctx context.Context, m Delivery) error {
	if !m.worth() {
		return nil
	}
	defer failpoint(toTake)
	return pgx.BeginFunc(ctx, c.pool, func(tx pgx.Tx) error {
		fresh, err := db.TakeMessage(ctx, tx, m.ID, m.Type, m.Object)
		if err != nil || !fresh {
			return err
		}
		_, err = c.river.InsertTx(ctx, tx, messageArgs{m.ID}, nil)
		return err
	})
}

type messageArgs struct {
	Message string `json:"m"`
}

func (messageArgs) Kind() string { return "provider_message" }

func (messageArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: queueSettle, MaxAttempts: 25}
}

// messageWorker reads from the provider what became of the intent or refund that a message was about. What the
// message itself says does not count, so that their order and their number do not either.
type messageWorker struct {
	river.WorkerDefaults[messageArgs]
	client *Client
}

func (w *messageWorker) Work(ctx context.Context, job *river.Job[messageArgs]) error {
	kind, object, err := db.MessageAbout(ctx, w.client.pool, job.Args.Message)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // forgotten by now
	}
	if err != nil {
		return err
	}
	if strings.HasPrefix(kind, "payment_intent.") {
		return w.client.hearOfIntent(ctx, object)
	}
	return w.client.hearOfRefund(ctx, object)
}

// hearOfIntent carries on with the charge whose intent it is.
func (c *Client) hearOfIntent(ctx context.Context, id string) error {
	heard, charge, err := c.readIntent(ctx, id)
	failpoint(toHear)
	switch {
	case err != nil:
		return err
	case charge == nil || charge.Intent != id:
		c.config.Log.LogAttrs(ctx, slog.LevelDebug, "the provider tells of an intent that is no order's now", slog.String("intent", id))
		return nil
	}
	if err := c.carryOn(ctx, charge, heard); !errors.Is(err, errNotYet) {
		return err
	}
	return nil // the order has a job of its own that waits
}

// readIntent is an intent with the charge of the order that it names, if there is one.
func (c *Client) readIntent(ctx context.Context, id string) (said, *db.Charge, error) {
	patience, cancel := context.WithTimeout(ctx, chargePatience)
	defer cancel()
	heard := c.provider.Read(patience, id)
	if heard.Word != told {
		return heard, nil, heard.Err
	}
	ref, ok := db.ParseReference(heard.Intent.Order)
	if !ok {
		return heard, nil, nil
	}
	charge, err := c.charge(ctx, ref)
	return heard, charge, err
}

// hearOfRefund asks again for a refund that is waited for; the provider then says what became of it. One that it said was
// done and that came back is a difference, which staff see.
func (c *Client) hearOfRefund(ctx context.Context, id string) error {
	patience, cancel := context.WithTimeout(ctx, chargePatience)
	defer cancel()
	refund, err := c.provider.ReadRefund(patience, id)
	if err != nil || refund.Intent == "" { // of a charge that is not ours
		return err
	}
	_, charge, err := c.readIntent(ctx, refund.Intent)
	if err != nil || charge == nil || charge.Intent != refund.Intent {
		return err
	}
	if !refund.Gone() {
		if err := c.examineAll(ctx, []db.Suspect{{Intent: charge.Intent, OrderRef: charge.OrderRef, Attempt: charge.Attempt}}); err != nil {
			return err
		}
	}
	if charge.Status == db.RefundPending {
		_, err = c.refund(ctx, charge.OrderRef) // one that is undecided still has its own job
	}
	return err
}
