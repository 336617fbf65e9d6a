package main

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const signInLimit = 4 << 10 // bytes of the form

// staffSignInForm shows the door.
func (a *API) staffSignInForm(c echo.Context) error {
	return writePage(c, http.StatusOK, "sign-in", signInPage{head: head{Title: "Sign in"}})
}

// staffSignIn lets in who knows the password. Attempts are counted before the password is looked at, so
// that many at once get no further than one after another.
func (a *API) staffSignIn(c echo.Context) error {
	name, password, err := signInForm(c)
	if err != nil {
		return err
	}
	page := signInPage{head: head{Title: "Sign in"}, Name: name}
	keys := []string{"name " + name, "address " + httprate.CanonicalizeIP(c.RealIP())}
	if wait := a.attempts.take(time.Now(), keys...); wait > 0 {
		page.Wait = int(wait/time.Second) + 1
		page.Fault = "Too many attempts."
		c.Response().Header().Set(echo.HeaderRetryAfter, strconv.Itoa(page.Wait))
		return writePage(c, http.StatusTooManyRequests, "sign-in", page)
	}
	ctx := c.Request().Context()
	staff, err := db.CheckPassword(ctx, a.pool, name, password)
	if errors.Is(err, db.ErrWrongPassword) {
		page.Fault = "The name or the password is wrong."
		return writePage(c, http.StatusUnprocessableEntity, "sign-in", page)
	}
	a.attempts.giveBack(keys...)
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

// signInForm reads name and password. A name too long to be anybody's is cut: it stays wrong and cannot
// fill the memory of the throttle.
func signInForm(c echo.Context) (name, password string, err error) {
	req := c.Request()
	if media, _, _ := strings.Cut(req.Header.Get(echo.HeaderContentType), ";"); strings.TrimSpace(media) != echo.MIMEApplicationForm {
		return "", "", problem("unsupported_media_type", "the body must be a form")
	}
	req.Body = http.MaxBytesReader(c.Response().Writer, req.Body, signInLimit)
	if err := req.ParseForm(); err != nil {
		var exceeded *http.MaxBytesError
		if errors.As(err, &exceeded) {
			return "", "", tooLarge(signInLimit)
		}
		return "", "", problem("bad_query", "the form is malformed")
	}
	name = strings.TrimSpace(req.PostForm.Get("name"))
	return name[:min(len(name), 81)], req.PostForm.Get("password"), nil
}
