package jobs

import (
	"context"
	"fmt"
	"log/slog"

	"frenchpress/db"
)

// Message is one notification on its way to one address, with its words.
type Message struct {
	db.Notification
	Text string
}

// logged writes a message to the log in the place of mail, text messages and pushes.
func logged(log *slog.Logger) func(context.Context, Message) error {
	return func(ctx context.Context, m Message) error {
		log.InfoContext(ctx, "message", "channel", m.Channel, "kind", m.Kind, "to", masked(m.Address), "store_id", m.StoreID,
			"subject", m.Subject, "text", m.Text)
		return nil
	}
}

// masked keeps addresses out of the log but for a hint of whose it is.
func masked(address string) string {
	if len(address) <= 4 {
		return "…"
	}
	return address[:2] + "…" + address[len(address)-2:]
}

func messageText(kind string, o *db.Order) string {
	name := o.Snapshot.Customer.Name
	switch kind {
	case "order_confirmed":
		return fmt.Sprintf("Thank you, %s. Your order %d is in.", name, o.Number)
	case "order_ready":
		return fmt.Sprintf("%s, your order %d is ready.", name, o.Number)
	case "order_cancelled":
		if o.Status == db.Expired {
			return fmt.Sprintf("%s, your order %d was not paid in time and has expired.", name, o.Number)
		}
		return fmt.Sprintf("%s, your order %d was cancelled.", name, o.Number)
	case "refund_issued":
		if o.Payment.Refunded < o.Payment.Captured {
			return fmt.Sprintf("%s, a part of the payment of your order %d was given back.", name, o.Number)
		}
		return fmt.Sprintf("%s, the payment of your order %d was given back.", name, o.Number)
	}
	return ""
}
