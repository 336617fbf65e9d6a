package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

// bodyContext is a request with a body, as a handler sees it.
func bodyContext(contentType, body string) echo.Context {
	req := httptest.NewRequestWithContext(context.Background(), http.MethodPost, "/", strings.NewReader(body))
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return echo.New().NewContext(req, httptest.NewRecorder())
}

func TestBodyThatCannotBeRead(t *testing.T) {
	t.Parallel()
	const media = "application/json"
	for name, test := range map[string]struct{ contentType, body, code, detail string }{
		"no type":            {"", "{}", "unsupported_media_type", ""},
		"form":               {"application/x-www-form-urlencoded", "a=1", "unsupported_media_type", ""},
		"latin":              {media + "; charset=latin1", "{}", "unsupported_media_type", ""},
		"json of a kind":     {"application/problem+json", "{}", "unsupported_media_type", ""},
		"half a type":        {media + "; charset", "{}", "unsupported_media_type", ""},
		"nothing":            {media, "", "malformed_json", "empty"},
		"space":              {media, " \n\t", "malformed_json", "empty"},
		"half an object":     {media, `{"a":`, "malformed_json", "EOF"},
		"two values":         {media, `{} {}`, "malformed_json", "goes on"},
		"rubbish behind":     {media, `{}x`, "malformed_json", "goes on"},
		"comma too many":     {media, `{"a":1,}`, "malformed_json", ""},
		"single quotes":      {media, `{'a':1}`, "malformed_json", ""},
		"comment":            {media, `{} // ok`, "malformed_json", ""},
		"byte order mark":    {media, "\ufeff{}", "malformed_json", ""},
		"NaN":                {media, `{"a":NaN}`, "malformed_json", ""},
		"leading zero":       {media, `{"a":01}`, "malformed_json", ""},
		"raw control":        {media, "{\"a\":\"\x01\"}", "malformed_json", ""},
		"not UTF-8":          {media, "{\"a\":\"\xff\"}", "malformed_json", ""},
		"not UTF-8 name":     {media, "{\"\xc3\":1}", "malformed_json", ""},
		"overlong":           {media, "{\"a\":\"\xc0\xaf\"}", "malformed_json", ""},
		"half a surrogate":   {media, `{"a":"\ud800"}`, "malformed_json", ""},
		"too deep":           {media, strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40), "malformed_json", "deep"},
		"too deep and cut":   {media, strings.Repeat("[", 60_000), "malformed_json", "deep"},
		"too many values":    {media, "[" + strings.Repeat("1,", 21_000) + "1]", "malformed_json", "too many values"},
		"too large":          {media, `{"a":"` + strings.Repeat("x", bodyLimit) + `"}`, "body_too_large", ""},
		"too large by space": {media, "{}" + strings.Repeat(" ", bodyLimit), "body_too_large", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, length := range []int64{int64(len(test.body)), -1} { // told, and not told
				c := bodyContext(test.contentType, test.body)
				c.Request().ContentLength = length
				_, err := readBody(c, bodyLimit)
				var p *Problem
				if !errors.As(err, &p) || p.Code != test.code || !strings.Contains(p.Detail, test.detail) || !utf8.ValidString(p.Detail) {
					t.Errorf("length %d: %v, want %s", length, err, test.code)
				}
			}
		})
	}
}

func TestBodyCompressed(t *testing.T) {
	t.Parallel()
	c := bodyContext("application/json", "{}")
	c.Request().Header.Set("Content-Encoding", "gzip")
	if _, err := readBody(c, bodyLimit); toProblem(err).Code != "unsupported_media_type" {
		t.Errorf("got %v", err)
	}
}

func TestBodyThatIsNoObject(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"[]", `"x"`, "1", "null", "true", "[{}]"} {
		_, err := readBody(bodyContext("application/json", body), bodyLimit)
		var faults db.Faults
		if !errors.As(err, &faults) || len(faults) != 1 || faults[0].Pointer != "" {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestBodyAtTheLimit(t *testing.T) {
	t.Parallel()
	text := `{"a":"` + strings.Repeat("x", bodyLimit-8) + `"}`
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\"", "application/json; v=1"} {
		b, err := readBody(bodyContext(contentType, text), bodyLimit)
		if err != nil || string(b.raw) != text || len(b.fields().text("a", 1, bodyLimit)) != bodyLimit-8 {
			t.Errorf("%s: %v", contentType, err)
		}
	}
}

func TestOptionalBody(t *testing.T) {
	t.Parallel()
	b, err := readOptionalBody(bodyContext("", ""))
	if err != nil || b.fields().has("reason") || b.fields().err() != nil {
		t.Errorf("no body: %v", err)
	}
	chunked := bodyContext("", "")
	chunked.Request().ContentLength = -1
	if _, err := readOptionalBody(chunked); err != nil {
		t.Errorf("no body, in chunks: %v", err)
	}
	if _, err := readOptionalBody(bodyContext("", "{}")); toProblem(err).Status != 415 {
		t.Errorf("a body without a type: %v", err)
	}
}

// faultsOf reads a body as an order of this test's making, and lists the faults as "pointer: detail".
func faultsOf(t *testing.T, text string) []string {
	t.Helper()
	b, err := readBody(bodyContext("application/json", text), bodyLimit)
	if err != nil {
		t.Fatal(err)
	}
	f := b.fields()
	f.text("name", 1, 5)
	f.optionalText("note", 0, 5)
	f.oneOf("kind", "a", "b")
	f.int64("n", -1, 3)
	f.optionalInt64("tip", 0, 9)
	f.optionalTime("at")
	if f.has("id") {
		f.uuid("id")
	}
	if !f.null("until") {
		f.optionalTime("until")
	}
	child := f.child("child")
	child.text("x/y~", 1, 9)
	for _, line := range f.optionalList("lines", 1, 2) {
		line.int("q", 1, 99)
		for _, option := range line.optionalList("options", 0, 2) {
			option.text("id", 1, 9)
		}
	}
	var said []string
	var faults db.Faults
	if err := f.err(); errors.As(err, &faults) {
		for _, fault := range faults {
			said = append(said, fault.Pointer+": "+fault.Detail)
		}
	} else if err != nil {
		t.Fatal(err)
	}
	return said
}

func TestFields(t *testing.T) {
	t.Parallel()
	const good = `"name":"Ada","kind":"a","n":1,"child":{"x/y~":"z"}`
	for name, test := range map[string]struct {
		body string
		want []string
	}{
		"good":              {"{" + good + "}", nil},
		"everything":        {"{" + good + `,"note":"","tip":0,"at":"2026-01-31T09:00:00+01:00","id":"019AB6C0-5f00-7abc-8def-0123456789ab","until":null,"lines":[{"q":1,"options":[]}]}`, nil},
		"escapes":           {`{"n\u0061me":"\u0041d\ud83d\ude00","kind":"a","n":-0,"child":{"x/y~":"z"}}`, nil},
		"nothing":           {"{}", []string{"/name: is required", "/kind: is required", "/n: is required", "/child: is required"}},
		"null is no string": {`{"name":null,"kind":null,"n":null,"child":null}`, []string{"/name: must be a string", "/kind: must be a string", "/n: must be an integer", "/child: must be an object"}},
		"wrong types": {`{"name":1,"kind":true,"n":"1","child":[],"note":{},"tip":"1","at":1,"id":[],"until":0,"lines":{}}`, []string{
			"/name: must be a string", "/note: must be a string", "/kind: must be a string", "/n: must be an integer", "/tip: must be an integer",
			"/at: must be a string with an RFC 3339 time", "/id: must be a string with a UUID", "/until: must be a string with an RFC 3339 time",
			"/child: must be an object", "/lines: must be an array"}},
		"fraction":       {`{"name":"Ada","kind":"a","n":1.0,"child":{"x/y~":"z"},"tip":1e2}`, []string{"/n: must be an integer, without fraction or exponent", "/tip: must be an integer, without fraction or exponent"}},
		"out of range":   {`{"name":"Ada","kind":"a","n":4,"child":{"x/y~":"z"},"tip":-1}`, []string{"/n: must be from -1 to 3", "/tip: must be from 0 to 9"}},
		"overflow":       {`{"name":"Ada","kind":"a","n":99999999999999999999,"child":{"x/y~":"z"},"tip":-99999999999999999999}`, []string{"/n: must be from -1 to 3", "/tip: must be from 0 to 9"}},
		"text":           {`{"name":"","kind":"c","n":1,"child":{"x/y~":"z"},"note":"123456"}`, []string{"/name: must not be empty", "/note: must be at most 5 characters, this has 6", "/kind: must be one of a, b"}},
		"blank":          {`{"name":"  ","kind":"a","n":1,"child":{"x/y~":"z"}}`, []string{"/name: must not be empty"}},
		"characters":     {`{"name":"ééééé","kind":"a","n":1,"child":{"x/y~":"z"}}`, nil},
		"NUL":            {`{"name":"a\u0000b","kind":"a","n":1,"child":{"x/y~":"z"}}`, []string{"/name: must not contain control characters"}},
		"DEL":            {`{"name":"a\u007f","kind":"a","n":1,"child":{"x/y~":"z"}}`, []string{"/name: must not contain control characters"}},
		"C1":             {`{"name":"a\u0085","kind":"a","n":1,"child":{"x/y~":"z"}}`, []string{"/name: must not contain control characters"}},
		"line end":       {`{"name":"a\nb","kind":"a","n":1,"child":{"x/y~":"z"}}`, []string{"/name: must not contain control characters"}},
		"pointers":       {`{"name":"Ada","kind":"a","n":1,"child":{"x/y~":1,"a/b~c":1},"lines":[{"q":1},{"q":0,"options":[{"id":"ok"},{"id":2,"z":[]}]}]}`, []string{"/child/x~1y~0: must be a string", "/lines/1/q: must be from 1 to 99", "/lines/1/options/1/id: must be a string", "/child/a~1b~0c: is not known here", "/lines/1/options/1/z: is not known here"}},
		"unknown":        {"{" + good + `,"extra":{"deep":{"er":1}},"":1}`, []string{"/extra: is not known here", "/: is not known here"}},
		"twice":          {"{" + good + `,"name":"Eve","note":"a","note":1}`, []string{"/name: is there twice", "/note: is there twice"}},
		"elements":       {"{" + good + `,"lines":[1,{"q":1}]}`, []string{"/lines/0: must be an object"}},
		"too many":       {"{" + good + `,"lines":[{"q":0},{},{"x":1}]}`, []string{"/lines: must have 1 to 2 elements, this has 3"}},
		"too few":        {"{" + good + `,"lines":[]}`, []string{"/lines: must have 1 to 2 elements, this has 0"}},
		"no such day":    {"{" + good + `,"at":"2026-02-30T09:00:00Z"}`, []string{"/at: must be an RFC 3339 time such as 2026-01-31T09:00:00Z"}},
		"short hour":     {"{" + good + `,"at":"2026-02-03T9:00:00Z"}`, []string{"/at: must be an RFC 3339 time such as 2026-01-31T09:00:00Z"}},
		"comma":          {"{" + good + `,"at":"2026-02-03T09:00:00,5Z"}`, []string{"/at: must be an RFC 3339 time such as 2026-01-31T09:00:00Z"}},
		"no zone":        {"{" + good + `,"at":"2026-02-03T09:00:00"}`, []string{"/at: must be an RFC 3339 time such as 2026-01-31T09:00:00Z"}},
		"braces":         {"{" + good + `,"id":"{019ab6c0-5f00-7abc-8def-0123456789ab}"}`, []string{"/id: must be a UUID such as 019ab6c0-5f00-7abc-8def-0123456789ab"}},
		"without hyphen": {"{" + good + `,"id":"019ab6c05f007abc8def0123456789ab"}`, []string{"/id: must be a UUID such as 019ab6c0-5f00-7abc-8def-0123456789ab"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := faultsOf(t, test.body); !slices.Equal(got, test.want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(test.want, "\n"))
			}
		})
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	var body strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&body, `,"u%d":%d`, i, i)
	}
	if got := faultsOf(t, "{"+body.String()[1:]+"}"); len(got) != db.MaxFaults {
		t.Errorf("%d faults", len(got))
	}
}

// FuzzBody holds the reader against the standard library: what one of them reads the other reads too, but for
// the bounds, and nothing panics.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"name":"Ada","n":1}`, `{"a":[1,{"b":null}],"a":2}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`, `[[[[`, `{"a":1e400}`, `{"a":-0}`, "\ufeff{}",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		root, err := parseJSON(data)
		if errors.Is(err, errJSONDepth) || errors.Is(err, errJSONValues) {
			return
		}
		if err != nil {
			if detail := syntaxFault(err); detail == "" {
				t.Error("refused without a word")
			}
			surrogate := bytes.Contains(data, []byte(`\u`))
			if json.Valid(data) && utf8.Valid(data) && !surrogate {
				t.Errorf("refused what is JSON: %v", err)
			}
			return
		}
		if !json.Valid(data) || !utf8.Valid(data) {
			t.Error("read what is not JSON in UTF-8")
		}
		if root.kind == '{' {
			fields := (&body{raw: data, root: root}).fields()
			fields.text("name", 1, 80)
			fields.int64("n", 0, 9)
			for _, line := range fields.optionalList("lines", 1, 50) {
				line.optionalTime("at")
			}
			_ = fields.err()
		}
	})
}

func BenchmarkBody(b *testing.B) {
	const order = `{"fulfilment":"pickup","customer":{"name":"Ada Lovelace","email":"ada@example.com"},"lines":[{"item":"latte","size":"medium","options":[{"id":"oat","units":1},{"id":"shot","units":2}],"quantity":1,"note":"extra hot"},{"item":"croissant","quantity":2}],"tip":100,"payment":{"method":"card","token":"tok_visa"},"expected_total":1875}`
	c := bodyContext("application/json", "")
	b.ReportAllocs()
	for b.Loop() {
		c.Request().Body = http.NoBody
		root, err := parseJSON([]byte(order))
		if err != nil {
			b.Fatal(err)
		}
		fields := (&body{root: root}).fields()
		readOrder(fields)
		if err := fields.err(); err != nil {
			b.Fatal(err)
		}
	}
}
