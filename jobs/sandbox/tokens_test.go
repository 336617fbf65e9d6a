package sandbox_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

func TestAGoodCardIsChargedOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	in := s.create(575, "tok_visa", "a")
	equal(t, "status", in.Status, stripe.PaymentIntentStatusRequiresConfirmation)
	equal(t, "object", in.Object, "payment_intent")
	in, err := s.confirm(t.Context(), in.ID, "a-confirm")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", in.Status, stripe.PaymentIntentStatusSucceeded)
	equal(t, "received", in.AmountReceived, 575)
	equal(t, "order", in.Metadata["order"], "o-a")
	in = s.get(in.ID)
	equal(t, "charge", in.LatestCharge.Amount, 575)
	equal(t, "paid", in.LatestCharge.Paid, true)
	_, err = s.confirm(t.Context(), in.ID, "another")
	e := refused(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	equal(t, "intent in the error", e.PaymentIntent.ID, in.ID)
	equal(t, "its state", e.PaymentIntent.Status, stripe.PaymentIntentStatusSucceeded)
	_, err = s.api.V1PaymentIntents.Cancel(t.Context(), in.ID, nil)
	refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	equal(t, "captures", s.count("captured"), 1)
}

func TestCreateCanConfirmAtOnce(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	p := s.creation(1, "tok_visa", "at-once")
	p.Confirm = stripe.Bool(true)
	in, err := s.api.V1PaymentIntents.Create(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", in.Status, stripe.PaymentIntentStatusSucceeded)
}

func TestDeclines(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	for token, why := range map[string][2]string{
		"tok_declined":                        {"card_declined", "generic_decline"},
		"tok_chargeDeclined":                  {"card_declined", "generic_decline"},
		"tok_chargeDeclinedInsufficientFunds": {"card_declined", "insufficient_funds"},
		"tok_chargeDeclinedExpiredCard":       {"expired_card", ""},
	} {
		in := s.create(575, token, token)
		_, err := s.confirm(t.Context(), in.ID, token+"-confirm")
		e := refused(t, err, http.StatusPaymentRequired, why[0])
		equal(t, "type", e.Type, stripe.ErrorTypeCard)
		equal(t, "decline code", string(e.DeclineCode), why[1])
		equal(t, "intent in the error", e.PaymentIntent.Status, stripe.PaymentIntentStatusRequiresPaymentMethod)
		in = s.get(in.ID)
		equal(t, "status", in.Status, stripe.PaymentIntentStatusRequiresPaymentMethod)
		equal(t, "last error", string(in.LastPaymentError.Code), why[0])
		_, err = s.confirm(t.Context(), in.ID, token+"-no-card")
		refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	}
}

func TestAnotherCardAfterADecline(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	in := s.create(575, "tok_declined", "a")
	_, err := s.confirm(t.Context(), in.ID, "first")
	refusal(t, err, http.StatusPaymentRequired, "card_declined")
	in, err = s.api.V1PaymentIntents.Confirm(t.Context(), in.ID, &stripe.PaymentIntentConfirmParams{PaymentMethod: stripe.String("pm_card_visa")})
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", in.Status, stripe.PaymentIntentStatusSucceeded)
	if in.LastPaymentError != nil {
		t.Fatal("the old error is still said")
	}
}

func TestUnknownThings(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	for _, token := range []string{"tok_nobody", "tok_visa!no_fault"} {
		_, err := s.api.V1PaymentIntents.Create(t.Context(), s.creation(575, token, "unknown"))
		e := refused(t, err, http.StatusBadRequest, "resource_missing")
		equal(t, "param", e.Param, "payment_method_data[card][token]")
		equal(t, "decline code", string(e.DeclineCode), "invalid_token")
	}
	s.create(575, "tok_visa", "unknown") // what was wrong with a call is not kept
	_, err := s.api.V1PaymentIntents.Retrieve(t.Context(), "pi_0_madeup", nil)
	refusal(t, err, http.StatusNotFound, "resource_missing")
	_, err = s.api.V1Refunds.Retrieve(t.Context(), "re_7_madeup", nil)
	refusal(t, err, http.StatusNotFound, "resource_missing")
	_, err = s.api.V1PaymentIntents.Create(t.Context(), s.creation(0, "tok_visa", "nothing"))
	refusal(t, err, http.StatusBadRequest, "parameter_invalid_integer")
	_, text := s.must("GET", "/v1/customers", "", "", http.StatusNotFound)
	if !strings.Contains(text, "Unrecognized request URL") {
		t.Fatal(text)
	}
	bare, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v1/payment_intents", nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := s.http.Do(bare)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	equal(t, "without a key", response.StatusCode, http.StatusUnauthorized)
}

func TestThreeDSecure(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	for _, token := range []string{"tok_3ds", "tok_threeDSecure2Required"} {
		in := s.charge(575, token, token)
		equal(t, "status", in.Status, stripe.PaymentIntentStatusRequiresAction)
		if in.NextAction == nil {
			t.Fatal("no next action")
		}
		in, err := s.api.V1PaymentIntents.Cancel(t.Context(), in.ID, &stripe.PaymentIntentCancelParams{CancellationReason: stripe.String("abandoned")})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "status", in.Status, stripe.PaymentIntentStatusCanceled)
		equal(t, "reason", in.CancellationReason, stripe.PaymentIntentCancellationReasonAbandoned)
		_, err = s.confirm(t.Context(), in.ID, token+"-late")
		refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	}
	equal(t, "captures", s.count("captured"), 0)
}

func TestSlowCard(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{Slow: time.Second})
	in := s.create(575, "tok_slow", "a")
	confirmed := make(chan *stripe.PaymentIntent, 1)
	began := time.Now()
	go func() {
		in, err := s.confirm(t.Context(), in.ID, "a-confirm")
		if err != nil {
			t.Error(err)
		}
		confirmed <- in
	}()
	eventually(t, "processing", func() bool { return s.get(in.ID).Status == stripe.PaymentIntentStatusProcessing })
	_, err := s.confirm(t.Context(), in.ID, "a-confirm")
	refusal(t, err, http.StatusConflict, "idempotency_key_in_use")
	_, err = s.api.V1PaymentIntents.Cancel(t.Context(), in.ID, nil)
	refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	equal(t, "status", (<-confirmed).Status, stripe.PaymentIntentStatusSucceeded)
	if took := time.Since(began); took < time.Second {
		t.Fatalf("slow took %v", took)
	}
	equal(t, "captures", s.count("captured"), 1)
}

func TestTimeoutCharges(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	in := s.create(575, "tok_timeout", "a")
	ctx, cancel := context.WithTimeout(t.Context(), slow)
	defer cancel()
	if _, err := s.confirm(ctx, in.ID, "a-confirm"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("tok_timeout answered: %v", err)
	}
	equal(t, "status", s.get(in.ID).Status, stripe.PaymentIntentStatusSucceeded)
	in, err := s.confirm(t.Context(), in.ID, "a-confirm")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "replayed status", in.Status, stripe.PaymentIntentStatusSucceeded)
	equal(t, "replayed", in.LastResponse.Header.Get("Idempotent-Replayed"), "true")
	equal(t, "captures", s.count("captured"), 1)
}

func TestFlakyCard(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	in := s.create(575, "tok_flaky", "a")
	for range 2 {
		_, err := s.confirm(t.Context(), in.ID, "a-confirm")
		refusal(t, err, http.StatusInternalServerError, "")
		equal(t, "status", s.get(in.ID).Status, stripe.PaymentIntentStatusRequiresConfirmation)
	}
	in, err := s.confirm(t.Context(), in.ID, "a-confirm")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "status", in.Status, stripe.PaymentIntentStatusSucceeded)
	equal(t, "replayed", in.LastResponse.Header.Get("Idempotent-Replayed"), "")
}

func TestHeldIntents(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{Slow: time.Minute})
	for _, one := range []struct {
		token, outcome string
		status         stripe.PaymentIntentStatus
	}{
		{"tok_visa!hold", "succeeded", stripe.PaymentIntentStatusSucceeded},
		{"tok_visa!hold", "failed", stripe.PaymentIntentStatusRequiresPaymentMethod},
	} {
		in := s.charge(575, one.token, one.outcome)
		equal(t, "held", in.Status, stripe.PaymentIntentStatusProcessing)
		_, text := s.must("GET", "/sandbox/intents?metadata%5Border%5D=o-"+one.outcome+"-create", "", "", http.StatusOK)
		if !strings.Contains(text, in.ID) {
			t.Fatalf("not found by its order: %s", text)
		}
		s.must("POST", "/sandbox/intents/"+in.ID+"/release?outcome="+one.outcome, "", "", http.StatusOK)
		equal(t, "released", s.get(in.ID).Status, one.status)
		s.must("POST", "/sandbox/intents/"+in.ID+"/release?outcome="+one.outcome, "", "", http.StatusBadRequest)
		replayed, err := s.confirm(t.Context(), in.ID, one.outcome+"-confirm")
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "the answer first given", replayed.Status, stripe.PaymentIntentStatusProcessing)
	}
	before := s.create(575, "tok_visa", "before")
	s.must("POST", "/sandbox/intents/"+before.ID+"/hold", "", "", http.StatusOK)
	in, err := s.confirm(t.Context(), before.ID, "before-confirm")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "held before", in.Status, stripe.PaymentIntentStatusProcessing)
}

func TestASlowIntentCanBeHeld(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{Slow: time.Minute})
	in := s.create(575, "tok_slow", "a")
	confirmed := make(chan *stripe.PaymentIntent, 1)
	go func() {
		in, err := s.confirm(t.Context(), in.ID, "a-confirm")
		if err != nil {
			t.Error(err)
		}
		confirmed <- in
	}()
	eventually(t, "processing", func() bool { return s.get(in.ID).Status == stripe.PaymentIntentStatusProcessing })
	s.must("POST", "/sandbox/intents/"+in.ID+"/hold", "", "", http.StatusOK)
	equal(t, "answer of the confirm", (<-confirmed).Status, stripe.PaymentIntentStatusProcessing)
	s.must("POST", "/sandbox/intents/"+in.ID+"/release", "", "", http.StatusOK)
	equal(t, "released", s.get(in.ID).Status, stripe.PaymentIntentStatusSucceeded)
}
