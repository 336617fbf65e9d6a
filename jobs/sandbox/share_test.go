package sandbox_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

func sharing(t *testing.T, dir string) *shop {
	t.Helper()
	through, closer, err := sandbox.Share(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	})
	return newShop(t, "http://sandbox", through)
}

func TestTwoProcessesShareTheBooks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	one, two := sharing(t, dir), sharing(t, dir)
	a, b := one.charge(575, "tok_visa", "a"), two.charge(300, "tok_visa", "b")
	equal(t, "seen by the other", two.get(a.ID).AmountReceived, 575)
	equal(t, "seen by the other", one.get(b.ID).AmountReceived, 300)
	_, err := two.refund(a.ID, 600, "over")
	refusal(t, err, http.StatusBadRequest, "amount_too_large")
	equal(t, "captures", one.count("captured"), 2)
}

func TestTheBooksAreTakenOverFromAKilledProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other, out := child(t, "hold", dir)
	if said, err := out.ReadString('\n'); err != nil || said != "holding\n" {
		t.Fatalf("the other process: %q %v", said, err)
	}
	s, third := sharing(t, dir), sharing(t, dir)
	before := s.charge(575, "tok_visa", "before")
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = other.Wait() // killed
	var askers sync.WaitGroup
	for range 16 {
		askers.Go(func() {
			equal(t, "kept", s.get(before.ID).AmountReceived, 575)
			equal(t, "kept", third.get(before.ID).AmountReceived, 575)
		})
	}
	askers.Wait()
	again, err := third.confirm(t.Context(), before.ID, "before-confirm")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "replayed", again.LastResponse.Header.Get("Idempotent-Replayed"), "true")
	third.charge(100, "tok_visa", "after")
	equal(t, "captures", s.count("captured"), 2)
}

func TestTheBooksAreHandedOver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	through, closer, err := sandbox.Share(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, second := newShop(t, "http://sandbox", through), sharing(t, dir)
	in := first.charge(575, "tok_visa", "a")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, "kept", second.get(in.ID).AmountReceived, 575)
	_, err = first.confirm(t.Context(), in.ID, "late")
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("a closed share said %v", err)
	}
}

// counter counts the lines of a log.
type counter struct{ atomic.Int64 }

func (c *counter) Write(line []byte) (int, error) {
	c.Add(1)
	return len(line), nil
}

// TestClosingIsNoFault closes books while others are served: the log tells of no error.
func TestClosingIsNoFault(t *testing.T) {
	t.Parallel()
	var faults counter
	log := slog.New(slog.NewTextHandler(&faults, &slog.HandlerOptions{Level: slog.LevelError}))
	for range 20 {
		dir := t.TempDir()
		_, closer, err := sandbox.Share(dir, log)
		if err != nil {
			t.Fatal(err)
		}
		sharing(t, dir).charge(575, "tok_visa", "a")
		if err := closer.Close(); err != nil {
			t.Error(err)
		}
	}
	if n := faults.Load(); n > 0 {
		t.Errorf("%d errors in the log", n)
	}
}

// Whoever has the lock and serves nobody is a process that stopped answering.
func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, sandbox.Options{})
	s := sharing(t, dir)
	began := time.Now()
	_, _, err := s.call(t.Context(), "GET", "/v1/refunds", "", "")
	var refused *net.OpError
	if !errors.As(err, &refused) || !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("nobody answered with %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Fatalf("that took %v", took)
	}
}

func TestACallerThatLeavesTakesNothingAlong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	holding, asking := sharing(t, dir), sharing(t, dir)
	for name, s := range map[string]*shop{"holder": holding, "other": asking} {
		in := s.create(575, "tok_timeout", name)
		ctx, cancel := context.WithTimeout(t.Context(), slow)
		_, err := s.confirm(ctx, in.ID, name+"-confirm")
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%s: %v", name, err)
		}
		equal(t, "status", s.get(in.ID).Status, stripe.PaymentIntentStatusSucceeded)
	}
}

func TestALongDirectoryHasAShortSocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30))
	one, two := sharing(t, dir), sharing(t, dir)
	in := one.charge(575, "tok_visa", "a")
	equal(t, "seen by the other", two.get(in.ID).AmountReceived, 575)
}

func TestServe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sandbox.Serve(ctx, dir, listener, sandbox.Options{}) }()
	s := newShop(t, "http://"+listener.Addr().String(), nil)
	in := s.charge(575, "tok_visa", "a")
	equal(t, "seen by who shares", sharing(t, dir).get(in.ID).AmountReceived, 575)
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
