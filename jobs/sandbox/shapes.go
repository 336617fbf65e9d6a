package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// listShape is a page of a list.
type listShape struct {
	Object  string `json:"object"`
	URL     string `json:"url"`
	HasMore bool   `json:"has_more"`
	Data    []any  `json:"data"`
}

type intentShape struct {
	ID                 string            `json:"id"`
	Object             string            `json:"object"`
	Amount             int64             `json:"amount"`
	AmountCapturable   int64             `json:"amount_capturable"`
	AmountReceived     int64             `json:"amount_received"`
	CanceledAt         *int64            `json:"canceled_at"`
	CancellationReason *string           `json:"cancellation_reason"`
	CaptureMethod      string            `json:"capture_method"`
	ClientSecret       string            `json:"client_secret"`
	ConfirmationMethod string            `json:"confirmation_method"`
	Created            int64             `json:"created"`
	Currency           string            `json:"currency"`
	Description        *string           `json:"description"`
	LastPaymentError   *errorShape       `json:"last_payment_error"`
	LatestCharge       any               `json:"latest_charge"` // an id, or the charge if asked for
	Livemode           bool              `json:"livemode"`
	Metadata           map[string]string `json:"metadata"`
	NextAction         *actionShape      `json:"next_action"`
	PaymentMethod      *string           `json:"payment_method"`
	PaymentMethodTypes []string          `json:"payment_method_types"`
	Status             string            `json:"status"`
}

type actionShape struct {
	Type string            `json:"type"`
	SDK  map[string]string `json:"use_stripe_sdk"`
}

type chargeShape struct {
	ID             string            `json:"id"`
	Object         string            `json:"object"`
	Amount         int64             `json:"amount"`
	AmountCaptured int64             `json:"amount_captured"`
	AmountRefunded int64             `json:"amount_refunded"`
	Captured       bool              `json:"captured"`
	Created        int64             `json:"created"`
	Currency       string            `json:"currency"`
	FailureCode    *string           `json:"failure_code"`
	FailureMessage *string           `json:"failure_message"`
	Livemode       bool              `json:"livemode"`
	Metadata       map[string]string `json:"metadata"`
	Paid           bool              `json:"paid"`
	PaymentIntent  string            `json:"payment_intent"`
	Refunded       bool              `json:"refunded"`
	Status         string            `json:"status"`
}

type refundShape struct {
	ID            string            `json:"id"`
	Object        string            `json:"object"`
	Amount        int64             `json:"amount"`
	Charge        string            `json:"charge"`
	Created       int64             `json:"created"`
	Currency      string            `json:"currency"`
	FailureReason string            `json:"failure_reason,omitempty"`
	Metadata      map[string]string `json:"metadata"`
	PaymentIntent string            `json:"payment_intent"`
	Reason        *string           `json:"reason"`
	Status        string            `json:"status"`
}

// seconds are what the API counts time in; the books count microseconds.
func seconds(micro int64) int64 { return micro / 1_000_000 }

// some is a value that is null when it is the zero one.
func some[T comparable](value T) *T {
	var zero T
	if value == zero {
		return nil
	}
	return &value
}

func named(metadata map[string]string) map[string]string {
	if metadata == nil {
		return map[string]string{}
	}
	return metadata
}

func (s *Sandbox) shapeIntent(in *intentState, expand bool) *intentShape {
	id := s.id("pi", in.Index, 0)
	shape := &intentShape{
		ID: id, Object: "payment_intent", Amount: in.Amount, CaptureMethod: "automatic", ConfirmationMethod: "automatic",
		ClientSecret: id + "_secret_sandbox", Created: seconds(in.Created), Currency: in.Currency, Description: some(in.Description),
		Metadata: named(in.Metadata), PaymentMethodTypes: in.Types, Status: in.Status,
		CanceledAt: some(seconds(in.CanceledAt)), CancellationReason: some(in.Reason),
	}
	if in.Status == statuses[succeeded] {
		shape.AmountReceived = in.Amount
	}
	if in.Token != "" {
		shape.PaymentMethod = some(s.id("pm", in.Index, 0))
	}
	if in.Status == statuses[requiresAction] {
		shape.NextAction = &actionShape{Type: "use_stripe_sdk", SDK: map[string]string{"type": "three_d_secure_redirect"}}
	}
	if in.Attempts > 0 {
		s.shapeAttempt(shape, in, expand)
	}
	return shape
}

// shapeAttempt adds what came of the last attempt to charge.
func (s *Sandbox) shapeAttempt(shape *intentShape, in *intentState, expand bool) {
	charge := s.id("ch", in.Index, in.Attempts)
	shape.LatestCharge = charge
	if expand {
		shape.LatestCharge = s.shapeCharge(in)
	}
	if why := in.Decline; why != nil {
		shape.LastPaymentError = &errorShape{
			Type: "card_error", Code: why.Code, DeclineCode: why.Decline, Message: why.Message, Charge: charge,
		}
	}
}

// shapeCharge is the last attempt to charge an intent.
func (s *Sandbox) shapeCharge(in *intentState) *chargeShape {
	shape := &chargeShape{
		ID: s.id("ch", in.Index, in.Attempts), Object: "charge", Amount: in.Amount, Created: seconds(in.ChargedAt), Currency: in.Currency,
		Metadata: named(in.Metadata), PaymentIntent: s.id("pi", in.Index, 0), Status: "failed",
	}
	switch {
	case in.Status == statuses[succeeded]:
		shape.AmountCaptured, shape.AmountRefunded, shape.Status = in.Amount, in.Refunded, "succeeded"
		shape.Captured, shape.Paid, shape.Refunded = true, true, in.Refunded == in.Amount
	case in.Decline != nil:
		shape.FailureCode, shape.FailureMessage = some(in.Decline.Code), some(in.Decline.Message)
	}
	return shape
}

func (s *Sandbox) shapeRefund(in *intentState, re *refundState) *refundShape {
	return &refundShape{
		ID: s.id("re", re.Index, 0), Object: "refund", Amount: re.Amount, Charge: s.id("ch", in.Index, in.Attempts), Created: seconds(re.Created),
		Currency: in.Currency, FailureReason: re.Failure, Metadata: named(re.Metadata), PaymentIntent: s.id("pi", in.Index, 0),
		Reason: some(re.Reason), Status: re.Status,
	}
}

// answer is what a line was answered with, made of nothing but the line.
func (s *Sandbox) answer(l *line) (int, []byte) {
	var said any
	switch {
	case l.Error != nil:
		shape := *l.Error
		if shape.Type == "card_error" {
			shape.Charge = s.id("ch", l.Intent.Index, l.Intent.Attempts)
		}
		if l.Status != http.StatusInternalServerError {
			shape.PaymentIntent = s.shapeIntent(l.Intent, false)
		}
		said = map[string]any{"error": &shape}
	case l.Refund != nil:
		said = s.shapeRefund(l.Intent, l.Refund)
	default:
		said = s.shapeIntent(l.Intent, l.Expand)
	}
	body, err := json.Marshal(said)
	if err != nil {
		panic(fmt.Sprintf("sandbox: an answer has no JSON: %v", err))
	}
	return l.Status, body
}
