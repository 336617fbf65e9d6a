package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const problemType = "application/problem+json"

// Problem is an error as users see it (RFC 9457). Whatever it holds is for their eyes.
type Problem struct {
	Status     int
	Code       string
	Title      string
	Detail     string
	Errors     db.Faults
	Extra      map[string]any // further members, such as the new quote
	RetryAfter int            // seconds; 0 for none

	cause error // for the log
}

// problemKinds are all codes there are.
var problemKinds = map[string]struct {
	status int
	title  string
}{
	"malformed_json":          {400, "The body cannot be read"},
	"bad_query":               {400, "A query parameter cannot be used"},
	"bad_signature":           {400, "The signature is not right"},
	"idempotency_key_missing": {400, "Idempotency-Key is missing"},
	"idempotency_key_invalid": {400, "Idempotency-Key cannot be used"},
	"unauthenticated":         {401, "Who are you?"},
	"forbidden":               {403, "Not for you"},
	"not_found":               {404, "Not found"},
	"method_not_allowed":      {405, "Method not allowed"},
	db.CodePriceChanged:       {409, "The price has changed"},
	db.CodeStoreClosed:        {409, "The store is closed"},
	db.CodeStorePaused:        {409, "The store takes no orders"},
	db.CodeSlotFull:           {409, "The slot is full"},
	db.CodeCounterFull:        {409, "The counter is full"},
	db.CodeNotPayable:         {409, "Nothing to pay"},
	db.CodeNotCancellable:     {409, "Too late to cancel"},
	db.CodeRefundPending:      {409, "A refund is on its way"},
	db.CodeNotRefundable:      {409, "Nothing to give back"},
	"precondition_failed":     {412, "It has been changed meanwhile"},
	"body_too_large":          {413, "The body is too large"},
	"unsupported_media_type":  {415, "The body is not JSON"},
	"invalid":                 {422, "The body breaks a rule"},
	db.CodeKeyReused:          {422, "Idempotency-Key was used for something else"},
	"precondition_required":   {428, "If-Match is missing"},
	"rate_limited":            {429, "Too many requests"},
	"internal":                {500, "Something went wrong here"},
	"overloaded":              {503, "Too busy"},
	"not_ready":               {503, "Not ready"},
}

// problem makes a Problem of a code and words for a person.
func problem(code, detail string) *Problem {
	kind, known := problemKinds[code]
	if !known {
		code, kind = "internal", problemKinds["internal"]
	}
	p := &Problem{Status: kind.status, Code: code, Title: kind.title, Detail: detail}
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		p.RetryAfter = 1
	}
	return p
}

func tooLarge(limit int) *Problem {
	return problem("body_too_large", fmt.Sprintf("the body has more than %d bytes", limit))
}

func (p *Problem) Error() string {
	if p.cause != nil {
		return p.Code + ": " + p.cause.Error()
	}
	return p.Code + ": " + p.Detail
}

// Unwrap gives what the log may know and users may not.
func (p *Problem) Unwrap() error { return p.cause }

// because keeps what happened for the log.
func (p *Problem) because(err error) *Problem {
	p.cause = err
	return p
}

// MarshalJSON writes the extra members behind the others.
func (p *Problem) MarshalJSON() ([]byte, error) {
	written, err := json.Marshal(struct {
		Type   string    `json:"type"`
		Title  string    `json:"title"`
		Status int       `json:"status"`
		Detail string    `json:"detail"`
		Code   string    `json:"code"`
		Errors db.Faults `json:"errors,omitempty"`
	}{"/problems/" + p.Code, p.Title, p.Status, p.Detail, p.Code, p.Errors})
	if err != nil || len(p.Extra) == 0 {
		return written, err
	}
	extra, err := json.Marshal(p.Extra)
	if err != nil {
		return nil, err
	}
	written[len(written)-1] = ','
	return append(written, extra[1:]...), nil
}

// toProblem says what of an error users get to see. What is not known here is a fault of ours, whose words
// stay inside.
func toProblem(err error) *Problem {
	var known *Problem
	var faults db.Faults
	var refusal *db.Error
	var route *echo.HTTPError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &faults):
		p := problem("invalid", "the body breaks a rule; errors has every fault")
		p.Errors = faults
		return p
	case errors.As(err, &refusal):
		p := problem(refusal.Code, refusal.Detail)
		p.Extra = refusal.Extra
		return p.because(err)
	case errors.Is(err, db.ErrNotFound):
		return problem("not_found", "there is no such thing here")
	case errors.Is(err, db.ErrPrecondition):
		return problem("precondition_failed", "read it again, and send the new ETag in If-Match")
	case errors.As(err, &route):
		return routeProblem(route)
	case isBusy(err):
		return problem("overloaded", "it cannot be done at the moment; try again").because(err)
	}
	return problem("internal", "this is a fault of ours, which has been noted").because(err)
}

// routeProblem is what Echo itself finds wrong.
func routeProblem(err *echo.HTTPError) *Problem {
	switch err.Code {
	case http.StatusNotFound:
		return problem("not_found", "there is no such thing here")
	case http.StatusMethodNotAllowed:
		return problem("method_not_allowed", "the Allow header lists the methods that there are")
	case http.StatusRequestEntityTooLarge:
		return problem("body_too_large", "the body is too large")
	}
	return problem("internal", "this is a fault of ours, which has been noted").because(err)
}

// isBusy tells what may well work the next time: no room, no database, no time.
func isBusy(err error) bool {
	for _, busy := range []error{
		db.ErrOverloaded, db.ErrStopping, db.ErrCommitUnknown, context.DeadlineExceeded, context.Canceled,
		puddle.ErrClosedPool, net.ErrClosed, io.ErrUnexpectedEOF,
	} {
		if errors.Is(err, busy) {
			return true
		}
	}
	var unreachable *pgconn.ConnectError
	var refused *pgconn.PgError
	var network net.Error
	switch {
	case errors.As(err, &unreachable): // for whatever reason of the server's
		return true
	case errors.As(err, &refused):
		return busyState(refused.Code)
	}
	return errors.As(err, &network) || pgconn.SafeToRetry(err)
}

// busyState goes by the class of an SQLSTATE: connection, lost race, out of resources, operator intervenes
// (which a time-out is too), and a lock that could not be had.
func busyState(code string) bool {
	for _, class := range []string{"08", "40", "53", "57", "55P03", "25P03", "25006"} {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

// answerProblem is Echo's error handler: problem+json, or a page for people on a page's address.
func (a *API) answerProblem(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	p := toProblem(err)
	header := c.Response().Header()
	header.Del("ETag")
	if p.RetryAfter > 0 {
		header.Set(echo.HeaderRetryAfter, strconv.Itoa(p.RetryAfter))
	}
	if p.Status == http.StatusUnauthorized {
		header.Set(echo.HeaderWWWAuthenticate, "Bearer")
	}
	header.Set(echo.HeaderCacheControl, "no-store")
	var failed error
	switch {
	case wantsPage(c.Request()):
		header.Set(echo.HeaderContentSecurityPolicy, contentPolicy)
		failed = writePage(c, p.Status, "fault", faultPage{
			head: head{Title: p.Title}, Status: p.Status, Words: sentence(p.Detail), RequestID: requestOf(c).id,
			Staff: strings.HasPrefix(c.Request().URL.Path, "/staff/"),
		})
	default:
		var data []byte
		if data, failed = p.MarshalJSON(); failed == nil {
			failed = c.Blob(p.Status, problemType, data)
		}
	}
	if failed != nil {
		requestOf(c).failed(failed)
	}
}

// wantsPage tells a person at a browser from a program.
func wantsPage(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/v1/") && strings.Contains(r.Header.Get(echo.HeaderAccept), "text/html")
}

// sentence makes of a detail what stands on a page.
func sentence(detail string) string {
	if detail == "" {
		return ""
	}
	first, size := utf8.DecodeRuneInString(detail)
	return string(unicode.ToUpper(first)) + detail[size:] + "."
}
