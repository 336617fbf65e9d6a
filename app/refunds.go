package main

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// versionTag is the entity tag of the version of an order, or of a store's settings.
func versionTag(version int) string { return `"` + strconv.Itoa(version) + `"` }

// postRefund gives back units of lines, and the tip. It takes the order as the caller has seen it, so that asking twice
// does not refund twice.
func (a *API) postRefund(c echo.Context) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return err
	}
	asked, err := readRefund(body.fields())
	if err != nil {
		return err
	}
	seen := slices.Clone(c.Request().Header.Values("If-Match"))
	order, err := a.orders.Advance(c.Request().Context(), ref, ifSeen(seen, db.GiveBack(asked, by(c))))
	if err != nil {
		return err
	}
	c.Response().Header().Set("ETag", versionTag(order.Version))
	return c.JSONBlob(refundStatus(order), order.JSON())
}

// refundStatus is 202 while the provider has to be waited for.
func refundStatus(o *db.Order) int {
	if o.Payment.Status == db.RefundPending {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// ifSeen decides only on the version of the order that the tags of an If-Match name.
func ifSeen(tags []string, decide db.Decision) db.Decision {
	return func(o *db.Order, now time.Time) error {
		if err := ifMatches(tags, versionTag(o.Version)); err != nil {
			return err
		}
		return decide(o, now)
	}
}

func readRefund(f *fields) (db.RefundRequest, error) {
	var asked db.RefundRequest
	for _, line := range f.optionalList("lines", 0, db.MaxLines) {
		asked.Lines = append(asked.Lines, db.LineUnits{Line: line.int("line", -anyInt, anyInt), Quantity: line.int("quantity", -anyInt, anyInt)})
	}
	if f.has("tip") {
		asked.Tip = f.bool("tip")
	}
	asked.Reason = f.text("reason", 1, maxReason)
	return asked, f.err()
}

const maxReason = 200
