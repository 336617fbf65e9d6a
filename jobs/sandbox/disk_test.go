package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"frenchpress/jobs/sandbox"
)

// diskRoom is how much a disk takes in fillDisk, in bytes.
const diskRoom = 200 << 10

// fillDisk charges through a shop until the disk is full, which for this process are 200 KiB, and looks at a charge meanwhile;
// then it has room again, or else the process is gone. It says which charges were answered.
func fillDisk(s *shop, abandon bool) {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	check(syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit))
	full := limit
	full.Cur = diskRoom
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full))
	last := ""
	for n := 0; ; n++ {
		id, err := chargeOnce(s, strconv.Itoa(n))
		if err != nil {
			break
		}
		last = id
	}
	for range 20 {
		if _, err := chargeOnce(s, "refused"); err == nil {
			check(errors.New("a full disk took a charge"))
		}
		response, text, err := s.call(context.Background(), "GET", "/v1/payment_intents/"+last, "", "")
		check(err)
		if response.StatusCode != http.StatusOK || !strings.Contains(text, `"succeeded"`) {
			check(fmt.Errorf("with a full disk a charge was %s", text))
		}
	}
	if _, text, err := s.call(context.Background(), "GET", "/v1/payment_intents", "", ""); err == nil {
		check(fmt.Errorf("what is not on disk was listed: %s", text))
	}
	if abandon {
		os.Exit(0)
	}
	check(syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit))
}

func chargeOnce(s *shop, key string) (id string, err error) {
	response, text, err := s.call(context.Background(), "POST", "/v1/payment_intents", key, visa+"&confirm=true")
	if err != nil || response.StatusCode != http.StatusOK {
		return "", errors.Join(err, errors.New(text))
	}
	fmt.Println(firstID(text))
	return firstID(text), nil
}

// fillShared fills the disk of shared books, which are opened again once they have room, unless they are abandoned.
func fillShared(dir string, abandon bool) {
	var errorsTold counter
	through, closer, err := sandbox.Share(dir, slog.New(slog.NewTextHandler(&errorsTold, &slog.HandlerOptions{Level: slog.LevelError})))
	check(err)
	s := newShop(new(testing.T), "http://sandbox", through)
	fillDisk(s, abandon)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err = chargeOnce(s, "again"); err == nil || time.Now().After(deadline) {
			break
		}
	}
	check(err)
	if n := errorsTold.Load(); n != 1 {
		check(fmt.Errorf("the log has %d errors, of one full disk", n))
	}
	check(closer.Close())
	os.Exit(0)
}

// fillServed fills the disk of a server, which ends once it has room.
func fillServed(dir string) {
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	check(err)
	ended := make(chan error, 1)
	go func() { ended <- sandbox.Serve(context.Background(), dir, listener, sandbox.Options{}) }()
	fillDisk(newShop(new(testing.T), "http://"+listener.Addr().String(), nil), false)
	select {
	case err := <-ended:
		if !errors.Is(err, syscall.EFBIG) {
			check(fmt.Errorf("the server ended with %w", err))
		}
	case <-time.After(10 * time.Second):
		check(errors.New("the server did not end"))
	}
	os.Exit(0)
}

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func TestAFullDisk(t *testing.T) {
	t.Parallel()
	for _, role := range []string{"fill shared", "fill abandoned", "fill served"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			other, out := child(t, role, dir)
			answered, err := io.ReadAll(out)
			if err != nil {
				t.Fatal(err)
			}
			if err := other.Wait(); err != nil {
				t.Fatalf("%v: %s", err, answered)
			}
			text := readBooks(t, dir)
			if longest := slices.MaxFunc(lines(text), func(a, b []byte) int { return len(a) - len(b) }); len(text) < diskRoom-len(longest) {
				t.Fatalf("a disk of %d bytes was full of %d", diskRoom, len(text))
			}
			s, _ := open(t, dir, sandbox.Options{})
			captured := ""
			for _, e := range s.ledger() {
				captured += e.Intent + "\n"
			}
			equal(t, "captured", captured, string(answered))
			equal(t, "torn", readTorn(t, dir), "")
		})
	}
}
