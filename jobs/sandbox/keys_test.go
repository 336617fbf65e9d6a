package sandbox_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

const visa = "amount=575&currency=usd&payment_method_data%5Btype%5D=card&payment_method_data%5Bcard%5D%5Btoken%5D=tok_visa"

func TestARepeatedKeyGetsTheSameBytes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{})
	first, text := s.must("POST", "/v1/payment_intents", "k", visa+"&metadata%5Ba%5D=1&metadata%5Bb%5D=2", http.StatusOK)
	equal(t, "replayed", first.Header.Get("Idempotent-Replayed"), "")
	same := func(s *shop) {
		t.Helper()
		again, replay := s.must("POST", "/v1/payment_intents", "k", "metadata%5Bb%5D=2&metadata%5Ba%5D=1&"+visa, http.StatusOK)
		equal(t, "bytes", replay, text)
		equal(t, "replayed", again.Header.Get("Idempotent-Replayed"), "true")
		equal(t, "original request", again.Header.Get("Original-Request"), first.Header.Get("Request-Id"))
		for path, body := range map[string]string{"/v1/payment_intents": visa, "/v1/refunds": visa + "&metadata%5Ba%5D=1&metadata%5Bb%5D=2"} {
			_, wrong := s.must("POST", path, "k", body, http.StatusBadRequest)
			contains(t, wrong, `"type":"idempotency_error"`)
		}
	}
	same(s)
	equal(t, "intents", s.count("created"), 1)
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, sandbox.Options{})
	same(s)
	equal(t, "intents", s.count("created"), 1)
}

func TestDeclinesAndRefusalsAreKept(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	in := s.create(575, "tok_declined", "a")
	for range 3 {
		_, err := s.confirm(t.Context(), in.ID, "declined")
		refusal(t, err, http.StatusPaymentRequired, "card_declined")
		_, err = s.confirm(t.Context(), in.ID, "no card")
		refusal(t, err, http.StatusBadRequest, "payment_intent_unexpected_state")
	}
	equal(t, "declines", s.count("declined"), 1)
	equal(t, "refusals", s.count("refused"), 1)
}

func TestManyWithOneKeyMakeOneIntent(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	var ids sync.Map
	var busy, made atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			in, err := s.api.V1PaymentIntents.Create(t.Context(), s.creation(575, "tok_visa", "one"))
			if err == nil {
				made.Add(1)
				ids.Store(in.ID, true)
				return
			}
			refusal(t, err, http.StatusConflict, "idempotency_key_in_use")
			busy.Add(1)
		})
	}
	callers.Wait()
	n := 0
	ids.Range(func(any, any) bool { n++; return true })
	equal(t, "different intents", n, 1)
	equal(t, "answers", made.Load()+busy.Load(), 64)
	equal(t, "intents in the books", s.count("created"), 1)
}

// Two callers with one key over and over: the second often comes at the very moment at which the first is done.
func TestPairsWithOneKeyMakeOneIntent(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	const pairs = 200
	var callers sync.WaitGroup
	for caller := range 4 {
		callers.Go(func() {
			for n := range pairs {
				if status := s.creates(fmt.Sprintf("pair-%d", n)); status != http.StatusOK && status != http.StatusConflict {
					t.Errorf("caller %d, pair %d: %d", caller, n, status)
				}
			}
		})
	}
	callers.Wait()
	equal(t, "intents", s.count("created"), pairs)
}

func (s *shop) creates(key string) int {
	response, _, err := s.call(s.t.Context(), "POST", "/v1/payment_intents", key, visa)
	if err != nil {
		s.t.Error(err)
		return 0
	}
	return response.StatusCode
}

func TestKeysOfAccountsAreTheirOwn(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	mine := s.create(575, "tok_visa", "shared")
	other := *s
	other.api = stripe.NewClient("sk_test_other", stripe.WithBackends(stripe.NewBackendsWithConfig(&stripe.BackendConfig{
		URL: stripe.String(s.url), MaxNetworkRetries: stripe.Int64(0),
	})))
	if theirs := other.create(575, "tok_visa", "shared"); theirs.ID == mine.ID {
		t.Fatal("a key reached over to another account")
	}
}

// TestAKeyThatIsNoText would not be found again: each repetition would charge.
func TestAKeyThatIsNoText(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{})
	_, text := s.must("POST", "/v1/payment_intents", "schl\xfcssel", visa+"&confirm=true", http.StatusBadRequest)
	contains(t, text, "UTF-8")
	equal(t, "captures", s.count("captured"), 0)
}
