package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	heartbeatEvery = 10 * time.Second
	// credentialEvery is how often a stream asks whether its credential still holds.
	credentialEvery = 2 * time.Second
)

// getOrderLive streams one order: the current state first, then the newest whenever it changed, until it
// is final and its money has settled.
func (a *API) getOrderLive(c echo.Context) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	f := a.newFollower(c, a.hub.WatchOrder(ref))
	defer f.release()
	order, err := a.orders.Current(c.Request().Context(), ref)
	if err != nil {
		return err
	}
	seen, _ := strconv.Atoi(c.Request().Header.Get("Last-Event-ID"))
	if seen > order.Version {
		seen = 0 // not a version of this order
	}
	if seen >= order.Version && over(order) {
		return c.NoContent(http.StatusNoContent) // tells an EventSource not to come back
	}
	stream, err := a.openStream(c)
	if err != nil {
		return err
	}
	if order.Version <= seen && stream.heartbeat() != nil { // no news, but the client wants to know that it is connected
		stream.close(false)
		return nil
	}
	f.follow(stream, []*db.Order{order}, func(o *db.Order) (bool, error) {
		if o.Version <= seen {
			return false, nil
		}
		seen = o.Version
		return over(o), stream.send(strconv.Itoa(o.Version), o.JSON(), over(o))
	})
	return nil
}

// over tells whether nothing will ever happen to the order again.
func over(o *db.Order) bool { return o.Status.Final() && o.Payment.Status.Settled() }

// getBoardLive streams a store's board: all of it first, then each order that changes.
func (a *API) getBoardLive(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	f := a.newFollower(c, a.hub.WatchBoard(store.ID))
	defer f.release()
	board, err := a.readBoard(c, store)
	if err != nil {
		return err
	}
	first, err := json.Marshal(struct {
		Board *boardView `json:"board"`
	}{board})
	if err != nil {
		return err
	}
	shown := make(map[uuid.UUID]int, len(board.Orders))
	for _, o := range board.Orders {
		shown[o.ID] = o.Version
	}
	stream, err := a.openStream(c)
	if err != nil {
		return err
	}
	if err := stream.send("", first, false); err != nil {
		stream.close(false)
		return nil
	}
	f.follow(stream, nil, func(o *db.Order) (bool, error) {
		if o.Version <= shown[o.ID] {
			return false, nil
		}
		delete(shown, o.ID) // the hub itself repeats nothing: this was about the first message alone
		return false, stream.send("", orderMessage(o), false)
	})
	return nil
}

func orderMessage(o *db.Order) []byte {
	order := o.JSON()
	message := make([]byte, 0, len(order)+16)
	message = append(message, `{"order":`...)
	message = append(message, order...)
	return append(message, '}')
}

// follower keeps one client up to date. It outlives the request, and has no goroutine while there is nothing to say, for its
// stack would be the most that a stream costs: what happens starts one, unless one is at work.
type follower struct {
	api       *API
	watcher   *db.Watcher
	principal *principal
	requestID string
	following bool

	stream stream
	first  []*db.Order
	show   func(*db.Order) (bool, error)
	timer  *time.Timer
	ticks  int
	ticked atomic.Bool
	gone   atomic.Bool

	mu       sync.Mutex
	working  bool // for ever once the stream is over
	happened bool // something, meanwhile
}

func (a *API) newFollower(c echo.Context, watcher *db.Watcher) *follower {
	r := requestOf(c)
	a.streams.Add(1)
	return &follower{api: a, watcher: watcher, principal: r.principal, requestID: r.id}
}

// release ends the watch of a request that came to no stream.
func (f *follower) release() {
	if !f.following {
		f.end()
	}
}

func (f *follower) end() {
	f.watcher.Close()
	f.api.streams.Add(-1)
}

// follow shows the first orders and then what the watcher gets, until show says that the stream is over. A client
// that went away, a credential that was revoked and a process that stops end it too; none of that is an error.
func (f *follower) follow(stream stream, first []*db.Order, show func(*db.Order) (bool, error)) {
	f.stream, f.first, f.show = stream, first, show
	f.following, f.working = true, true
	tick, _ := f.pace()
	f.timer = time.AfterFunc(tick, func() {
		f.ticked.Store(true)
		f.wake()
	})
	stream.onGone(func() {
		f.gone.Store(true)
		f.wake()
	})
	f.watcher.Notify(f.wake)
	go f.work()
}

// pace is how often it asks whether the credential still holds, and at how many of these times a heartbeat is due.
func (f *follower) pace() (tick time.Duration, beats int) {
	if f.principal.who == byCustomer { // an order's token is never revoked
		return heartbeatEvery, 1
	}
	return credentialEvery, int(heartbeatEvery / credentialEvery)
}

func (f *follower) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.working {
		f.happened = true
		return
	}
	f.working = true
	go f.work()
}

// work goes on until there is nothing to do, or nothing to be done any more.
func (f *follower) work() {
	over := true // also after a panic
	defer func() {
		if p := recover(); p != nil {
			f.api.log.Error("a live stream panicked", "request_id", f.requestID, "panic", fmt.Sprint(p), "trace", string(debug.Stack()))
			f.stream.close(true)
		}
		if over {
			f.timer.Stop()
			f.end()
		}
	}()
	for !f.step() {
		if f.rest() {
			over = false
			return
		}
	}
}

// rest says whether nothing has happened meanwhile; then the work is done.
func (f *follower) rest() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.working, f.happened = f.happened, false
	return !f.working
}

// step shows what there is, and closes the stream if that was all.
func (f *follower) step() (over bool) {
	first := f.first
	f.first = nil
	over = f.showAll(first)
	var err error
	if !over {
		var orders []*db.Order
		orders, err = f.watcher.Take()
		over = err != nil || f.showAll(orders) || f.gone.Load() || f.ticked.Swap(false) && !f.beat()
	}
	if over {
		f.stream.close(errors.Is(err, db.ErrStopping))
	}
	return over
}

// showAll tells whether the stream is over.
func (f *follower) showAll(orders []*db.Order) bool {
	for _, o := range orders {
		if done, err := f.show(o); done || err != nil {
			return true
		}
	}
	return false
}

// beat says whether the credential still holds and the client is still there.
func (f *follower) beat() bool {
	tick, beats := f.pace()
	f.ticks++
	if !f.stillValid() || (f.ticks%beats == 0 && f.stream.heartbeat() != nil) {
		return false
	}
	f.timer.Reset(tick)
	return true
}

func (f *follower) stillValid() bool {
	ctx, cancel := context.WithTimeout(context.Background(), credentialEvery)
	defer cancel()
	return f.api.stillValid(ctx, f.principal)
}
