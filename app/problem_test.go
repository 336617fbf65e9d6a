package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/puddle/v2"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// TestProblemsAreThoseOfTheContract holds our table of codes against the one in openapi.yaml.
func TestProblemsAreThoseOfTheContract(t *testing.T) {
	t.Parallel()
	described := openContract(t).doc.Components.Schemas["Problem"].Value.Description
	rows := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\d+) \\|").FindAllStringSubmatch(described, -1)
	if len(rows) != len(problemKinds) {
		t.Errorf("%d codes are described, %d are known", len(rows), len(problemKinds))
	}
	for _, row := range rows {
		p := problem(row[1], "")
		if p.Code != row[1] || strconv.Itoa(p.Status) != row[2] || p.Title == "" {
			t.Errorf("%s is %d %q here, %s there", row[1], p.Status, p.Title, row[2])
		}
		if p.RetryAfter > 0 != (p.Status == 429 || p.Status == 503) {
			t.Errorf("%s: Retry-After %d", p.Code, p.RetryAfter)
		}
	}
	if p := problem("no_such_code", "x"); p.Status != 500 {
		t.Errorf("an unknown code is %d", p.Status)
	}
}

func TestToProblem(t *testing.T) {
	t.Parallel()
	inner := errors.New("relation orders on host db7 does not exist")
	state := func(code string) error {
		return fmt.Errorf("placing: %w", &pgconn.PgError{Code: code, Message: inner.Error()})
	}
	for name, test := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"ours":              {problem("bad_query", "x"), 400, "bad_query"},
		"wrapped":           {fmt.Errorf("reading: %w", problem("bad_query", "x")), 400, "bad_query"},
		"faults":            {db.Faults{{Pointer: "/a", Detail: "b"}}, 422, "invalid"},
		"refusal":           {fmt.Errorf("placing: %w", &db.Error{Code: db.CodeSlotFull}), 409, "slot_full"},
		"reused":            {db.ErrKeyReused, 422, "idempotency_key_reused"},
		"refusal unknown":   {&db.Error{Code: "typo"}, 500, "internal"},
		"not there":         {fmt.Errorf("order: %w", db.ErrNotFound), 404, "not_found"},
		"precondition":      {db.ErrPrecondition, 412, "precondition_failed"},
		"no route":          {echo.ErrNotFound, 404, "not_found"},
		"no method":         {echo.ErrMethodNotAllowed, 405, "method_not_allowed"},
		"framework":         {echo.ErrBadGateway, 500, "internal"},
		"overloaded":        {db.ErrOverloaded, 503, "overloaded"},
		"stopping":          {db.ErrStopping, 503, "overloaded"},
		"commit lost":       {fmt.Errorf("%w: %w", db.ErrCommitUnknown, inner), 503, "overloaded"},
		"too late":          {fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "overloaded"},
		"pool closed":       {puddle.ErrClosedPool, 503, "overloaded"},
		"connection broken": {fmt.Errorf("receive: %w", io.ErrUnexpectedEOF), 503, "overloaded"},
		"network":           {&net.OpError{Op: "read", Err: errors.New("reset")}, 503, "overloaded"},
		"too many clients":  {state("53300"), 503, "overloaded"},
		"shut down":         {state("57P01"), 503, "overloaded"},
		"time-out":          {state("57014"), 503, "overloaded"},
		"deadlock":          {state("40P01"), 503, "overloaded"},
		"syntax":            {state("42601"), 500, "internal"},
		"unique":            {state("23505"), 500, "internal"},
		"whatever":          {inner, 500, "internal"},
	} {
		p := toProblem(test.err)
		data, err := json.Marshal(p)
		if err != nil || p.Status != test.status || p.Code != test.code {
			t.Errorf("%s: %d %s %v, want %d %s", name, p.Status, p.Code, err, test.status, test.code)
		}
		if strings.Contains(string(data), "relation") {
			t.Errorf("%s shows internals: %s", name, data)
		}
		if p.Status >= 500 && test.err != nil && !errors.Is(p, test.err) && name != "wrapped" {
			t.Errorf("%s: the log does not learn of it", name)
		}
	}
}

func TestProblemMembers(t *testing.T) {
	t.Parallel()
	p := toProblem(&db.Error{Code: db.CodePriceChanged, Detail: "new", Extra: map[string]any{"quote": map[string]int{"total": 5}}})
	data, err := json.Marshal(p)
	want := `{"type":"/problems/price_changed","title":"The price has changed","status":409,"detail":"new","code":"price_changed","quote":{"total":5}}`
	if err != nil || string(data) != want {
		t.Errorf("got %s, %v", data, err)
	}
	if p := toProblem(db.Faults{{Pointer: "/a", Detail: "b"}}); len(p.Errors) != 1 || p.Status != http.StatusUnprocessableEntity {
		t.Errorf("%+v", p)
	}
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for detail, want := range map[string]string{
		"": "", "say more": "Say more.", "Österreich has no order 7": "Österreich has no order 7.", "élan is closed": "Élan is closed.", "咖啡 is closed": "咖啡 is closed.",
	} {
		if got := sentence(detail); got != want {
			t.Errorf("%q becomes %q, want %q", detail, got, want)
		}
	}
}
