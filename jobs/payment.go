package jobs

import "frenchpress/db"

// act is something to be done about a charge.
type act string

const (
	toCreate   act = "create"   // the intent; no money moves
	toStore    act = "store"    // its id, committed, before anything is confirmed
	toConfirm  act = "confirm"  // the intent whose id is stored: the money moves
	toRead     act = "read"     // the intent
	toCancel   act = "cancel"   // the intent
	toMoveOn   act = "move on"  // to the next idempotency key: the one of before is answered with what is kept under it for ever
	toRenounce act = "renounce" // store that there is no intent and never will be
	toSettle   act = "settle"
	toWait     act = "wait"
	toGiveUp   act = "give up" // a fault of ours; the job fails until it is a dead letter
	toEnd      act = "end"     // nothing is left to do

	toRefund       act = "refund"        // at the provider
	toSettleRefund act = "settle refund" // in our books
	toTake         act = "take"          // keep a message of the provider, with its job
	toHear         act = "hear"          // read what a message is about
)

// step is what to do next, with the reason of a cancellation or what is settled.
type step struct {
	Do     act
	Reason string
	Settle db.Charged
}

// Why an intent is canceled. It stands in the intent, so that a process that died in between is understood.
const (
	reasonFinished = "requested_by_customer" // the order was cancelled or expired meanwhile
	reasonAction   = "abandoned"             // the card demands 3-D Secure
)

// Failures that are not the provider's words.
const (
	failureAction   = "authentication_required"
	failureCanceled = "payment_cancelled"
)

// known is what our books say of a charge.
type known struct {
	Settled   bool
	Void      bool // settled, and nothing was taken
	Unknown   bool // the provider once did not answer whether it took the money
	Wanted    bool // the order still waits to be paid
	Renounced bool
	Intent    string // its id, stored; empty: nothing can have been confirmed
}

// next says what to do about a charge, given what our books know and what the provider last said. It is the whole of
// the rule: an intent's id is stored before the intent is confirmed, so that without one nothing was taken and
// with one its state tells.
func next(k known, heard said) step {
	switch {
	case k.Void && heard.Word == told && heard.Intent.State == succeeded:
		return settle(db.Captured, "", "") // it comes to life again, and the money goes back
	case k.Settled:
		return step{Do: toEnd}
	case k.Renounced:
		return ended(k, failureCanceled, "")
	case k.Intent == "":
		return nextUnstored(k, heard)
	}
	switch heard.Word {
	case told:
		return nextByState(k, heard.Intent)
	case silent:
		if !k.Unknown {
			return settle(db.Unknown, "", heard.Words)
		}
		return step{Do: toWait}
	case spent:
		return step{Do: toMoveOn}
	case busy:
		return step{Do: toWait}
	case defect:
		return step{Do: toGiveUp}
	}
	return step{Do: toRead}
}

// nextUnstored is about a charge that has no intent, or one that nobody has taken note of.
func nextUnstored(k known, heard said) step {
	if !k.Wanted {
		return step{Do: toRenounce}
	}
	switch heard.Word {
	case told:
		return step{Do: toStore}
	case declined:
		return settle(db.Failed, heard.Failure, heard.Words)
	case spent:
		return step{Do: toMoveOn}
	case silent, failing, busy:
		return step{Do: toWait}
	case defect:
		return step{Do: toGiveUp}
	}
	return step{Do: toCreate}
}

func nextByState(k known, intent *Intent) step {
	switch intent.State {
	case succeeded:
		return settle(db.Captured, "", "")
	case canceled:
		if intent.Reason == reasonAction {
			return ended(k, failureAction, "the card demands 3-D Secure")
		}
		return ended(k, failureCanceled, "canceled: "+intent.Reason)
	case needsAction:
		return step{Do: toCancel, Reason: reasonAction}
	case needsConfirming:
		if k.Wanted {
			return step{Do: toConfirm}
		}
		return step{Do: toCancel, Reason: reasonFinished}
	case needsCard:
		if intent.Failure != "" {
			return settle(db.Failed, intent.Failure, intent.Words)
		}
		return step{Do: toCancel, Reason: reasonFinished}
	case processing:
		if !k.Unknown {
			return settle(db.Unknown, "", intent.State)
		}
		return step{Do: toWait}
	}
	return step{Do: toGiveUp} // requires_capture and what may come: nothing that we asked for
}

// ended is about a charge that took nothing and never will.
func ended(k known, failure, words string) step {
	if k.Wanted {
		return settle(db.Failed, failure, words)
	}
	return settle(db.Void, "", words)
}

func settle(status db.PaymentStatus, failure, words string) step {
	return step{Do: toSettle, Settle: db.Charged{Status: status, Failure: failure, Words: words}}
}
