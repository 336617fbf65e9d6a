package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/httprate"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	// slow is what somebody should hear of, even when it ended well.
	slow = time.Second

	contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
		"font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

// Every answer says so: made once, for a header map takes a slice.
var nosniff, noReferrer = []string{"nosniff"}, []string{"no-referrer"}

// requestIDName is as a header map spells it.
var requestIDName = http.CanonicalHeaderKey(echo.HeaderXRequestID)

// request is Echo's context of one with what else is known of it. One goroutine has it at a time.
type request struct {
	echo.Context
	id        string
	began     time.Time
	took      time.Duration
	route     *Route     // nil where no route fits
	principal *principal // nil on a public route
	err       error      // what went wrong, for the log
}

// requestOf is never nil inside observe.
func requestOf(c echo.Context) *request {
	r, _ := c.(*request)
	return r
}

func (r *request) failed(err error) { r.err = errors.Join(r.err, err) }

// observe is the outermost: it names the request, answers its error, counts it and writes its line.
func (a *API) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := &request{Context: c, id: requestID(c.Request()), began: time.Now()}
		header := c.Response().Header()
		header[requestIDName], header[echo.HeaderXContentTypeOptions], header[echo.HeaderReferrerPolicy] = []string{r.id}, nosniff, noReferrer
		if err := next(r); err != nil {
			r.failed(err)
			a.answerProblem(err, r)
		}
		r.took = time.Since(r.began)
		a.metrics.count(r)
		a.logRequest(r)
		return nil
	}
}

// requestID is the caller's own if that can stand in a log.
func requestID(r *http.Request) string {
	given := r.Header.Get(echo.HeaderXRequestID)
	for _, b := range []byte(given) {
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
		if !letter && !strings.ContainsRune("-_.:", rune(b)) {
			given = ""
			break
		}
	}
	if given == "" || len(given) > 64 {
		return strconv.FormatUint(rand.Uint64(), 36)
	}
	return given
}

// logRequest writes the one line of a request. The query is never in it: it may hold a token.
func (a *API) logRequest(r *request) {
	ctx, status := r.Request().Context(), r.Response().Status
	level, alike := slog.LevelDebug, int64(0)
	switch {
	case errors.Is(ctx.Err(), context.Canceled): // the caller went away, nobody heard the answer
	case errors.Is(r.err, db.ErrOverloaded) && !errors.Is(r.err, db.ErrRace):
		a.noteShed()
	case status == http.StatusServiceUnavailable:
		if alike = a.unavailable.Due(refusedTold); alike > 0 {
			level = slog.LevelWarn
		}
	case status >= 500:
		level = slog.LevelError
	case r.took > slow && (r.route == nil || !r.route.Live):
		level = slog.LevelInfo
	}
	if !a.log.Enabled(ctx, level) {
		return
	}
	line := []slog.Attr{
		slog.String("request_id", r.id), slog.String("method", r.Request().Method), slog.String("route", r.pattern()),
		slog.Int("status", status), slog.Float64("ms", float64(r.took.Microseconds())/1000), slog.String("who", r.principal.kind()),
	}
	for _, named := range []struct{ param, as string }{{"store", "store"}, {"id", "order"}} {
		if value := r.Param(named.param); value != "" && len(value) <= 64 {
			line = append(line, slog.String(named.as, value))
		}
	}
	if r.err != nil {
		line = append(line, slog.String("error", r.err.Error()))
	}
	if alike > 1 {
		line = append(line, slog.Int64("alike", alike))
	}
	a.log.LogAttrs(ctx, level, "request", line...)
}

// refusedTold is how often requests that were answered 503 are told of: a line for each would be one more load, and hide all
// others.
const refusedTold = time.Second

func (a *API) noteShed() {
	if n := a.shed.Due(refusedTold); n > 0 {
		a.log.Warn("too many requests at once, answered 503", slog.Int64("refused", n))
	}
}

// pattern is the one of the address, which is bounded where addresses are not.
func (r *request) pattern() string {
	if r.route == nil {
		return "none"
	}
	return r.Path()
}

// kind says in a word who it is.
func (p *principal) kind() string {
	if p == nil {
		return "anyone"
	}
	switch p.who {
	case byCustomer:
		return "customer"
	case byBarista:
		return "device"
	}
	return "staff"
}

// recovered makes an error of a panic. http.ErrAbortHandler is no fault but a way to hang up.
func (a *API) recovered(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		return next(c)
	}
}

// rateLimit holds every client address to so many requests a second, but for those who watch our health, and the
// provider, which tells of many orders from few addresses and signs what it says.
func (a *API) rateLimit() echo.MiddlewareFunc {
	if *a.config.RateLimit == 0 {
		return func(next echo.HandlerFunc) echo.HandlerFunc { return next }
	}
	limiter := httprate.NewRateLimiter(*a.config.RateLimit, time.Second, httprate.WithResponseHeaders(httprate.ResponseHeaders{}))
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) error {
			switch c.Path() {
			case "/healthz", "/readyz", "/metrics", webhookPath:
				return next(c)
			}
			if limiter.OnLimit(c.Response(), c.Request(), httprate.CanonicalizeIP(c.RealIP())) {
				return problem("rate_limited", "that was too fast; wait a second")
			}
			return next(c)
		}
	}
}

// headers says what holds for all answers of a route. What somebody needed a credential for is kept nowhere.
func (r *Route) headers(header http.Header) {
	switch {
	case r.Who != anyone:
		header.Set(echo.HeaderCacheControl, "no-store")
	case r.Page:
		header.Set(echo.HeaderCacheControl, "no-cache")
	}
	if r.Page {
		header.Set(echo.HeaderContentSecurityPolicy, contentPolicy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
	}
}

// trustedProxies lets those and no others say on whose behalf they ask.
func trustedProxies(proxies []netip.Prefix) []echo.TrustOption {
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, proxy := range proxies {
		bits := proxy.Addr().BitLen()
		trust = append(trust, echo.TrustIPRange(&net.IPNet{
			IP: proxy.Masked().Addr().AsSlice(), Mask: net.CIDRMask(proxy.Bits(), bits),
		}))
	}
	return trust
}
