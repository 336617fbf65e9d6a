package sandbox

import "strings"

// decline is why a card was declined.
type decline struct {
	Code    string `json:"code"`
	Decline string `json:"decline_code,omitempty"`
	Message string `json:"message"`
}

// card is what becomes of a charge, and of its refund.
type card struct {
	decline   *decline
	challenge bool
	slow      bool
	hangs     bool
	refusals  int // calls under a key that are refused before anything is done
	refund    int64
	mends     bool // only the first refund comes to that
}

var cardDeclined = &decline{"card_declined", "generic_decline", "Your card was declined."}

var cards = map[string]card{
	"tok_visa":       {},
	"tok_mastercard": {},
	"tok_amex":       {},
	"tok_slow":       {slow: true},
	"tok_timeout":    {hangs: true},
	"tok_flaky":      {refusals: 2},

	"tok_3ds":                   {challenge: true},
	"tok_threeDSecure2Required": {challenge: true},

	"tok_refund_fails":      {refund: hasFailed},
	"tok_refundFail":        {refund: hasFailed},
	"tok_refund_fails_once": {refund: hasFailed, mends: true},

	"tok_refund_pending": {refund: isPending},
	"tok_pendingRefund":  {refund: isPending},

	"tok_declined":                        {decline: cardDeclined},
	"tok_chargeDeclined":                  {decline: cardDeclined},
	"tok_chargeDeclinedInsufficientFunds": {decline: &decline{"card_declined", "insufficient_funds", "Your card has insufficient funds."}},
	"tok_chargeDeclinedExpiredCard":       {decline: &decline{"expired_card", "", "Your card has expired."}},
	"tok_chargeDeclinedIncorrectCvc":      {decline: &decline{"incorrect_cvc", "", "Your card's security code is incorrect."}},
	"tok_chargeDeclinedProcessingError":   {decline: &decline{"processing_error", "", "An error occurred while processing your card."}},
}

// holdBack is the suffix that leaves a charge undecided until it is released.
const holdBack = "hold"

// readToken is what a token stands for, with the fault that its suffix asks for: tok_visa!timeout_before.
func readToken(token string) (card, string, bool) {
	name, fault, has := strings.Cut(token, "!")
	c, known := cards[name]
	return c, fault, known && (!has || fault == holdBack || isFault(fault))
}
