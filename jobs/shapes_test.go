package jobs

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stripe/stripe-mock/embedded"
	"github.com/stripe/stripe-mock/server"

	"frenchpress/db"
)

// TestRequestShapes sends every request that we make to Stripe's own mock, which holds it against Stripe's description of
// its API and refuses what is not in there. It remembers nothing: what is answered are examples.
func TestRequestShapes(t *testing.T) {
	t.Parallel()
	p := NewProvider(openMock(t), "sk_test_123", described{t}, slog.New(slog.DiscardHandler))
	c := &db.Charge{OrderRef: db.OrderRef{StoreID: 1, ID: uuid.Must(uuid.NewV7())}, Attempt: 1, Amount: 575, Currency: "USD", Token: "tok_visa", Tries: 1}
	now := time.Now()
	if heard := p.Create(t.Context(), c); heard.Word != told {
		t.Errorf("create: %+v", heard)
	}
	c.Intent = "pi_1"
	for what, heard := range map[string]said{
		"confirm": p.Confirm(t.Context(), c), "cancel": p.Cancel(t.Context(), c, reasonFinished), "cancel for 3-D Secure": p.Cancel(t.Context(), c, reasonAction),
		"read": p.Read(t.Context(), c.Intent),
	} {
		if heard.Word != told {
			t.Errorf("%s: %+v", what, heard)
		}
	}
	if ref, err := p.Refund(t.Context(), "refund-1", c, 100, time.Now()); err != nil || ref == "" {
		t.Errorf("refund: %q, %v", ref, err)
	}
	if refund, err := p.ReadRefund(t.Context(), "re_1"); err != nil || refund.ID == "" {
		t.Errorf("read a refund: %+v, %v", refund, err)
	}
	var intents, refunds int
	if err := p.Intents(t.Context(), now.Add(-time.Hour), now, 10, func(*Intent) { intents++ }); err != nil || intents == 0 {
		t.Errorf("list intents: %d, %v", intents, err)
	}
	if err := p.Refunds(t.Context(), now.Add(-time.Hour), now, 10, func(*Refund) { refunds++ }); err != nil || refunds == 0 {
		t.Errorf("list refunds: %d, %v", refunds, err)
	}
	if refunds, err := p.RefundsOf(t.Context(), c.Intent); err != nil || len(refunds) == 0 {
		t.Errorf("list the refunds of an intent: %v, %v", refunds, err)
	}
	if heard := p.Cancel(t.Context(), c, "rain"); heard.Word != defect { // so that the mock is known to refuse
		t.Errorf("cancelled for a reason that there is not: %+v", heard)
	}
}

// described makes of a new intent the two requests of the published description: there a card token stands in a payment
// method of its own, while the API takes it with the intent as well.
type described struct{ t *testing.T }

// RoundTrip sends a request on.
func (d described) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPost || r.URL.Path != "/v1/payment_intents" {
		return http.DefaultTransport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	intent, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	method := url.Values{}
	for name, values := range intent {
		if inside, ok := strings.CutPrefix(name, "payment_method_data["); ok {
			method[strings.Replace(inside, "]", "", 1)] = values
			intent.Del(name)
		}
	}
	made, err := d.post(r, "/v1/payment_methods", method)
	if err != nil || made.StatusCode != http.StatusOK || len(method) != 2 {
		d.t.Errorf("the payment method %v: %v %v", method, made, err)
	}
	return d.post(r, r.URL.Path, intent)
}

func (d described) post(r *http.Request, path string, form url.Values) (*http.Response, error) {
	as := r.Clone(r.Context())
	as.URL.Path, as.Body, as.ContentLength = path, io.NopCloser(strings.NewReader(form.Encode())), int64(len(form.Encode()))
	return http.DefaultTransport.RoundTrip(as)
}

func openMock(t *testing.T) string {
	t.Helper()
	spec, err := server.LoadSpec(embedded.OpenAPISpec, "")
	if err != nil {
		t.Fatal(err)
	}
	fixtures, err := server.LoadFixtures(embedded.OpenAPIFixtures, "")
	if err != nil {
		t.Fatal(err)
	}
	mock, err := server.NewStubServer(fixtures, spec, false, false)
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(http.HandlerFunc(mock.HandleRequest))
	t.Cleanup(listening.Close)
	return listening.URL
}
