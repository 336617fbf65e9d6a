package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"
)

// word is what an answer of the provider, or its absence, means.
type word string

const (
	nothing  word = ""         // it was not asked yet
	told     word = "told"     // the intent as it is
	declined word = "declined" // there will be no intent: the card or the amount is no good
	silent   word = "silent"   // no answer, or one that breaks off: what was done is not known
	failing  word = "failing"  // a 5xx of this moment: what was done is not known either
	spent    word = "spent"    // a key that says nothing new: it keeps a 500, or a state that is over, or was used for other words
	busy     word = "busy"     // nothing was done, and it may be asked again: rate limit, key in use, our key refused
	astray   word = "astray"   // the intent is in no state for that: it has to be read
	defect   word = "defect"   // a request that it will never take: a fault of ours
)

// said is an answer of the provider.
type said struct {
	Word    word
	Intent  *Intent // with told
	Failure string  // a stable word for the customer, with declined
	Words   string  // the provider's own, for staff
	Err     error   // with all but told
}

// The states of an intent, in the provider's words.
const (
	succeeded       = string(stripe.PaymentIntentStatusSucceeded)
	processing      = string(stripe.PaymentIntentStatusProcessing)
	canceled        = string(stripe.PaymentIntentStatusCanceled)
	needsAction     = string(stripe.PaymentIntentStatusRequiresAction)
	needsConfirming = string(stripe.PaymentIntentStatusRequiresConfirmation)
	needsCard       = string(stripe.PaymentIntentStatusRequiresPaymentMethod)
)

// Intent is what the provider knows of a charge.
type Intent struct {
	ID       string
	State    string
	Failure  string // of the last try, a stable word for the customer
	Words    string // of the last try, the provider's own
	Reason   string // why it was canceled
	Order    string // how our books name the order: db.Charge's Reference
	Attempt  int
	Received int64
}

// Refund is what the provider knows of money given back.
type Refund struct {
	ID      string
	Intent  string
	Order   string // how our books name the order; empty for a refund that is not ours
	Key     string // under which we asked for it
	Amount  int64
	State   string
	Failure string
}

// Gone tells whether the money is on its way back or there.
func (r *Refund) Gone() bool {
	return r.State == string(stripe.RefundStatusSucceeded) || r.State == string(stripe.RefundStatusPending)
}

// refusal is the provider's word that it will never do what it was asked under that key.
type refusal struct{ words string }

func (r *refusal) Error() string { return "the provider refuses for good: " + r.words }

// answer is what we want to know of an intent or a refund.
type answer struct {
	ID       string            `json:"id"`
	Status   string            `json:"status"`
	Amount   int64             `json:"amount"` // of a refund
	Metadata map[string]string `json:"metadata"`

	Received int64      `json:"amount_received"`     // of an intent
	Reason   string     `json:"cancellation_reason"` // of an intent
	Last     *lastFault `json:"last_payment_error"`  // of an intent
	Intent   string     `json:"payment_intent"`      // of a refund
	Failure  string     `json:"failure_reason"`      // of a refund
}

// lastFault is why an intent's last try failed.
type lastFault struct {
	Type    string `json:"type"`
	Code    string `json:"code"`
	Decline string `json:"decline_code"`
	Message string `json:"message"`
}

func (a *answer) intent() *Intent {
	i := &Intent{
		ID: a.ID, State: a.Status, Reason: a.Reason, Order: a.Metadata["order"], Received: a.Received,
	}
	i.Attempt, _ = strconv.Atoi(a.Metadata["attempt"]) // of an intent of ours it is a number
	if a.Last != nil {
		fault := &stripe.Error{
			Type: stripe.ErrorType(a.Last.Type), Code: stripe.ErrorCode(a.Last.Code), DeclineCode: stripe.DeclineCode(a.Last.Decline), Msg: a.Last.Message,
		}
		i.Failure, i.Words = failureWord(fault), wordsOf(fault)
	}
	return i
}

func (a *answer) refund() *Refund {
	return &Refund{ID: a.ID, Intent: a.Intent, Order: a.Metadata["order"], Key: a.Metadata["key"], Amount: a.Amount,
		State: a.Status, Failure: a.Failure}
}

// intentOf is an intent as the library shows it with a fault.
func intentOf(in *stripe.PaymentIntent) *Intent {
	a := &answer{
		ID: in.ID, Status: string(in.Status), Received: in.AmountReceived,
		Reason: string(in.CancellationReason), Metadata: in.Metadata,
	}
	if last := in.LastPaymentError; last != nil {
		a.Last = &lastFault{string(last.Type), string(last.Code), string(last.DeclineCode), last.Msg}
	}
	return a.intent()
}

var stableWord = regexp.MustCompile(`^[a-z_]{1,60}$`)

// failureWord is why a card was not charged, for the customer.
func failureWord(fault *stripe.Error) string {
	if code := string(fault.Code); stableWord.MatchString(code) {
		return code
	}
	return string(stripe.ErrorCodeCardDeclined)
}

// wordsMost bounds what is kept of the provider's words.
const wordsMost = 300

// wordsOf is what the provider says of a fault, without anything of the card.
func wordsOf(fault *stripe.Error) string {
	parts := []string{string(fault.Code), string(fault.DeclineCode), fault.Msg}
	if fault.Code == "" {
		parts[0] = string(fault.Type)
	}
	if fault.RequestID != "" {
		parts = append(parts, "("+fault.RequestID+")")
	}
	words := strings.Join(strings.Fields(strings.Join(parts, " ")), " ")
	return strings.ToValidUTF8(words[:min(len(words), wordsMost)], "")
}

// heard makes of an answer what it means.
func (p *Provider) heard(ctx context.Context, tried string, a *answer, err error) said {
	if err == nil {
		return said{Word: told, Intent: a.intent()}
	}
	var fault *stripe.Error
	if !errors.As(err, &fault) {
		if !errors.Is(err, context.Canceled) {
			p.tell(ctx, &p.silence, slog.LevelWarn, "the provider did not answer; it is asked what it knows of each charge until it does", tried, err)
		}
		return said{Word: silent, Words: "no answer", Err: fmt.Errorf("%s: %w", tried, err)}
	}
	if strings.HasPrefix(fault.Param, "payment_method") {
		fault.Msg = "" // it repeats the token, and who knows what a guest took for one
	}
	s := said{Word: meaning(fault), Words: wordsOf(fault), Err: p.wrapped(ctx, tried, err)}
	if s.Word == failing || s.Word == busy {
		p.tell(ctx, &p.trouble, slog.LevelWarn, "the provider is failing or busy; it is asked again until it is not", tried, s.Err)
	}
	switch {
	case s.Word == declined && fault.PaymentIntent != nil, s.Word == astray && fault.PaymentIntent != nil:
		return said{Word: told, Intent: intentOf(fault.PaymentIntent), Words: s.Words}
	case s.Word == declined && strings.HasPrefix(fault.Param, "payment_method"):
		s.Failure = "invalid_token"
	case s.Word == declined:
		s.Failure = failureWord(fault)
	}
	return s
}

// tallyTold is how often calls that fail alike are told of: a line for each would hide everything else just when the
// provider is away.
const tallyTold = 10 * time.Second

// tell counts a call that failed, and tells of it and of those like it when it is time.
func (p *Provider) tell(ctx context.Context, alike *Tally, level slog.Level, words, tried string, err error) {
	if n := alike.Due(tallyTold); n > 0 {
		p.log.LogAttrs(ctx, level, words, slog.Int64("calls", n), slog.String("last", tried), slog.Any("error", err))
	}
}

// meaning sorts the faults that the provider tells of.
func meaning(fault *stripe.Error) word {
	status := fault.HTTPStatusCode
	switch {
	case status >= http.StatusInternalServerError && replayed(fault):
		return spent
	case status >= http.StatusInternalServerError:
		return failing
	case status == http.StatusTooManyRequests || status == http.StatusConflict || status == http.StatusUnauthorized || status == http.StatusForbidden:
		return busy
	case fault.Type == stripe.ErrorTypeIdempotency || fault.Code == stripe.ErrorCodePaymentIntentUnexpectedState && replayed(fault):
		return spent
	case status == http.StatusPaymentRequired || fault.Type == stripe.ErrorTypeCard:
		return declined
	case fault.Code == stripe.ErrorCodePaymentIntentUnexpectedState:
		return astray
	case strings.HasPrefix(fault.Param, "payment_method"):
		return declined
	case fault.Code == stripe.ErrorCodeAmountTooSmall || fault.Code == stripe.ErrorCodeAmountTooLarge:
		return declined
	}
	return defect
}

// replayed tells whether the provider answered from what it keeps under the idempotency key.
func replayed(fault *stripe.Error) bool {
	return fault.LastResponse != nil && fault.LastResponse.Header.Get("Idempotent-Replayed") == "true"
}

// wrapped is an error of the provider with what was tried; a refusal for good if it is one. A key that the provider
// does not take is for somebody to see at once.
func (p *Provider) wrapped(ctx context.Context, tried string, err error) error {
	var fault *stripe.Error
	if !errors.As(err, &fault) {
		return fmt.Errorf("asking the provider to %s: %w", tried, err)
	}
	if fault.HTTPStatusCode == http.StatusUnauthorized || fault.HTTPStatusCode == http.StatusForbidden {
		p.tell(ctx, &p.locked, slog.LevelError, "the provider does not accept PAYMENT_KEY; no card can be charged until it does, and it is asked again and again",
			tried, errors.New(wordsOf(fault)))
	}
	if w := meaning(fault); w == declined || w == defect || w == astray {
		return fmt.Errorf("asking the provider to %s: status %d: %w", tried, fault.HTTPStatusCode, &refusal{wordsOf(fault)})
	}
	return fmt.Errorf("asking the provider to %s: status %d: %s", tried, fault.HTTPStatusCode, wordsOf(fault))
}
