package main

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"
)

const (
	limitDefault = 50
	limitMost    = 200
	cursorMost   = 512 // bytes
	searchMost   = 240 // bytes: 80 letters of any alphabet, as many as the pages' fields take
)

var cursorEncoding = base64.RawURLEncoding.Strict()

// query reads the parameters of a request. The first fault is the one that is told; after it everything
// reads as its zero value. Parameters that nobody asks for are ignored.
type query struct {
	values url.Values
	err    error
}

func readQuery(c echo.Context) *query {
	values, err := url.ParseQuery(c.Request().URL.RawQuery)
	q := &query{values: values}
	if err != nil {
		q.fault("the query is malformed")
	}
	return q
}

func (q *query) fault(format string, args ...any) {
	if q.err == nil {
		q.err = problem("bad_query", fmt.Sprintf(format, args...))
	}
}

// text is the parameter, of at most most bytes; empty where it is absent.
func (q *query) text(name string, most int) string {
	given := q.values[name]
	switch {
	case len(given) == 0 || q.err != nil:
		return ""
	case len(given) > 1:
		q.fault("%s is there more than once", name)
		return ""
	case len(given[0]) > most:
		q.fault("%s is longer than %d bytes", name, most)
		return ""
	case !plain(given[0]):
		q.fault("%s must be UTF-8 without control characters", name)
		return ""
	}
	return given[0]
}

// limit is how many to list.
func (q *query) limit() int {
	text := q.text("limit", 20)
	if !q.values.Has("limit") {
		return limitDefault
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < 1 || n > limitMost {
		q.fault("limit must be from 1 to %d", limitMost)
	}
	return int(n)
}

// cursor is the place that newCursor was given for the page before of the same list; empty for the first page.
func (q *query) cursor(list string) string {
	text := q.text("cursor", cursorMost)
	if !q.values.Has("cursor") {
		return ""
	}
	raw, err := cursorEncoding.DecodeString(text)
	place, ours := strings.CutPrefix(string(raw), list+" ")
	if err != nil || !ours || place == "" {
		q.fault("cursor is not one of ours")
		return ""
	}
	return place
}

// newCursor wraps up the place where the next page of a list begins, both at most 380 bytes.
func newCursor(list, place string) string {
	return cursorEncoding.EncodeToString([]byte(list + " " + place))
}

// near is a point in degrees; ok is false where there is none.
func (q *query) near() (lat, lon float64, ok bool) {
	text := q.text("near", 64)
	if !q.values.Has("near") {
		return 0, 0, false
	}
	first, second, _ := strings.Cut(text, ",")
	lat, err1 := parseDegrees(first, 90)
	lon, err2 := parseDegrees(second, 180)
	if err1 != nil || err2 != nil {
		q.fault("near must be lat,lon in degrees, such as 37.7955,-122.3937")
		return 0, 0, false
	}
	return lat, lon, true
}

// date is midnight UTC of a day such as 2026-01-31; ok is false where there is none.
func (q *query) date(name string) (day time.Time, ok bool) {
	text := q.text(name, 20)
	if !q.values.Has(name) {
		return time.Time{}, false
	}
	day, err := time.Parse(time.DateOnly, text)
	if err != nil || day.Year() < 1 || day.Year() > 9998 { // its times must have four digits for their year, anywhere on earth
		q.fault("%s must be a day such as 2026-01-31", name)
		return time.Time{}, false
	}
	return day, true
}

// time is an RFC 3339 time, in UTC; the zero time where there is none.
func (q *query) time(name string) time.Time {
	text := q.text(name, 40)
	if !q.values.Has(name) {
		return time.Time{}
	}
	at, err := parseTime(text)
	if err != nil {
		q.fault("%s must be an RFC 3339 time such as 2026-01-31T09:00:00Z", name)
	}
	return at
}

// oneOf is one of a few words; empty where the parameter is absent.
func (q *query) oneOf(name string, allowed ...string) string {
	text := q.text(name, 40)
	if !q.values.Has(name) {
		return ""
	}
	if !slices.Contains(allowed, text) {
		q.fault("%s must be %s", name, oneOf(allowed))
		return ""
	}
	return text
}

// ParseFloat also knows NaN, infinity, exponents and hex.
var degreesPattern = regexp.MustCompile(`^-?[0-9]{1,3}(\.[0-9]+)?$`)

func parseDegrees(text string, most float64) (float64, error) {
	if !degreesPattern.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	degrees, err := strconv.ParseFloat(text, 64)
	if err == nil && (degrees < -most || degrees > most) {
		err = strconv.ErrRange
	}
	return degrees, err
}

// plain tells whether a text is UTF-8 without control characters.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
