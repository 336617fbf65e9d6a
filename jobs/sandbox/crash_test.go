package sandbox_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

// child starts this test binary as another process.
func child(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	other := exec.CommandContext(t.Context(), os.Args[0])
	other.Env = append(os.Environ(), "SANDBOX_ROLE="+role, "SANDBOX_DIR="+dir)
	out, err := other.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	return other, bufio.NewReader(out)
}

// holdBooks says that it holds the books, and waits to be killed.
func holdBooks(dir string) {
	if _, _, err := sandbox.Share(dir, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("holding")
	select {}
}

// chargeOn charges and says which charges were answered, until it is killed.
func chargeOn(dir string) {
	through, _, err := sandbox.Share(dir, nil)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s := newShop(new(testing.T), "http://sandbox", through)
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			for i := 0; ; i++ {
				in := s.charge(575, "tok_visa", fmt.Sprintf("%d-%d", n, i))
				fmt.Println(in.ID)
			}
		})
	}
	callers.Wait()
}

// The page cache lives on after a kill, so this shows that what was answered had been written, not that it was synced.
func TestNoAnsweredChargeIsLostWithAProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other, out := child(t, "charge", dir)
	var answered []string
	for len(answered) < 200 {
		id, err := out.ReadString('\n')
		if err != nil || !strings.HasPrefix(id, "pi_") {
			t.Fatalf("the other process: %q %v", id, err)
		}
		answered = append(answered, strings.TrimSpace(id))
	}
	if err := other.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(rest), "\n")
	answered = append(answered, rows[:len(rows)-1]...) // the last one may be half a line
	_ = other.Wait()                                   // killed
	s, _ := open(t, dir, sandbox.Options{})
	captured := map[string]int{}
	for _, e := range s.ledger() {
		if e.Kind == "captured" {
			captured[e.Intent]++
		}
	}
	for _, id := range answered {
		equal(t, "captures of "+id, captured[id], 1)
	}
	equal(t, "state", s.get(answered[0]).Status, stripe.PaymentIntentStatusSucceeded)
}
