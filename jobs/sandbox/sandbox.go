// Package sandbox is the built-in card provider: a simulator of the part of Stripe's API that a shop needs,
// with books of its own on its own disk. It remembers what it did, as the real one does, and can be told to
// misbehave.
package sandbox

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// slowFor is how long tok_slow takes, and how long a pending refund stays so.
	slowFor = 5 * time.Second
	// stallFor is how long a stalled call takes.
	stallFor = 30 * time.Second
	// hangMax bounds a call that is never answered, for clients that never go away.
	hangMax = 2 * time.Minute
	// requestsMax bounds the calls under way, those that hang included: 8,192 of them hold about 80 MB.
	requestsMax = 8192
	// recentMax is how many intents are remembered whole: create and confirm of one order stand close together, and
	// what is not here is read from the file.
	recentMax = 1024
)

// ErrInUse says that another process has these books open.
var ErrInUse = errors.New("the sandbox's books are open in another process")

// errClosed says that the books were closed meanwhile; nothing was done.
var errClosed = errors.New("the sandbox is closed")

// Options are how a sandbox behaves; the zero value answers truthfully and sends no webhooks.
type Options struct {
	WebhookURL    string // where webhooks go; empty for none
	WebhookSecret string // signs them
	Faults        Faults
	Log           *slog.Logger  // nil for none
	Slow          time.Duration // how long tok_slow takes; 0 for 5 s
	Stall         time.Duration // how long a stalled call takes; 0 for 30 s
}

// Sandbox is a card provider. It is an http.Handler and safe for concurrent use.
type Sandbox struct {
	options Options
	log     *slog.Logger
	routes  *http.ServeMux
	lock    *os.File
	books   *books
	hooks   *webhooks
	faults  faultSource
	secret  []byte // makes ids that cannot be made up
	busy    atomic.Int64
	closing chan struct{}
	close   sync.Once

	mu       sync.Mutex
	seq      int64
	lastAt   int64 // microseconds; the books' clock never goes back
	intents  shelf[intent]
	refunds  shelf[refund]
	keys     keys
	calls    tally
	deciding map[int]*decision
	timers   map[int]*time.Timer // of pending refunds
	recent   [recentMax]*line
}

// Open opens the books in a directory, which it makes if there is none, and takes its lock: ErrInUse if
// another process has it.
func Open(dir string, options Options) (*Sandbox, error) {
	if options.Log == nil {
		options.Log = slog.New(slog.DiscardHandler)
	}
	if options.Slow == 0 {
		options.Slow = slowFor
	}
	if options.Stall == 0 {
		options.Stall = stallFor
	}
	if err := options.Faults.check(); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		options: options, log: options.Log, lock: lock, closing: make(chan struct{}),
		keys: newKeys(), calls: newTally(), deciding: map[int]*decision{}, timers: map[int]*time.Timer{},
	}
	s.faults.set(options.Faults)
	if err := s.reopen(filepath.Join(dir, "books.jsonl")); err != nil {
		return nil, errors.Join(fmt.Errorf("open the sandbox's books: %w", err), lock.Close())
	}
	s.hooks = newWebhooks(options)
	s.routes = s.route()
	s.resume()
	return s, nil
}

func takeLock(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the sandbox's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the sandbox's lock: %w", err)
	}
	err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), lock.Close())
	}
	return lock, nil
}

// Close ends calls that hang, writes what is accepted and gives the lock back.
func (s *Sandbox) Close() error {
	err := errClosed
	s.close.Do(func() {
		close(s.closing)
		s.mu.Lock()
		for _, d := range s.deciding {
			d.stop()
		}
		for _, t := range s.timers {
			t.Stop()
		}
		s.mu.Unlock()
		s.hooks.close()
		err = errors.Join(s.books.close(), s.lock.Close())
	})
	if errors.Is(err, errClosed) {
		return nil
	}
	return err
}

// ServeHTTP answers one call.
func (s *Sandbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.busy.Add(1) > requestsMax {
		s.busy.Add(-1)
		answerError(w, errRateLimit)
		return
	}
	defer s.busy.Add(-1)
	select {
	case <-s.closing:
		panic(http.ErrAbortHandler)
	default:
	}
	w.Header().Set("Request-Id", "req_"+random())
	if !authorized(r) {
		answerError(w, errKey)
		return
	}
	s.routes.ServeHTTP(w, r)
}

func (s *Sandbox) route() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/payment_intents", s.change(s.create))
	mux.HandleFunc("POST /v1/payment_intents/{id}/confirm", s.change(s.confirm))
	mux.HandleFunc("POST /v1/payment_intents/{id}/cancel", s.change(s.cancel))
	mux.HandleFunc("GET /v1/payment_intents/{id}", s.look(s.getIntent))
	mux.HandleFunc("GET /v1/payment_intents", s.look(s.listIntents))
	mux.HandleFunc("POST /v1/refunds", s.change(s.refund))
	mux.HandleFunc("GET /v1/refunds/{id}", s.look(s.getRefund))
	mux.HandleFunc("GET /v1/refunds", s.look(s.listRefunds))
	mux.HandleFunc("GET /sandbox/ledger", s.getLedger)
	mux.HandleFunc("GET /sandbox/faults", s.getFaults)
	mux.HandleFunc("PUT /sandbox/faults", s.putFaults)
	mux.HandleFunc("GET /sandbox/intents", s.findIntents)
	mux.HandleFunc("POST /sandbox/intents/{id}/hold", s.hold)
	mux.HandleFunc("POST /sandbox/intents/{id}/release", s.release)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerError(w, unknownRoute(r))
	})
	return mux
}
