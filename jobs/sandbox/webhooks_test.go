package sandbox_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"frenchpress/jobs/sandbox"
)

const webhookSecret = "whsec_frenchpress"

// mailbox is where webhooks go: it takes those whose signature holds.
type mailbox struct {
	*httptest.Server
	mu      sync.Mutex
	taken   []stripe.Event
	refused int
	down    bool
}

func newMailbox(t *testing.T) *mailbox {
	m := new(mailbox)
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		event, err := webhook.ConstructEvent(body, r.Header.Get("Stripe-Signature"), webhookSecret)
		m.mu.Lock()
		defer m.mu.Unlock()
		if err != nil || m.down {
			m.refused++
			m.down = false
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		m.taken = append(m.taken, event)
	}))
	t.Cleanup(m.Close)
	return m
}

func (m *mailbox) kinds() map[stripe.EventType]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	kinds := map[stripe.EventType]int{}
	for _, e := range m.taken {
		kinds[e.Type]++
	}
	return kinds
}

func withWebhooks(t *testing.T, faults sandbox.Faults) (*shop, *mailbox) {
	m := newMailbox(t)
	s, _ := open(t, t.TempDir(), sandbox.Options{WebhookURL: m.URL, WebhookSecret: webhookSecret, Faults: faults})
	return s, m
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	s, m := withWebhooks(t, sandbox.Faults{})
	paid := s.charge(575, "tok_visa", "paid")
	if _, err := s.refund(paid.ID, 0, "refund"); err != nil {
		t.Fatal(err)
	}
	_, err := s.confirm(t.Context(), s.create(575, "tok_declined", "declined").ID, "declined-confirm")
	refusal(t, err, http.StatusPaymentRequired, "card_declined")
	s.charge(575, "tok_3ds", "3ds")
	s.charge(575, "tok_slow", "slow")
	if _, err := s.api.V1PaymentIntents.Cancel(t.Context(), s.create(575, "tok_visa", "canceled").ID, nil); err != nil {
		t.Fatal(err)
	}
	failing := s.charge(575, "tok_refund_fails", "failing")
	if _, err := s.refund(failing.ID, 0, "failing-refund"); err != nil {
		t.Fatal(err)
	}
	want := map[stripe.EventType]int{
		"payment_intent.succeeded": 3, "payment_intent.payment_failed": 1, "payment_intent.requires_action": 1, "payment_intent.processing": 1,
		"payment_intent.canceled": 1, "charge.refunded": 1, "refund.updated": 2, "refund.failed": 1,
	}
	for kind, n := range want {
		eventually(t, string(kind), func() bool { return m.kinds()[kind] == n })
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.taken {
		if e.Type == "payment_intent.payment_failed" {
			equal(t, "order", e.GetObjectValue("metadata", "order"), "o-declined")
		}
	}
	equal(t, "refused", m.refused, 0)
}

func TestAWebhookThatIsNotTakenComesAgain(t *testing.T) {
	t.Parallel()
	s, m := withWebhooks(t, sandbox.Faults{})
	m.down = true
	s.charge(575, "tok_visa", "a")
	eventually(t, "it came again", func() bool { return m.kinds()["payment_intent.succeeded"] == 1 })
	equal(t, "refused", m.refused, 1)
}

func TestFaultsOfWebhooks(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		faults         sandbox.Faults
		taken, refused int
	}{
		"duplicated":    {sandbox.Faults{WebhookDuplicated: 1}, 2, 0},
		"reordered":     {sandbox.Faults{WebhookReordered: 1}, 1, 0},
		"bad signature": {sandbox.Faults{WebhookBadSignature: 1}, 1, 1},
		"stale":         {sandbox.Faults{WebhookStale: 1}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, m := withWebhooks(t, one.faults)
			s.charge(575, "tok_visa", "a")
			eventually(t, name, func() bool { return m.kinds()["payment_intent.succeeded"] == one.taken })
			m.mu.Lock()
			defer m.mu.Unlock()
			equal(t, "refused", m.refused, one.refused)
		})
	}
}

func TestAnEarlyWebhookIsThereBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	s, m := withWebhooks(t, sandbox.Faults{WebhookEarly: 1})
	s.charge(575, "tok_visa", "a")
	equal(t, "taken", m.kinds()["payment_intent.succeeded"], 1)
}

func TestAWebhookThatNeverComes(t *testing.T) {
	t.Parallel()
	s, m := withWebhooks(t, sandbox.Faults{WebhookNever: 1})
	s.charge(575, "tok_visa", "lost")
	s.set(sandbox.Faults{WebhookEarly: 1})
	s.charge(575, "tok_visa", "told")
	equal(t, "taken", m.kinds()["payment_intent.succeeded"], 1)
}
