package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// who is a set of roles.
type who uint8

// The roles of the contract. byCustomer is the customer of the very order of the address, byBarista a device
// of the very store; staff get into every store.
const (
	byCustomer who = 1 << iota
	byBarista
	bySupport
	byManager
	byAdmin

	anyone  who = 0
	byStaff     = bySupport | byManager | byAdmin
)

var roles = map[string]who{db.Support: bySupport, db.Manager: byManager, db.Admin: byAdmin}

// principal is who a request comes from.
type principal struct {
	who    who         // one role
	name   string      // of a device or of staff
	order  db.OrderRef // of a customer
	device *db.Device  // of a barista
	staff  *db.Staff

	token        string // of staff at the API; empty in a session
	sessionToken string
}

// by is the principal as the history of an order shows it.
func (p *principal) by() string {
	if p.who == byCustomer {
		return p.kind()
	}
	return p.kind() + ":" + p.name
}

func unauthenticated(detail string) error { return problem("unauthenticated", detail) }

// forbidden is one answer for all: it does not tell whether the thing exists.
func forbidden() error { return problem("forbidden", "this credential is not for that") }

// authenticate finds out who sends the request. A token that is no good is refused, even if the browser has a session as
// well.
func (a *API) authenticate(c echo.Context, live bool) (*principal, error) {
	token, given, err := bearer(c.Request(), live)
	switch {
	case err != nil:
		return nil, err
	case !given:
		return a.sessionPrincipal(c)
	case strings.HasPrefix(token, db.OrderPrefix):
		ref, ok := db.ParseOrderToken(a.secret, token)
		if !ok {
			return nil, unauthenticated("the order's token is not one of ours")
		}
		return &principal{who: byCustomer, order: ref}, nil
	}
	ctx := c.Request().Context()
	if strings.HasPrefix(token, db.DevicePrefix) {
		device, err := a.pairings.Device(ctx, token)
		if err != nil {
			return nil, refusedToken(err)
		}
		return &principal{who: byBarista, name: device.Name, device: device}, nil
	}
	staff, err := db.StaffByToken(ctx, a.pool, token)
	if err != nil {
		return nil, refusedToken(err)
	}
	p := staffPrincipal(staff)
	p.token = token
	return p, nil
}

func refusedToken(err error) error {
	if errors.Is(err, db.ErrUnknownToken) {
		return unauthenticated("the token is unknown or has been revoked")
	}
	return err
}

func staffPrincipal(staff *db.Staff) *principal {
	return &principal{who: roles[staff.Role], name: staff.Name, staff: staff}
}

// bearer is the token of a request. Browsers cannot set a header on a live stream: there, and only there, the
// query may have it.
func bearer(r *http.Request, live bool) (token string, given bool, err error) {
	headers := r.Header[echo.HeaderAuthorization]
	if len(headers) == 0 {
		if live && r.URL.Query().Has("token") {
			return r.URL.Query().Get("token"), true, nil
		}
		return "", false, nil
	}
	scheme, token, found := strings.Cut(headers[0], " ")
	if len(headers) > 1 || !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false, unauthenticated("the Authorization header must be: Bearer, a space, a token")
	}
	return token, true, nil
}

// admits tells whether a principal gets into a route, with the store and the order of the address. It
// looks at names alone, so that nothing can be learned about what exists.
func (a *API) admits(p *principal, route *Route, c echo.Context) bool {
	if p.who&route.Who == 0 {
		return false
	}
	switch p.who {
	case byCustomer:
		id, ok := parseUUID(c.Param("id"))
		return ok && id == p.order.ID && a.isStore(c.Param("store"), p.order.StoreID)
	case byBarista:
		return a.isStore(c.Param("store"), p.device.StoreID)
	}
	return true
}

func (a *API) isStore(slug string, id int32) bool {
	store, ok := a.catalog.Store(slug)
	return ok && store.ID == id
}

// stillValid tells whether a stream may go on; ask every second or two. It is cheap for devices, however
// many. While the database cannot be asked, what was valid stays so.
func (a *API) stillValid(ctx context.Context, p *principal) bool {
	switch {
	case p.who == byCustomer:
		return true
	case p.who == byBarista:
		return !a.pairings.Revoked(p.device.ID)
	case p.token != "":
		staff, err := db.StaffByToken(ctx, a.pool, p.token)
		return !errors.Is(err, db.ErrUnknownToken) && (err != nil || staff.Role == p.staff.Role)
	}
	staff, err := a.sessionStaff(ctx, p.sessionToken)
	return !isUnauthenticated(err) && (err != nil || staff.Role == p.staff.Role)
}

func isUnauthenticated(err error) bool {
	var refused *Problem
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized
}

// admit lets those in who may get in, and sets what an answer of the route's kind always says.
func (a *API) admit(route Route) echo.HandlerFunc {
	return func(c echo.Context) error {
		requestOf(c).route = &route
		route.headers(c.Response().Header())
		if !route.Memory {
			request := c.Request()
			ctx, cancel := context.WithTimeout(request.Context(), handlingTimeout)
			c.SetRequest(request.WithContext(ctx))
			defer func() {
				cancel()
				c.SetRequest(request) // whose context still tells whether the caller has gone away
			}()
		}
		if route.Page {
			if err := a.checkOrigin(c); err != nil {
				return err
			}
		}
		if route.Who == anyone {
			return route.Handler(c)
		}
		p, err := a.authenticate(c, route.Live)
		if err == nil && p.token == "" && p.staff != nil {
			err = a.checkOrigin(c) // the browser sends its cookie for whoever asks it to
		}
		if err == nil && !a.admits(p, &route, c) {
			err = forbidden()
		}
		if isUnauthenticated(err) && wantsPage(c.Request()) {
			return signInFor(c)
		}
		if err != nil {
			return err
		}
		requestOf(c).principal = p
		return route.Handler(c)
	}
}

// checkOrigin refuses what another site makes a browser send.
func (a *API) checkOrigin(c echo.Context) error {
	if err := a.crossOrigin.Check(c.Request()); err != nil {
		return problem("forbidden", "the request comes from another site").because(err)
	}
	return nil
}
