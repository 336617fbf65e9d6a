package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
	"frenchpress/jobs"
	"frenchpress/jobs/sandbox"
)

const (
	// sandboxURL and sandboxKey are where and how the built-in provider is asked: its transport goes nowhere.
	sandboxURL = "http://sandbox"
	sandboxKey = "sk_sandbox"
	// reconcileTimeout leaves time to show what was found.
	reconcileTimeout = handlingTimeout - 5*time.Second
	// differencesShown bounds a page of them: with more the books are wrong as a whole.
	differencesShown = 200
)

// openProvider is the provider of the settings, or the built-in sandbox of this database.
func (s *Server) openProvider(ctx context.Context, config Config, log *slog.Logger, pool *pgxpool.Pool) (*jobs.Provider, error) {
	if config.PaymentURL != "" {
		return jobs.NewProvider(config.PaymentURL, config.PaymentKey, nil, log), nil
	}
	if config.DataDir == "" {
		return nil, errors.New("DATA_DIR is needed where there is no home directory: the built-in sandbox keeps its books there")
	}
	name, err := db.Name(ctx, pool)
	if err != nil {
		return nil, fmt.Errorf("asking which database this is: %w", err)
	}
	dir := filepath.Join(config.DataDir, "sandbox", name)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		charged, err := db.AnyCharge(ctx, pool)
		if err != nil {
			return nil, fmt.Errorf("asking for charges: %w", err)
		}
		if charged {
			log.WarnContext(ctx, "the books of the built-in sandbox are new, and this database has charges that are in none: they can be neither refunded nor reconciled", "dir", dir)
		}
	}
	transport, books, err := sandbox.Share(dir, log)
	if err != nil {
		return nil, fmt.Errorf("opening the sandbox: %w", err)
	}
	s.onClose(func(context.Context) error { return books.Close() })
	return jobs.NewProvider(sandboxURL, sandboxKey, transport, log), nil
}

// postProviderMessage takes what the provider tells by itself. It is answered when it is kept; what follows from it is a
// job's.
func (a *API) postProviderMessage(c echo.Context) error {
	if a.config.PaymentSecret == "" {
		return problem("not_found", "there is nothing at this address")
	}
	if !isJSON(c.Request().Header) {
		return notJSON()
	}
	raw, err := readRaw(c, bodyLimit)
	if err != nil {
		return err
	}
	delivery, err := jobs.ReadDelivery(raw, c.Request().Header.Get("Stripe-Signature"), a.config.PaymentSecret)
	switch {
	case errors.Is(err, jobs.ErrSignature):
		return problem("bad_signature", "the message is not signed by the provider, or too long ago").because(err)
	case errors.Is(err, jobs.ErrMessage) && !json.Valid(raw):
		return problem("malformed_json", "the body is not JSON")
	case err != nil:
		return db.Faults{{Pointer: "", Detail: "is no message of the provider"}}
	}
	if err := a.jobs.Take(c.Request().Context(), delivery); err != nil {
		return err
	}
	return c.JSONBlob(http.StatusOK, []byte(`{"received":true}`))
}

// differencesBody is how far the provider's books were compared with ours, and in what they differ.
type differencesBody struct {
	RanAt       *time.Time      `json:"ran_at,omitempty"` // absent: never
	DoneUntil   *time.Time      `json:"done_until,omitempty"`
	Differences []db.Difference `json:"differences"`
}

func (a *API) differences(ctx context.Context) (body differencesBody, err error) {
	last, err := db.LastReconciliation(ctx, a.pool)
	if err != nil {
		return body, err
	}
	if last != nil {
		ran, done := last.RanAt.UTC(), last.DoneUntil.UTC()
		body.RanAt, body.DoneUntil = &ran, &done
	}
	open, err := db.OpenDifferences(ctx, a.pool, differencesShown)
	body.Differences = append([]db.Difference{}, open...)
	for i := range body.Differences {
		d := &body.Differences[i]
		d.FirstSeen, d.LastSeen = d.FirstSeen.UTC(), d.LastSeen.UTC()
	}
	return body, err
}

// getDifferences shows what the last comparison found.
func (a *API) getDifferences(c echo.Context) error {
	body, err := a.differences(c.Request().Context())
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, body)
}

// postReconcile compares now, up to this very moment or as far as it gets before the request must be answered, and shows
// what was found.
func (a *API) postReconcile(c echo.Context) error {
	ctx, cancel := context.WithTimeout(c.Request().Context(), reconcileTimeout)
	defer cancel()
	if err := a.jobs.Reconcile(ctx, time.Now()); err != nil {
		return err
	}
	return a.getDifferences(c)
}

// staffPayments shows the differences to people.
func (a *API) staffPayments(c echo.Context) error {
	body, err := a.differences(c.Request().Context())
	if err != nil {
		return err
	}
	page := paymentsPage{head: head{Title: "Payments"}, Ran: "never"}
	if body.RanAt != nil {
		page.Ran = body.RanAt.Format("2 January 2006, 15:04:05 UTC")
	}
	for _, d := range body.Differences {
		page.Differences = append(page.Differences, a.differenceView(d))
	}
	return writePage(c, http.StatusOK, "payments", page)
}

func (a *API) differenceView(d db.Difference) differenceView {
	view := differenceView{Words: sentence(d.Words), Intent: d.Ref, Ours: fmt.Sprint(d.Ours), Provider: fmt.Sprint(d.Provider),
		Since: d.FirstSeen.Format("2 January 2006, 15:04:05 UTC")}
	ref, ok := db.ParseReference(d.Order)
	if !ok {
		return view
	}
	if store, known := a.catalog.StoreByID(ref.StoreID); known {
		view.Store, view.Story = store.Name, "/staff/"+store.Slug+"/orders/"+ref.ID.String()
		view.Ours, view.Provider = money(d.Ours, store.Currency), money(d.Provider, store.Currency)
	}
	return view
}
