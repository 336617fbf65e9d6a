package db

import (
	"fmt"
	"slices"
	"time"
)

// legal lists where an order may go from each status. Whatever is not here never happens.
var legal = map[Status][]Status{
	PaymentPending: {StatusPlaced, PaymentFailed, Cancelled, Expired},
	PaymentFailed:  {PaymentPending, Cancelled, Expired},
	StatusPlaced:   {InProgress, Cancelled},
	InProgress:     {Ready, StatusPlaced, Cancelled},
	Ready:          {PickedUp, InProgress, Abandoned},
}

// move makes a new version of the order: another status, another state of its payment, or both.
func (o *Order) move(to Status, payment PaymentStatus, by, reason string, at time.Time) {
	if to != o.Status && !slices.Contains(legal[o.Status], to) {
		panic(fmt.Sprintf("order %s may not go from %s to %s", o.ID, o.Status, to))
	}
	at = o.stamp(at)
	o.Status, o.Payment.Status = to, payment
	o.Version++
	o.UpdatedAt = at
	o.Steps = append(o.Steps, Step{o.Version, to, payment, by, reason, at})
}

// stamp is a moment as the history keeps it: a clock that went back must not reorder it.
func (o *Order) stamp(at time.Time) time.Time {
	if at = at.UTC().Truncate(time.Microsecond); at.Before(o.UpdatedAt) {
		return o.UpdatedAt
	}
	return at
}

// finish ends an order that will not be made and says what becomes of the money: what was captured and
// not refunded yet goes back, a charge under way is waited for, anything else is void.
func (o *Order) finish(to Status, by, reason string, at time.Time) {
	payment := o.Payment.Status
	switch {
	case o.Payment.Captured > 0:
		o.beginRest(by, reason, at)
		payment = o.afterRefunds()
	case payment == Pending || payment == Unknown:
	default:
		payment = Void
	}
	o.move(to, payment, by, reason, at)
}

// Charged is what the provider said of a charge.
type Charged struct {
	Attempt int
	Status  PaymentStatus // Captured, Failed, Unknown, or Void: never charged and never will be
	Failure string        // a stable word for the customer, with Failed
	Ref     string        // the provider's own name of the charge
	Words   string        // what the provider said, for staff
}

// Settle records what the provider said of a charge. It changes nothing when the attempt is not the
// order's current one or is settled already. A charge that was given up comes to life again with a success, for that
// money has to go back.
func Settle(said Charged) Decision {
	return func(o *Order, now time.Time) error {
		open := o.Payment.Status == Pending || o.Payment.Status == Unknown
		revived := o.Payment.Status == Void && said.Status == Captured
		if said.Attempt != o.Payment.Attempt || (!open && !revived) {
			return nil
		}
		o.Payment.Ref, o.Payment.Words = said.Ref, said.Words
		switch said.Status {
		case Captured:
			o.capture(now)
		case Failed:
			o.Payment.Failure = said.Failure
			if o.Status == PaymentPending {
				o.move(PaymentFailed, Failed, "payment", "", now)
			} else {
				o.move(o.Status, Void, "payment", "", now)
			}
		case Unknown:
			if o.Payment.Status != Unknown {
				o.move(o.Status, Unknown, "payment", "", now)
			}
		case Void:
			if o.Status != PaymentPending { // an order still wanted is charged, not given up
				o.move(o.Status, Void, "payment", "", now)
			}
		}
		return nil
	}
}

// capture takes note of a success. It never revives a finished order: that money goes back.
func (o *Order) capture(now time.Time) {
	o.Payment.Captured, o.Payment.Failure = o.Snapshot.Total, ""
	if o.Status == PaymentPending {
		o.move(StatusPlaced, Captured, "payment", "", now)
		return
	}
	o.beginRest("payment", "", now)
	o.move(o.Status, o.afterRefunds(), "payment", "", now)
}

// PayAgain starts another charge after a failed one; else ErrNotPayable.
func PayAgain(token, by string) Decision {
	return func(o *Order, now time.Time) error {
		if o.Status != PaymentFailed {
			return ErrNotPayable
		}
		o.Payment.Attempt++
		o.Payment.Token, o.Payment.Failure = token, ""
		o.move(PaymentPending, Pending, by, "", now)
		return nil
	}
}

// since is when the order came into its state; a change of its money alone is no new one.
func (o *Order) since() time.Time {
	at := len(o.Steps) - 1
	for at > 0 && o.Steps[at-1].Status == o.Status {
		at--
	}
	return o.Steps[at].At
}

// CancelByCustomer cancels what is not yet being made; else ErrNotCancellable. An order cancelled
// already stays as it is, without an error.
func CancelByCustomer(by, reason string) Decision {
	return func(o *Order, now time.Time) error {
		switch o.Status {
		case Cancelled:
		case PaymentPending, PaymentFailed, StatusPlaced:
			o.finish(Cancelled, by, reason, now)
		default:
			return ErrNotCancellable
		}
		return nil
	}
}

// Expire ends an order that was placed before cutoff and is not paid.
func Expire(cutoff time.Time) Decision {
	return func(o *Order, now time.Time) error {
		if o.Status.Unpaid() && o.PlacedAt.Before(cutoff) {
			o.finish(Expired, "timer", "", now)
		}
		return nil
	}
}

// Abandon ends an order that stood ready since before cutoff, and was to be collected before it too. What was paid stays
// paid.
func Abandon(cutoff time.Time) Decision {
	return func(o *Order, now time.Time) error {
		ahead := o.PickupAt != nil && !o.PickupAt.Before(cutoff)
		if o.Status == Ready && o.since().Before(cutoff) && !ahead {
			payment := o.Payment.Status
			if payment == Due {
				payment = Void
			}
			o.move(Abandoned, payment, "timer", "", now)
		}
		return nil
	}
}
