package main

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// getMenu shows what a store sells now.
func (a *API) getMenu(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	menu, err := a.catalog.Rendered(c.Request().Context(), store, requestOf(c).began)
	if err != nil {
		return err
	}
	return answerMenu(c, menu)
}

// revalidate lets everybody keep an answer who asks each time whether it still holds.
var revalidate = []string{"no-cache"}

func answerMenu(c echo.Context, menu *db.RenderedMenu) error {
	header := c.Response().Header()
	header[echo.HeaderCacheControl] = revalidate
	if unchanged(c, menu.ETag) {
		return c.NoContent(http.StatusNotModified)
	}
	header.Set(echo.HeaderContentLength, strconv.Itoa(len(menu.Body))) // else it goes out in chunks
	return c.JSONBlob(http.StatusOK, menu.Body)
}

// putMenu replaces what a store sells.
func (a *API) putMenu(c echo.Context) error {
	store, err := a.storeOf(c)
	if err != nil {
		return err
	}
	body, err := readBody(c, bodyLimit)
	if err != nil {
		return err
	}
	put, err := readMenu(body.fields(), store.Currency)
	if err != nil {
		return err
	}
	ctx, now := c.Request().Context(), time.Now()
	if err := a.catalog.Refresh(ctx); err != nil {
		return err
	}
	store, _ = a.catalog.StoreByID(store.ID)
	menu, err := a.catalog.Rendered(ctx, store, now)
	if err != nil {
		return err
	}
	if err := ifMatch(c, menu.ETag); err != nil {
		return err
	}
	seen, err := a.catalog.View(ctx, store, now)
	if err != nil {
		return err
	}
	if err := a.catalog.PutMenu(ctx, store, seen, put, by(c)); err != nil {
		return err
	}
	store, _ = a.catalog.StoreByID(store.ID)
	if menu, err = a.catalog.Rendered(ctx, store, time.Now()); err != nil {
		return err
	}
	return answerMenu(c, menu)
}

// ifMatch demands that the caller has seen what is there now.
func ifMatch(c echo.Context, tag string) error {
	return ifMatches(c.Request().Header.Values("If-Match"), tag)
}

// ifMatches is ifMatch of the header's values.
func ifMatches(given []string, tag string) error {
	switch {
	case len(given) == 0:
		return problem("precondition_required", "send the ETag that you have seen in If-Match")
	case !matchesTag(given, tag, false):
		return problem("precondition_failed", "read it again, and send the new ETag in If-Match")
	}
	return nil
}

// unchanged says which tag an answer has, and tells whether the caller only asks for it and has it already.
func unchanged(c echo.Context, tag string) bool {
	c.Response().Header()["Etag"] = []string{tag} // as a header map spells it
	return c.Request().Method != http.MethodPut && matchesTag(c.Request().Header["If-None-Match"], tag, true)
}

// matchesTag tells whether a list of entity tags names this one. Ours are strong, but on its way to us an If-None-Match
// may have been weakened: there W/ and the tag will do too. In If-Match it must not.
func matchesTag(headers []string, tag string, weakened bool) bool {
	for _, header := range headers {
		for given := range strings.SplitSeq(header, ",") {
			given = strings.TrimSpace(given)
			if given == "*" || given == tag || weakened && strings.TrimPrefix(given, "W/") == tag {
				return true
			}
		}
	}
	return false
}
