package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

// Each fault as a token forces it: what the caller sees, whether the charge happened, and that the same call again gets
// through (or gets the 500 that is kept).
func TestFaultsOfTokens(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{Stall: slow})
	for _, one := range []struct {
		fault   string
		status  int // 0: no answer
		charged bool
		again   int
	}{
		{"timeout_before", 0, false, http.StatusOK},
		{"timeout_after", 0, true, http.StatusOK},
		{"error_before", http.StatusInternalServerError, false, http.StatusOK},
		{"error_after", http.StatusInternalServerError, true, http.StatusInternalServerError},
		{"rate_limited", http.StatusTooManyRequests, false, http.StatusOK},
		{"stall", http.StatusOK, true, http.StatusOK},
		{"reset_before", 0, false, http.StatusOK},
		{"reset_after", 0, true, http.StatusOK},
	} {
		t.Run(one.fault, func(t *testing.T) {
			t.Parallel()
			s := *s
			s.t = t
			in := s.create(575, "tok_visa!"+one.fault, one.fault)
			path, key := "/v1/payment_intents/"+in.ID+"/confirm", one.fault+"-confirm"
			equal(t, "answer", s.status(path, key, 3*slow), one.status)
			want := stripe.PaymentIntentStatusRequiresConfirmation
			if one.charged {
				want = stripe.PaymentIntentStatusSucceeded
			}
			equal(t, "state", s.get(in.ID).Status, want)
			_, first := s.must("POST", path, key, "", one.again)
			_, second := s.must("POST", path, key, "", one.again)
			equal(t, "replay", second, first)
			equal(t, "state", s.get(in.ID).Status, stripe.PaymentIntentStatusSucceeded)
		})
	}
}

// status is what a call is answered with, 0 if it is not.
func (s *shop) status(path, key string, patience time.Duration) int {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	defer cancel()
	response, _, err := s.call(ctx, "POST", path, key, "")
	if err != nil {
		return 0
	}
	return response.StatusCode
}

func TestFaultsByRate(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{Faults: sandbox.Faults{Seed: 7, RateLimited: 0.3, ErrorBefore: 0.3}})
	draw := func() (answers [40]int) {
		for i := range answers {
			answers[i] = s.status("/v1/payment_intents", "", time.Minute)
		}
		return answers
	}
	first, seen := draw(), map[int]int{}
	for _, status := range first {
		seen[status]++
	}
	for _, status := range []int{http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadRequest} {
		if seen[status] == 0 {
			t.Fatalf("%d never came: %v", status, seen)
		}
	}
	_, text := s.must("GET", "/sandbox/faults", "", "", http.StatusOK)
	s.must("PUT", "/sandbox/faults", "", text, http.StatusOK)
	equal(t, "the same seed again", draw(), first)
	s.must("PUT", "/sandbox/faults", "", `{"stall":0.6,"reset":0.6}`, http.StatusBadRequest)
	s.must("PUT", "/sandbox/faults", "", `{"stall":-1}`, http.StatusBadRequest)
	s.must("PUT", "/sandbox/faults", "", `{"nothing":1}`, http.StatusBadRequest)
	s.must("PUT", "/sandbox/faults", "", `{}`, http.StatusOK)
	for _, status := range draw() {
		equal(t, "without faults", status, http.StatusBadRequest)
	}
}

// A charge whose answer is a kept 500 has been charged, whatever is asked how often.
func TestAKeptErrorStaysOverARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{})
	in := s.create(575, "tok_visa", "a")
	s.set(sandbox.Faults{ErrorAfter: 1})
	_, err := s.confirm(t.Context(), in.ID, "k")
	refusal(t, err, http.StatusInternalServerError, "")
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, sandbox.Options{})
	_, err = s.confirm(t.Context(), in.ID, "k")
	e := refused(t, err, http.StatusInternalServerError, "")
	equal(t, "replayed", e.LastResponse.Header.Get("Idempotent-Replayed"), "true")
	equal(t, "state", s.get(in.ID).Status, stripe.PaymentIntentStatusSucceeded)
	equal(t, "captures", s.count("captured"), 1)
}

func (s *shop) set(faults sandbox.Faults) {
	s.t.Helper()
	text, err := json.Marshal(faults)
	if err != nil {
		s.t.Fatal(err)
	}
	s.must("PUT", "/sandbox/faults", "", string(text), http.StatusOK)
}

// Under every fault at once each charge that is repeated until its state is known happens once.
func TestNoFaultChargesTwice(t *testing.T) {
	t.Parallel()
	s, _ := open(t, t.TempDir(), sandbox.Options{Stall: time.Millisecond, Faults: sandbox.Faults{
		Seed: 1, TimeoutBefore: .1, TimeoutAfter: .1, ErrorBefore: .1, ErrorAfter: .1, RateLimited: .1, Stall: .1, Reset: .2,
	}})
	for n := range 8 {
		key := string(rune('a' + n))
		var in *stripe.PaymentIntent
		for turn := 0; in == nil; turn++ {
			ctx, cancel := context.WithTimeout(t.Context(), slow)
			made, err := s.api.V1PaymentIntents.Create(ctx, s.creation(575, "tok_visa", key))
			cancel()
			var e *stripe.Error
			if errors.As(err, &e) && e.LastResponse.Header.Get("Idempotent-Replayed") == "true" {
				key += "'" // this 500 will never be another answer
			}
			if err == nil {
				in = made
			}
		}
		s.confirmUntilKnown(in.ID)
	}
	s.set(sandbox.Faults{})
	captures := map[string]int{}
	for _, e := range s.ledger() {
		if e.Kind == "captured" {
			captures[e.Intent]++
		}
	}
	equal(t, "intents captured", len(captures), 8)
	for id, n := range captures {
		equal(t, "captures of "+id, n, 1)
	}
}

func (s *shop) confirmUntilKnown(id string) {
	s.t.Helper()
	for range 200 {
		s.status("/v1/payment_intents/"+id+"/confirm", id, slow)
		ctx, cancel := context.WithTimeout(s.t.Context(), slow)
		in, err := s.api.V1PaymentIntents.Retrieve(ctx, id, nil)
		cancel()
		if err == nil && in.Status == stripe.PaymentIntentStatusSucceeded {
			return
		}
	}
	s.t.Fatal("never known")
}
