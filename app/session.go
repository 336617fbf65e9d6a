package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// sessionLife is a long shift.
const sessionLife = 12 * time.Hour

// newSessions keeps sessions in the database, where all processes find them, under hashes. Expired ones
// are deleted at the next sign-in, so nothing needs to run beside.
func newSessions(pool *pgxpool.Pool) *scs.SessionManager {
	sessions := scs.New()
	sessions.Store = pgxstore.NewWithCleanupInterval(pool, 0)
	sessions.HashTokenInStore = true
	sessions.Lifetime = sessionLife
	sessions.Cookie.SameSite = http.SameSiteLaxMode
	return sessions
}

// sessionPrincipal is who signed in at the browser that sends the request.
func (a *API) sessionPrincipal(c echo.Context) (*principal, error) {
	token := a.sessionToken(c)
	staff, err := a.sessionStaff(c.Request().Context(), token)
	if err != nil {
		return nil, err
	}
	p := staffPrincipal(staff)
	p.sessionToken = token
	return p, nil
}

// sessionStaff is who has the session with this token.
func (a *API) sessionStaff(ctx context.Context, token string) (*db.Staff, error) {
	ctx, err := a.sessions.Load(ctx, token)
	if err != nil {
		return nil, err
	}
	name := a.sessions.GetString(ctx, "staff")
	if name == "" {
		return nil, unauthenticated("a token or a session is needed")
	}
	staff, err := db.StaffByName(ctx, a.pool, name)
	switch {
	case errors.Is(err, db.ErrNotFound):
		return nil, unauthenticated("the session is over")
	case err != nil:
		return nil, err
	case staff.Stamp() != a.sessions.GetString(ctx, "stamp"):
		return nil, unauthenticated("the session is over: the password has changed")
	}
	return staff, nil
}

// beginSession gives the browser a new session, whatever it had before.
func (a *API) beginSession(c echo.Context, staff *db.Staff) error {
	ctx, err := a.loadSession(c)
	if err != nil {
		return err
	}
	if err := a.sessions.RenewToken(ctx); err != nil {
		return err
	}
	a.sessions.Put(ctx, "staff", staff.Name)
	a.sessions.Put(ctx, "stamp", staff.Stamp())
	token, expiry, err := a.sessions.Commit(ctx)
	if err != nil {
		return err
	}
	a.cookies(c).WriteSessionCookie(ctx, c.Response(), token, expiry)
	return nil
}

func (a *API) endSession(c echo.Context) error {
	ctx, err := a.loadSession(c)
	if err != nil {
		return err
	}
	if err := a.sessions.Destroy(ctx); err != nil {
		return err
	}
	a.cookies(c).WriteSessionCookie(ctx, c.Response(), "", time.Time{})
	return nil
}

func (a *API) loadSession(c echo.Context) (context.Context, error) {
	return a.sessions.Load(c.Request().Context(), a.sessionToken(c))
}

// sessionToken is empty where there is none.
func (a *API) sessionToken(c echo.Context) string {
	cookie, err := c.Cookie(a.sessions.Cookie.Name)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// cookies writes secure cookies wherever the browser came by TLS.
func (a *API) cookies(c echo.Context) *scs.SessionManager {
	sessions := *a.sessions
	sessions.Cookie.Secure = c.Scheme() == "https"
	return &sessions
}
