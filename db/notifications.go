package db

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// claimLost is how long after its claim a message that was never finished counts as lost with its
// process: nobody knows whether it was sent, so it is not sent again.
const claimLost = 30 * time.Second

// ErrClaimBusy asks to try again: an earlier message about the same subject is being sent right now.
var ErrClaimBusy = errors.New("an earlier message is being sent")

// Notification is one message of a kind about a subject on a channel; there is never a second one.
type Notification struct {
	StoreID int32 // 0: the chain
	Subject uuid.UUID
	Kind    string
	Channel string // email, sms or push
	Address string
	Stale   string // why it says nothing true any more, if its sender knows that; what became of an order is looked at at the claim
}

// ClaimNotification claims the right to send the message, or says why it must not be sent. Claims about
// one subject are made one after the other, so that a confirmation never follows the message that the
// order is ready.
func ClaimNotification(ctx context.Context, pool *pgxpool.Pool, n Notification) (why string, err error) {
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `select pg_advisory_xact_lock(hashtextextended($1::text, 7))`, n.Subject); err != nil {
			return err
		}
		if why, err = n.obstacle(ctx, tx); err != nil || why == sentAlready {
			return err
		}
		if why != "" {
			return n.suppress(ctx, tx, why)
		}
		_, err := tx.Exec(ctx, `
    insert into notifications (store_id, subject, kind, channel, status)
    values ($1, $2, $3, $4, 'sending')
    on conflict (subject, store_id, kind, channel) do update set status = 'sending', claimed_at = now()`,
			n.StoreID, n.Subject, n.Kind, n.Channel)
		return err
	})
	return why, err
}

const sentAlready = "sent already"

// obstacle is why the message must not be sent.
func (n Notification) obstacle(ctx context.Context, tx pgx.Tx) (string, error) {
	var allowed, ready bool
	var own, confirmed string
	var status Status
	var fresh bool // whoever has claimed it may still be sending it
	err := tx.QueryRow(ctx, `
    select coalesce((select allowed from notification_preferences where address = $5 and kind = $3 and channel = $4), $3 <> 'marketing'),
           coalesce(max(status) filter (where channel = $4 and kind = $3), ''),
           coalesce(max(status) filter (where channel = $4 and kind = 'order_confirmed'), ''),
           coalesce(bool_or(kind = 'order_ready' and status in ('sending', 'sent')), false),
           coalesce(max(claimed_at) filter (where channel = $4 and status = 'sending') > now() - $6::interval, true),
           coalesce((select status from orders where store_id = $1 and id = $2), '')
    from notifications
    where store_id = $1 and subject = $2`, n.StoreID, n.Subject, n.Kind, n.Channel, n.Address, claimLost).
		Scan(&allowed, &own, &confirmed, &ready, &fresh, &status)
	switch {
	case err != nil:
		return "", err
	case own == "sending" && fresh:
		return "", ErrClaimBusy
	case own == "sending": // it counts as sent from now on: a failed one would be tried again
		return sentAlready, n.finish(ctx, tx, "sent", "failed", "the process ended while sending; not sent again")
	case own == "sent":
		return sentAlready, nil
	case n.Stale != "":
		return n.Stale, nil
	case n.overtaken(status):
		return "the order is " + string(status) + " by now", nil
	case !allowed:
		return "the recipient does not want it", nil
	case n.Kind == "order_confirmed" && ready:
		return "the message that it is ready came first", nil
	case n.Kind == "order_ready" && confirmed == "sending" && fresh:
		return "", ErrClaimBusy
	}
	return "", nil
}

// overtaken tells whether the message says nothing true any more of its order.
func (n Notification) overtaken(now Status) bool {
	switch n.Kind {
	case "order_ready":
		return now != Ready
	case "order_confirmed":
		return now != StatusPlaced && now != InProgress
	case "order_cancelled":
		return now != Cancelled && now != Expired
	}
	return false
}

// suppress records that a message was not sent, and why, unless it was sent already. That is no last word: an order that
// was ready by mistake gets ready again.
func (n Notification) suppress(ctx context.Context, tx pgx.Tx, why string) error {
	tag, err := tx.Exec(ctx, `
    insert into notifications (store_id, subject, kind, channel, status)
    values ($1, $2, $3, $4, 'suppressed')
    on conflict (subject, store_id, kind, channel) do update set status = 'suppressed' where notifications.status = 'failed'`,
		n.StoreID, n.Subject, n.Kind, n.Channel)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return n.log(ctx, tx, "suppressed", why)
}

// FinishNotification records how sending a claimed message ended.
func FinishNotification(ctx context.Context, pool *pgxpool.Pool, n Notification, failure error) error {
	outcome, detail := "sent", ""
	if failure != nil {
		outcome, detail = "failed", failure.Error()
	}
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return n.finish(ctx, tx, outcome, outcome, detail) })
}

func (n Notification) finish(ctx context.Context, tx pgx.Tx, status, outcome, detail string) error {
	_, err := tx.Exec(ctx, `
    update notifications
    set status = $5
    where store_id = $1 and subject = $2 and kind = $3 and channel = $4`, n.StoreID, n.Subject, n.Kind, n.Channel, status)
	if err != nil {
		return err
	}
	return n.log(ctx, tx, outcome, detail)
}

func (n Notification) log(ctx context.Context, tx pgx.Tx, outcome, detail string) error {
	_, err := tx.Exec(ctx, `
    insert into notification_log (store_id, id, subject, kind, channel, address, outcome, detail)
    values ($1, $2, $3, $4, $5, $6, $7, nullif($8, ''))`,
		n.StoreID, newID(time.Now()), n.Subject, n.Kind, n.Channel, n.Address, outcome, detail)
	return err
}
