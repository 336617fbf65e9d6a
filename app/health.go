package main

import (
	"context"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// readyWait is shorter than the patience of those who ask.
const readyWait = 2 * time.Second

// healthz says that the process lives.
func (a *API) healthz(c echo.Context) error {
	return c.JSONBlob(http.StatusOK, []byte(`{"status":"ok"}`))
}

// readyz says whether it can serve, else why not.
func (a *API) readyz(c echo.Context) error {
	if why := a.state.Load(); why != nil {
		return problem("not_ready", *why)
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), readyWait)
	defer cancel()
	switch readOnly, err := db.ReadOnly(ctx, a.pool); {
	case err != nil:
		return problem("not_ready", "the database cannot be reached").because(err)
	case readOnly:
		return problem("not_ready", "the database is read-only: a standby, or somebody has set it so")
	}
	return c.JSONBlob(http.StatusOK, []byte(`{"status":"ready"}`))
}
