package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
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
	watcher := a.hub.WatchOrder(ref)
	defer watcher.Close()
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
	stream, err := openStream(c)
	if err != nil {
		return err
	}
	return a.follow(c, stream, watcher, func(orders []*db.Order) (bool, error) {
		for _, o := range append([]*db.Order{order}, orders...) {
			if o.Version <= seen {
				continue
			}
			if err := stream.send(strconv.Itoa(o.Version), o.JSON()); err != nil {
				return true, err
			}
			seen, order = o.Version, o
		}
		return over(order), nil
	})
}

// over tells whether nothing will ever happen to the order again.
func over(o *db.Order) bool { return o.Status.Final() && o.Payment.Status.Settled() }

// getBoardLive streams a store's board: all of it first, then each order that changes.
func (a *API) getBoardLive(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	watcher := a.hub.WatchBoard(store.ID)
	defer watcher.Close()
	board, err := a.readBoard(c, store)
	if err != nil {
		return err
	}
	stream, err := openStream(c)
	if err != nil {
		return err
	}
	first, err := json.Marshal(struct {
		Board *boardView `json:"board"`
	}{board})
	if err != nil {
		return err
	}
	if err := stream.send("", first); err != nil {
		return nil
	}
	shown := make(map[uuid.UUID]int, len(board.Orders))
	for _, o := range board.Orders {
		shown[o.ID] = o.Version
	}
	return a.follow(c, stream, watcher, func(orders []*db.Order) (bool, error) {
		for _, o := range orders {
			if o.Version <= shown[o.ID] {
				continue
			}
			delete(shown, o.ID) // the hub itself repeats nothing: this was about the first message alone
			if err := stream.send("", orderMessage(o)); err != nil {
				return true, err
			}
		}
		return false, nil
	})
}

func orderMessage(o *db.Order) []byte {
	order := o.JSON()
	message := make([]byte, 0, len(order)+16)
	message = append(message, `{"order":`...)
	message = append(message, order...)
	return append(message, '}')
}

// follow hands what the watcher gets to show, which says when the stream is over. A client that went away, a
// credential that was revoked and a process that stops end it too; none of that is an error.
func (a *API) follow(c echo.Context, stream stream, watcher *db.Watcher, show func([]*db.Order) (bool, error)) error {
	ctx, cancel := context.WithCancel(stream.context())
	defer cancel()
	heartbeat, credential := time.NewTicker(heartbeatEvery), time.NewTicker(credentialEvery)
	defer heartbeat.Stop()
	defer credential.Stop()
	for {
		orders, err := watcher.Take()
		if err != nil {
			return stream.close(errors.Is(err, db.ErrStopping))
		}
		done, err := show(orders)
		if done || err != nil {
			return stream.close(false)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-watcher.Ready():
		case <-heartbeat.C:
			if err := stream.heartbeat(); err != nil {
				return nil
			}
		case <-credential.C:
			if !a.stillValid(ctx, requestOf(c).principal) {
				return stream.close(false)
			}
		}
	}
}
