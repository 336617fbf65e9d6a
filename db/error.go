package db

// Codes of refusals, as users see them. They are stable.
const (
	CodePriceChanged   = "price_changed"
	CodeStoreClosed    = "store_closed"
	CodeStorePaused    = "store_paused"
	CodeSlotFull       = "slot_full"
	CodeCounterFull    = "counter_full"
	CodeNotPayable     = "not_payable"
	CodeNotCancellable = "not_cancellable"
	CodeRefundPending  = "refund_pending"
	CodeNotRefundable  = "not_refundable"
	CodeKeyReused      = "idempotency_key_reused"
)

// Error is a refusal that users see: the state of the world forbids what they asked for.
type Error struct {
	Code   string
	Detail string         // for a person
	Extra  map[string]any // further members of the answer, such as the new quote
}

func (e *Error) Error() string { return e.Code + ": " + e.Detail }
