package main

import (
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// readQuote reads what quotes and orders have in common. How many lines and units there may be is for
// the price rules to say.
func readQuote(f *fields) db.QuoteRequest {
	q := db.QuoteRequest{Fulfilment: f.oneOf("fulfilment", "pickup", "in_store")}
	if tip := f.optionalInt64("tip", 0, db.MaxTotal); tip != nil {
		q.Tip = *tip
	}
	for _, line := range f.list("lines", 1, db.MaxLines) {
		l := db.LineRequest{
			Item: line.text("item", 1, 63), Size: line.optionalText("size", 1, 63),
			Quantity: line.int("quantity", 1, db.MaxQuantity), Note: line.optionalText("note", 0, 200),
		}
		for _, option := range line.optionalList("options", 0, maxOptions) {
			l.Options = append(l.Options, db.OptionRequest{ID: option.text("id", 1, 63), Units: option.int("units", 0, 99)})
		}
		q.Lines = append(q.Lines, l)
	}
	return q
}

// postQuote prices lines without placing anything.
func (a *API) postQuote(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return err
	}
	fields := body.fields()
	request := readQuote(fields)
	view, err := a.catalog.View(c.Request().Context(), store, time.Now())
	if err != nil {
		return err
	}
	quote, faults := view.Price(request)
	if err := fields.errWith(faults); err != nil {
		return err
	}
	if len(faults) > 0 {
		return faults
	}
	return c.JSON(http.StatusOK, quote)
}
