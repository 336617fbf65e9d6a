package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

const (
	secretKey = "sk_test_frenchpress"
	slow      = 300 * time.Millisecond
)

// TestMain also is the other processes: one that holds shared books, one that charges, three whose disks are full.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("SANDBOX_DIR"); os.Getenv("SANDBOX_ROLE") {
	case "hold":
		holdBooks(dir)
	case "charge":
		chargeOn(dir)
	case "fill shared":
		fillShared(dir, false)
	case "fill abandoned":
		fillShared(dir, true)
	case "fill served":
		fillServed(dir)
	}
	os.Exit(m.Run())
}

// shop is who charges at a sandbox.
type shop struct {
	t    *testing.T
	url  string
	api  *stripe.Client
	http *http.Client
}

func newShop(t *testing.T, url string, through http.RoundTripper) *shop {
	t.Helper()
	client := &http.Client{Transport: through, Timeout: time.Minute}
	backends := stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(url), HTTPClient: client, MaxNetworkRetries: stripe.Int64(0),
		LeveledLogger: &stripe.LeveledLogger{Level: stripe.LevelNull},
	})
	return &shop{t: t, url: url, api: stripe.NewClient(secretKey, stripe.WithBackends(backends)), http: client}
}

// open opens books and serves them on a real listener.
func open(t *testing.T, dir string, options sandbox.Options) (*shop, *sandbox.Sandbox) {
	t.Helper()
	if options.Slow == 0 {
		options.Slow = slow
	}
	s, err := sandbox.Open(dir, options)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	server.Start()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		server.CloseClientConnections()
		server.Close()
	})
	return newShop(t, server.URL, &http.Transport{DisableKeepAlives: true}), s
}

func (s *shop) creation(amount int64, token, key string) *stripe.PaymentIntentCreateParams {
	p := &stripe.PaymentIntentCreateParams{
		Amount: stripe.Int64(amount), Currency: stripe.String("usd"), PaymentMethodTypes: []*string{stripe.String("card")},
		PaymentMethodData: &stripe.PaymentIntentCreatePaymentMethodDataParams{
			Type: stripe.String("card"),
		},
		Metadata: map[string]string{"order": "o-" + key, "attempt": "1", "store": "ferry-building"},
	}
	p.AddExtra("payment_method_data[card][token]", token)
	if key != "" {
		p.SetIdempotencyKey(key)
	}
	return p
}

func (s *shop) create(amount int64, token, key string) *stripe.PaymentIntent {
	s.t.Helper()
	in, err := s.api.V1PaymentIntents.Create(s.t.Context(), s.creation(amount, token, key))
	if err != nil {
		s.t.Fatal(err)
	}
	return in
}

func (s *shop) confirm(ctx context.Context, id, key string) (*stripe.PaymentIntent, error) {
	p := &stripe.PaymentIntentConfirmParams{}
	if key != "" {
		p.SetIdempotencyKey(key)
	}
	return s.api.V1PaymentIntents.Confirm(ctx, id, p)
}

// charge creates and confirms.
func (s *shop) charge(amount int64, token, key string) *stripe.PaymentIntent {
	s.t.Helper()
	in, err := s.confirm(s.t.Context(), s.create(amount, token, key+"-create").ID, key+"-confirm")
	if err != nil {
		s.t.Fatal(err)
	}
	return in
}

func (s *shop) get(id string) *stripe.PaymentIntent {
	s.t.Helper()
	p := &stripe.PaymentIntentRetrieveParams{}
	p.AddExpand("latest_charge")
	in, err := s.api.V1PaymentIntents.Retrieve(s.t.Context(), id, p)
	if err != nil {
		s.t.Fatal(err)
	}
	return in
}

func (s *shop) refund(id string, amount int64, key string) (*stripe.Refund, error) {
	p := &stripe.RefundCreateParams{PaymentIntent: stripe.String(id), Reason: stripe.String("requested_by_customer")}
	if amount > 0 {
		p.Amount = stripe.Int64(amount)
	}
	if key != "" {
		p.SetIdempotencyKey(key)
	}
	return s.api.V1Refunds.Create(s.t.Context(), p)
}

// call is a request as it goes over the wire.
func (s *shop) call(ctx context.Context, method, path, key, body string) (*http.Response, string, error) {
	r, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secretKey)
	if key != "" {
		r.Header.Set("Idempotency-Key", key)
	}
	response, err := s.http.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response, string(text), err
}

func (s *shop) must(method, path, key, body string, status int) (*http.Response, string) {
	s.t.Helper()
	response, text, err := s.call(s.t.Context(), method, path, key, body)
	if err != nil {
		s.t.Fatal(err)
	}
	if response.StatusCode != status {
		s.t.Fatalf("%s %s: %d, wanted %d: %s", method, path, response.StatusCode, status, text)
	}
	return response, text
}

type entry struct {
	Seq      int64
	Kind     string
	Intent   string
	Refund   string
	Amount   int64
	Currency string
	Metadata map[string]string
	Key      string
}

// ledger is all that the sandbox says happened.
func (s *shop) ledger() []entry {
	s.t.Helper()
	var all []entry
	for {
		_, text := s.must("GET", fmt.Sprintf("/sandbox/ledger?after=%d&limit=100", len(all)), "", "", http.StatusOK)
		if text == "" {
			return all
		}
		for row := range strings.Lines(text) {
			var e entry
			if err := json.Unmarshal([]byte(row), &e); err != nil {
				s.t.Fatal(err)
			}
			if all = append(all, e); e.Seq != int64(len(all)) {
				s.t.Fatalf("line %d of the ledger has number %d", len(all), e.Seq)
			}
		}
	}
}

func (s *shop) count(kind string) int {
	s.t.Helper()
	n := 0
	for _, e := range s.ledger() {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// refusal wants an error of the API.
func refusal(t *testing.T, err error, status int, code string) {
	t.Helper()
	_ = refused(t, err, status, code)
}

// refused is the error of the API, which there has to be.
func refused(t *testing.T, err error, status int, code string) *stripe.Error {
	t.Helper()
	var e *stripe.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is not an error of the API", err)
	}
	if e.HTTPStatusCode != status || string(e.Code) != code {
		t.Fatalf("%d %s, wanted %d %s: %v", e.HTTPStatusCode, e.Code, status, code, err)
	}
	return e
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, wanted %v", what, got, want)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func contains(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%q is not in %s", part, text)
	}
}
