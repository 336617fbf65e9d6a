package main

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	doorLimit = 4 << 10 // bytes of a form of who is not in yet
	thenMost  = 1 << 10 // bytes of an address to go to
)

// staffSignInForm shows the door.
func (a *API) staffSignInForm(c echo.Context) error {
	page := doorPage{head: head{Title: "Sign in"}, Then: staffPath(c.QueryParam("then"))}
	switch {
	case c.QueryParams().Has("reset"):
		page.Note = "Your new password is set. Sign in with it."
	case page.Then != "":
		page.Note = "Sign in, and you come to where you wanted to go."
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
	page := doorPage{head: head{Title: "Sign in"}, Name: name, Then: staffPath(form.Get("then"))}
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
	return c.Redirect(http.StatusSeeOther, cmp.Or(page.Then, "/staff"))
}

// signInFor leads somebody without a session to the door, and from there to the page that was asked for, or to the order
// that a form was about.
func signInFor(c echo.Context) error {
	r := c.Request()
	then := r.URL.RequestURI()
	if r.Method != http.MethodGet {
		then, _, _ = strings.Cut(r.URL.Path, "/refunds")
	}
	door := "/staff/sign-in"
	if then = staffPath(then); then != "" {
		door += "?then=" + url.QueryEscape(then)
	}
	return c.Redirect(http.StatusSeeOther, door)
}

// staffPath is the address if it is one of the pages behind staff's home, else empty: a link to the door must lead nowhere else.
func staffPath(address string) string {
	at, err := url.Parse(address)
	if err != nil || len(address) > thenMost || !strings.HasPrefix(address, "/staff/") || path.Clean(at.Path) != strings.TrimSuffix(at.Path, "/") {
		return ""
	}
	return at.RequestURI()
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
