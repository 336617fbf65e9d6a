package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strconv"
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

// follower keeps one client up to date, in a goroutine of its own that outlives the request.
type follower struct {
	api       *API
	watcher   *db.Watcher
	principal *principal
	requestID string
	following bool
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
	f.following = true
	go func() {
		defer f.end()
		defer func() {
			if p := recover(); p != nil {
				f.api.log.Error("a live stream panicked", "request_id", f.requestID, "panic", fmt.Sprint(p), "trace", string(debug.Stack()))
				stream.close(true)
			}
		}()
		if f.show(first, show) {
			stream.close(false)
			return
		}
		f.run(stream, show)
	}()
}

// show tells whether the stream is over.
func (f *follower) show(orders []*db.Order, show func(*db.Order) (bool, error)) bool {
	for _, o := range orders {
		if done, err := show(o); done || err != nil {
			return true
		}
	}
	return false
}

func (f *follower) run(stream stream, show func(*db.Order) (bool, error)) {
	tick, beats := credentialEvery, int(heartbeatEvery/credentialEvery)
	if f.principal.who == byCustomer { // an order's token is never revoked
		tick, beats = heartbeatEvery, 1
	}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for ticks := 1; ; {
		orders, err := f.watcher.Take()
		if err != nil {
			stream.close(errors.Is(err, db.ErrStopping))
			return
		}
		if f.show(orders, show) {
			stream.close(false)
			return
		}
		select {
		case <-stream.gone():
			stream.close(false)
			return
		case <-f.watcher.Ready():
		case <-ticker.C:
			if !f.stillValid() || (ticks%beats == 0 && stream.heartbeat() != nil) {
				stream.close(false)
				return
			}
			ticks++
		}
	}
}

func (f *follower) stillValid() bool {
	ctx, cancel := context.WithTimeout(context.Background(), credentialEvery)
	defer cancel()
	return f.api.stillValid(ctx, f.principal)
}
