package main

import (
	"crypto/sha256"
	"net/http"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// orderRef is the order of the address, which need not exist.
func (a *API) orderRef(c echo.Context) (db.OrderRef, error) {
	store, err := a.storeOf(c)
	if err != nil {
		return db.OrderRef{}, err
	}
	id, ok := parseUUID(c.Param("id"))
	if !ok {
		return db.OrderRef{}, db.ErrNotFound
	}
	return db.OrderRef{StoreID: store.ID, ID: id}, nil
}

// by is who asks, as the history shows it.
func by(c echo.Context) string { return requestOf(c).principal.by() }

// getOrder shows one order.
func (a *API) getOrder(c echo.Context) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	order, err := a.orders.Current(c.Request().Context(), ref)
	if err != nil {
		return err
	}
	if unchanged(c, versionTag(order.Version)) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.JSONBlob(http.StatusOK, order.JSON())
}

// listOrders shows a page of the store's orders, newest first.
func (a *API) listOrders(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	filter, err := orderFilter(c, store)
	if err != nil {
		return err
	}
	limit := filter.Limit
	filter.Limit++ // one more tells whether there is a next page
	orders, err := db.ListOrders(c.Request().Context(), a.pool, store.ID, filter)
	if err != nil {
		return err
	}
	page := ordersAnswer{Orders: make([]*db.Order, 0, limit)}
	if len(orders) > limit {
		orders = orders[:limit]
		page.NextCursor = newCursor(orderList(store), orders[limit-1].ID.String())
	}
	page.Orders = append(page.Orders, orders...)
	return c.JSON(http.StatusOK, page)
}

func orderFilter(c echo.Context, store *db.Store) (db.OrderFilter, error) {
	q := readQuery(c)
	f := db.OrderFilter{
		Status: db.Status(q.oneOf("status", "payment_pending", "payment_failed", "placed", "in_progress", "ready",
			"picked_up", "cancelled", "expired", "abandoned")),
		From: q.time("from"), To: q.time("to"), Limit: q.limit(),
	}
	if cursor := q.cursor(orderList(store)); cursor != "" {
		id, ok := parseUUID(cursor)
		if !ok {
			q.fault("cursor is not one of ours")
		}
		f.Before = id
	}
	return f, q.err
}

func orderList(store *db.Store) string { return "orders of " + store.Slug }

type ordersAnswer struct {
	Orders     []*db.Order `json:"orders"`
	NextCursor string      `json:"next_cursor,omitempty"`
}

// postPayment charges another card after a failed payment.
func (a *API) postPayment(c echo.Context) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	key, err := idempotencyKey(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return err
	}
	fields := body.fields()
	_, token := readPayment(fields.child("payment"), "card")
	if err := fields.err(); err != nil {
		return err
	}
	hash := sha256.New()
	hash.Write(ref.ID[:])
	hash.Write(body.raw)
	wait := preferWait(c)
	ctx := c.Request().Context()
	placed, err := a.orders.PayAgain(ctx, ref, token, by(c), key, hash.Sum(nil), wait)
	if err != nil {
		return err
	}
	replay, replayed := placed.Replay, placed.Replay != nil
	if !replayed {
		replay = unanswered(ref.ID, wait)
	}
	frozen, err := a.orders.Answer(ctx, ref.StoreID, db.PaymentRoute, key, replay, func(o *db.Order) (int, []byte) {
		return settledStatus(o), o.JSON()
	})
	if err != nil {
		return err
	}
	store, _ := a.catalog.StoreByID(ref.StoreID)
	return answerOrder(c, store, ref.ID, frozen.Status, frozen.Answer, replayed)
}

// postCancel cancels an order that is not being made yet.
func (a *API) postCancel(c echo.Context) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	body, err := readOptionalBody(c)
	if err != nil {
		return err
	}
	fields := body.fields()
	reason := fields.optionalText("reason", 1, 200)
	if err := fields.err(); err != nil {
		return err
	}
	order, err := a.orders.Advance(c.Request().Context(), ref, db.CancelByCustomer(by(c), reason))
	if err != nil {
		return err
	}
	return c.JSONBlob(http.StatusOK, order.JSON())
}
