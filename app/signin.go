package main

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const doorLimit = 4 << 10 // bytes of a form of who is not in yet

// staffSignInForm shows the door.
func (a *API) staffSignInForm(c echo.Context) error {
	page := doorPage{head: head{Title: "Sign in"}}
	if c.QueryParams().Has("reset") {
		page.Note = "Your new password is set. Sign in with it."
	}
	return writePage(c, http.StatusOK, "sign-in", page)
}

// staffSignIn lets in who knows the password. Attempts are counted before the password is looked at, so
// that many at once get no further than one after another.
func (a *API) staffSignIn(c echo.Context) error {
	name, form, err := staffForm(c)
	if err != nil {
		return err
	}
	page := doorPage{head: head{Title: "Sign in"}, Name: name}
	if a.throttled(c, &page) {
		return writePage(c, http.StatusTooManyRequests, "sign-in", page)
	}
	ctx := c.Request().Context()
	staff, err := db.CheckPassword(ctx, a.pool, name, form.Get("password"))
	if errors.Is(err, db.ErrWrongPassword) {
		page.Fault = "The name or the password is wrong."
		return writePage(c, http.StatusUnprocessableEntity, "sign-in", page)
	}
	a.attempts.giveBack(attemptKeys(c, name)...)
	if err != nil {
		return err
	}
	if err := db.DropExpiredSessions(ctx, a.pool); err != nil {
		return err
	}
	if err := db.Audit(ctx, a.pool, db.Chain, staff.Name, "staff.signed_in", nil); err != nil {
		return err
	}
	if err := a.beginSession(c, staff); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/staff")
}

// staffSignOut ends the session, if there is one.
func (a *API) staffSignOut(c echo.Context) error {
	if err := a.endSession(c); err != nil {
		return err
	}
	return c.Redirect(http.StatusSeeOther, "/staff/sign-in")
}

// attemptKeys are what attempts to get in are counted by.
func attemptKeys(c echo.Context, name string) []string {
	return []string{"name " + name, "address " + httprate.CanonicalizeIP(c.RealIP())}
}

// throttled counts an attempt of the page's name, or says on the page and in a header how long to wait.
func (a *API) throttled(c echo.Context, page *doorPage) bool {
	wait := a.attempts.take(time.Now(), attemptKeys(c, page.Name)...)
	if wait == 0 {
		return false
	}
	page.Wait = int(wait/time.Second) + 1
	page.Fault = "Too many attempts."
	c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(page.Wait))
	return true
}

// staffForm reads a form with a name in it. A name too long to be anybody's is cut: it stays wrong and cannot
// fill the memory of the throttle.
func staffForm(c echo.Context) (name string, form url.Values, err error) {
	if form, err = readForm(c, doorLimit); err != nil {
		return "", nil, err
	}
	name = strings.TrimSpace(form.Get("name"))
	return name[:min(len(name), 81)], form, nil
}
