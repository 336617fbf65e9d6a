package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// findOrder leads from what somebody says of an order to its story, or back to the staff home with the reason why not.
func (a *API) findOrder(c echo.Context) error {
	q := readQuery(c)
	sought := findView{Store: q.text("store", searchMost), Number: q.text("number", 20), Day: q.text("day", 20), Order: q.text("order", 60)}
	if q.err != nil {
		return q.err
	}
	store, id, err := a.orderSought(c.Request().Context(), sought)
	var reason *Problem
	switch {
	case errors.As(err, &reason):
		page, err := a.staffPage(c)
		if err != nil {
			return err
		}
		page.Find = sought
		page.Find.Fault = sentence(reason.Detail)
		return writePage(c, reason.Status, "staff", page)
	case err != nil:
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/staff/"+store.Slug+"/orders/"+id.String())
}

// orderSought is the order that is meant. A Problem says what to say better, or that there is none.
func (a *API) orderSought(ctx context.Context, f findView) (*db.Store, uuid.UUID, error) {
	if text := strings.TrimSpace(f.Order); text != "" {
		return a.orderOfID(ctx, text)
	}
	store, err := a.storeSought(f.Store)
	if err != nil {
		return nil, uuid.Nil, err
	}
	number, err := strconv.ParseUint(strings.TrimSpace(f.Number), 10, 31)
	if err != nil {
		return nil, uuid.Nil, problem("bad_query", "say the order's number, or its id")
	}
	day := time.Now().In(store.Location)
	if f.Day != "" {
		if day, err = time.Parse(time.DateOnly, f.Day); err != nil {
			return nil, uuid.Nil, problem("bad_query", "a day looks like 2026-01-31")
		}
	}
	from, to := db.DayBounds(day, store.Location)
	id, err := db.FindOrder(ctx, a.pool, store.ID, int(number), from, to)
	return store, id, missing(err, "%s has no order %d of %s", store.Name, number, day.Format("2 January 2006"))
}

// orderOfID needs no store: nobody who has an order's id in front of him should have to know where it was placed.
func (a *API) orderOfID(ctx context.Context, text string) (*db.Store, uuid.UUID, error) {
	id, ok := parseUUID(text)
	if !ok {
		return nil, uuid.Nil, problem("bad_query", "an order's id looks like 019ab6c0-5f00-7abc-8def-0123456789ab")
	}
	storeID, err := db.StoreOfOrder(ctx, a.pool, id)
	if err != nil {
		return nil, uuid.Nil, missing(err, "there is no order with this id")
	}
	store, ok := a.catalog.StoreByID(storeID)
	if !ok {
		return nil, uuid.Nil, problem("not_found", "the order's store was opened this very moment; try again")
	}
	return store, id, nil
}

// storeSought is the store of that slug, else the only one that a search finds.
func (a *API) storeSought(text string) (*db.Store, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, problem("bad_query", "say at which store")
	}
	if store, ok := a.catalog.Store(text); ok {
		return store, nil
	}
	if store, ok := a.catalog.Named(text); ok {
		return store, nil
	}
	switch found := a.catalog.Search(text, "", 2); len(found) {
	case 1:
		return found[0], nil
	case 0:
		return nil, problem("not_found", "there is no store of that name")
	}
	return nil, problem("bad_query", "several stores are called something like that: say more of the name")
}

// missing puts words to db.ErrNotFound.
func missing(err error, format string, words ...any) error {
	if errors.Is(err, db.ErrNotFound) {
		return problem("not_found", fmt.Sprintf(format, words...))
	}
	return err
}
