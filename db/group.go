package db

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// groupMax bounds one group. Past a few hundred rows a statement gains nothing more and
	// everybody in the group waits longer.
	groupMax = 256
	// groupFlights is one: while a group is written the next one gathers, and two would share the same
	// two cores in groups of half the size.
	groupFlights = 1
	// groupWaiting bounds the callers that wait for a group, unless it says otherwise. At the slowest flush
	// seen (groupMax rows in 100 ms) the last of them waits less than two seconds.
	groupWaiting = 4096
	// flushTimeout bounds one flush, its repetitions included.
	flushTimeout = 10 * time.Second
	// groupTries is how often a group is flushed that lost a deadlock or a serialization race.
	groupTries = 5
	// answersAtOnce bounds the callers that are woken together.
	answersAtOnce = 32
)

var (
	// ErrOverloaded says that too many requests wait or write the same already; nothing was done.
	ErrOverloaded = errors.New("too many requests at once")
	// ErrStopping says that the process is shutting down; nothing was done.
	ErrStopping = errors.New("the process is stopping")
	// ErrCommitUnknown says that the answer to a COMMIT was lost: the work is done whole or not at all.
	ErrCommitUnknown = errors.New("the answer to a commit was lost")

	// ErrRace asks for the whole flush again; who loses every time is told to come back, which is one way of being
	// ErrOverloaded.
	ErrRace = fmt.Errorf("%w: another process wrote in between", ErrOverloaded)
	// errPanic is a flush that panicked: a defect, which must not take the other orders along.
	errPanic = errors.New("panic in a flush")
)

// Result is what one request of a group came to.
type Result[A any] struct {
	Answer A
	Err    error
}

// GroupSize is how much a group commit writes at a time; zero stands for the default.
type GroupSize struct {
	Max     int           // requests in one flush
	Flights int           // flushes under way at a time
	Waiting int           // requests that wait for a flush; more are refused
	Pace    time.Duration // from the begin of a flush that several shared to the next one's; 0 for none
}

// Group is group commit: concurrent requests of one kind are gathered while a flush is under way
// and written together by the next one, so that many share one round of statements and one COMMIT.
// With nobody else waiting a request is flushed alone, at once; under load flushes keep a pace, which
// makes fewer and larger groups, unless repeats of a key wait, which cannot share one.
//
// flush writes a group in one transaction of its own and returns one result per request, or an
// error if nothing was written. Requests with the same key never share a group. All methods are
// safe for concurrent use.
type Group[K comparable, Q, A any] struct {
	key   func(Q) K
	flush func(context.Context, []Q) ([]Result[A], error)
	size  GroupSize

	mu      sync.Mutex
	waiting []*groupCall[Q, A]
	flights int
	closed  bool
	idle    sync.Cond
}

type groupCall[Q, A any] struct {
	ctx     context.Context
	request Q
	result  Result[A]
	done    chan struct{}
}

// NewGroup makes a group commit.
func NewGroup[K comparable, Q, A any](size GroupSize, key func(Q) K, flush func(context.Context, []Q) ([]Result[A], error)) *Group[K, Q, A] {
	size = GroupSize{cmp.Or(size.Max, groupMax), cmp.Or(size.Flights, groupFlights), cmp.Or(size.Waiting, groupWaiting), size.Pace}
	g := &Group[K, Q, A]{key: key, flush: flush, size: size}
	g.idle.L = &g.mu
	return g
}

// Do hands a request to the next group and waits for its own answer. When ctx ends first Do returns
// its error: a request not yet in a flush is dropped, one in a flush goes on without its caller.
func (g *Group[K, Q, A]) Do(ctx context.Context, request Q) (A, error) {
	call := &groupCall[Q, A]{ctx: ctx, request: request, done: make(chan struct{})}
	if err := g.join(call); err != nil {
		return call.result.Answer, err
	}
	select {
	case <-call.done:
		return call.result.Answer, call.result.Err
	case <-ctx.Done():
		var none A
		return none, ctx.Err()
	}
}

// Waiting is how many requests wait for a flush.
func (g *Group[K, Q, A]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.waiting)
}

// Close refuses new requests and returns when those accepted have been answered, or ctx ends.
func (g *Group[K, Q, A]) Close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.idle.Broadcast()
	})
	defer stop()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for g.flights > 0 && ctx.Err() == nil {
		g.idle.Wait()
	}
	return ctx.Err()
}

func (g *Group[K, Q, A]) join(call *groupCall[Q, A]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return ErrStopping
	}
	if len(g.waiting) >= g.size.Waiting {
		return ErrOverloaded
	}
	g.waiting = append(g.waiting, call)
	if g.flights < g.size.Flights {
		g.flights++
		go g.run()
	}
	return nil
}

// run flushes group after group until nobody waits.
func (g *Group[K, Q, A]) run() {
	for {
		calls, repeats := g.next()
		if calls == nil {
			return
		}
		began := time.Now()
		g.write(calls)
		answer(calls)
		if len(calls) > 1 && len(calls) < g.size.Max && !repeats {
			time.Sleep(time.Until(began.Add(g.size.Pace)))
		}
	}
}

// answer wakes the callers, a few at a time and those before the next: all at once they would keep everything else in
// the process waiting until the last of them has written its answer.
func answer[Q, A any](calls []*groupCall[Q, A]) {
	for i, call := range calls {
		if i > 0 && i%answersAtOnce == 0 {
			runtime.Gosched()
		}
		close(call.done)
	}
}

// next takes the oldest waiting calls with distinct keys; the others keep their places. It says whether repeats of a key
// are among those: each takes a flush of its own, and at a pace many of them would fill the places of everybody else.
func (g *Group[K, Q, A]) next() (calls []*groupCall[Q, A], repeats bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := make(map[K]bool, min(len(g.waiting), g.size.Max))
	left := g.waiting[:0]
	for _, call := range g.waiting {
		key := g.key(call.request)
		switch {
		case call.ctx.Err() != nil:
		case len(calls) < g.size.Max && !taken[key]:
			taken[key] = true
			calls = append(calls, call)
		default:
			repeats = repeats || taken[key]
			left = append(left, call)
		}
	}
	clear(g.waiting[len(left):])
	g.waiting = left
	if calls == nil {
		g.flights--
		g.idle.Broadcast()
	}
	return calls, repeats
}

// write flushes the calls together. If that fails for a reason that may be one request's, each is written
// alone, once, and only the faulty one fails.
func (g *Group[K, Q, A]) write(calls []*groupCall[Q, A]) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	err := g.try(ctx, calls)
	if err != nil && len(calls) > 1 && isolable(err) {
		for _, call := range calls {
			one := []*groupCall[Q, A]{call}
			if err := g.try(ctx, one); err != nil {
				call.result.Err = err
			}
		}
		return
	}
	if err != nil {
		for _, call := range calls {
			call.result.Err = err
		}
	}
}

// isolable tells a failure that may be one request's from one of the connection, of a session that only reads, or of
// time. After a lost COMMIT answer nothing may be written again.
func isolable(err error) bool {
	var unreachable *pgconn.ConnectError
	var refused *pgconn.PgError
	return !errors.Is(err, ErrCommitUnknown) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) &&
		!errors.As(err, &unreachable) && (!errors.As(err, &refused) || refused.Code != "25006")
}

// try flushes the calls, again when they lost a race against another transaction.
func (g *Group[K, Q, A]) try(ctx context.Context, calls []*groupCall[Q, A]) error {
	requests := make([]Q, len(calls))
	for i, call := range calls {
		requests[i] = call.request
	}
	results, err := repeated(func() ([]Result[A], error) { return g.flushSafely(ctx, requests) })
	if err != nil {
		return err
	}
	for i, call := range calls {
		call.result = results[i]
	}
	return nil
}

func (g *Group[K, Q, A]) flushSafely(ctx context.Context, requests []Q) (results []Result[A], err error) {
	defer func() {
		if p := recover(); p != nil {
			results, err = nil, fmt.Errorf("%w: %v\n%s", errPanic, p, debug.Stack())
		}
	}()
	return g.flush(ctx, requests)
}

// repeated does what may lose a race against another process, until it is done or has lost groupTries times.
func repeated[T any](do func() (T, error)) (done T, err error) {
	for range groupTries {
		if done, err = do(); err == nil || !lostRace(err) {
			break
		}
	}
	return done, err
}

// lostRace tells whether a transaction was rolled back only because of its neighbours.
func lostRace(err error) bool {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return errors.Is(err, ErrRace)
	}
	return refused.Code == "40P01" || refused.Code == "40001"
}
