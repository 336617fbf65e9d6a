package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

// fields reads the members of one JSON object and collects everything that is wrong with them. Reading on
// after a fault is safe: whatever is missing or wrong reads as its zero value. A member that nobody asked for
// is a fault too, which err finds, so err comes last.
type fields struct {
	faults *db.Faults
	object *value // nil: missing or not an object, which has been reported
	parent *fields
	step   any // the name or index under parent
}

// err is every fault of the whole body, nil if there is none.
func (f *fields) err() error {
	f.unknown(f.object, nil)
	return f.faults.Err()
}

// errWith is err with the Faults that more holds, if any, but for those at places that could not be read: there they may
// be no more than the consequence.
func (f *fields) errWith(more error) error {
	unread := *f.faults // without members that nobody asked for, of which nothing is a consequence
	if f.err() == nil {
		return nil
	}
	var faults db.Faults
	errors.As(more, &faults)
	for _, fault := range faults.Apart(unread) {
		f.faults.Add(fault.Pointer, fault.Detail)
	}
	return *f.faults
}

// fault reports what no rule here knows of, such as two members that exclude each other.
func (f *fields) fault(name, detail string) { f.faults.Add(f.pointer(name), detail) }

// skip leaves the members that were not asked for unjudged.
func (f *fields) skip() {
	if f.object != nil {
		f.object.read = false
	}
}

// has tells whether the member is there, be it null.
func (f *fields) has(name string) bool { return f.look(name) != nil }

// null tells whether the member is there and null, for those few where that means something.
func (f *fields) null(name string) bool {
	v := f.look(name)
	return v != nil && v.kind == 'n'
}

// text is a required string of least to most characters, none of them a control character.
func (f *fields) text(name string, least, most int) string {
	v := f.want(name, '"', "a string")
	if v == nil {
		return ""
	}
	if fault := db.TextFault(v.text, least, most); fault != "" {
		f.fault(name, fault)
		return ""
	}
	return v.text
}

// optionalText is an empty string where the member is absent.
func (f *fields) optionalText(name string, least, most int) string {
	if !f.has(name) {
		return ""
	}
	return f.text(name, least, most)
}

// oneOf is a required string out of a few.
func (f *fields) oneOf(name string, allowed ...string) string {
	v := f.want(name, '"', "a string")
	if v == nil {
		return ""
	}
	if !slices.Contains(allowed, v.text) {
		f.fault(name, "must be "+oneOf(allowed))
		return ""
	}
	return v.text
}

// oneOf are words for what is allowed.
func oneOf(allowed []string) string {
	if len(allowed) == 1 {
		return allowed[0]
	}
	return "one of " + strings.Join(allowed, ", ")
}

// int64 is a required integer within bounds.
func (f *fields) int64(name string, least, most int64) int64 {
	v := f.want(name, '0', "an integer")
	if v == nil {
		return 0
	}
	n, err := strconv.ParseInt(v.text, 10, 64)
	switch {
	case err != nil && strings.ContainsAny(v.text, ".eE"):
		f.fault(name, "must be an integer, without fraction or exponent")
		return 0
	case err != nil || n < least || n > most:
		f.fault(name, fmt.Sprintf("must be from %d to %d", least, most))
		return 0
	}
	return n
}

// int is int64 for what fits one.
func (f *fields) int(name string, least, most int) int {
	return int(f.int64(name, int64(least), int64(most)))
}

// optionalInt64 is nil where the member is absent.
func (f *fields) optionalInt64(name string, least, most int64) *int64 {
	if !f.has(name) {
		return nil
	}
	n := f.int64(name, least, most)
	return &n
}

// optionalInt is nil where the member is absent.
func (f *fields) optionalInt(name string, least, most int) *int {
	if !f.has(name) {
		return nil
	}
	n := f.int(name, least, most)
	return &n
}

// time is a required RFC 3339 time, in UTC.
func (f *fields) time(name string) time.Time {
	v := f.want(name, '"', "a string with an RFC 3339 time")
	if v == nil {
		return time.Time{}
	}
	at, err := parseTime(v.text)
	if err != nil {
		f.fault(name, "must be an RFC 3339 time such as 2026-01-31T09:00:00Z")
	}
	return at
}

// optionalTime is nil where the member is absent.
func (f *fields) optionalTime(name string) *time.Time {
	if !f.has(name) {
		return nil
	}
	at := f.time(name)
	return &at
}

// uuid is a required UUID in its usual form.
func (f *fields) uuid(name string) uuid.UUID {
	v := f.want(name, '"', "a string with a UUID")
	if v == nil {
		return uuid.Nil
	}
	id, ok := parseUUID(v.text)
	if !ok {
		f.fault(name, "must be a UUID such as 019ab6c0-5f00-7abc-8def-0123456789ab")
	}
	return id
}

// child is a required object.
func (f *fields) child(name string) *fields {
	child := &fields{faults: f.faults, parent: f, step: name}
	if v := f.want(name, '{', "an object"); v != nil {
		v.read = true
		child.object = v
	}
	return child
}

// list is a required array of least to most objects.
func (f *fields) list(name string, least, most int) []*fields {
	v := f.want(name, '[', "an array")
	if v == nil {
		return nil
	}
	if n := len(v.members); n < least || n > most {
		f.fault(name, fmt.Sprintf("must have %d to %d elements, this has %d", least, most, n))
		return nil
	}
	array := &fields{faults: f.faults, parent: f, step: name}
	elements, children := make([]*fields, len(v.members)), make([]fields, len(v.members))
	for i := range v.members {
		elements[i] = &children[i]
		children[i] = fields{faults: f.faults, parent: array, step: i}
		if item := &v.members[i].value; item.kind == '{' {
			item.read = true
			children[i].object = item
		} else {
			f.faults.Add(children[i].pointer(), "must be an object")
		}
	}
	return elements
}

// optionalList is nil where the member is absent.
func (f *fields) optionalList(name string, least, most int) []*fields {
	if !f.has(name) {
		return nil
	}
	return f.list(name, least, most)
}

// look finds a member and marks it as asked for.
func (f *fields) look(name string) *value {
	if f.object == nil {
		return nil
	}
	for i := range f.object.members {
		if m := &f.object.members[i]; m.name == name {
			m.read = true
			return &m.value
		}
	}
	return nil
}

func (f *fields) want(name string, kind byte, what string) *value {
	v := f.look(name)
	switch {
	case f.object == nil:
		return nil
	case v == nil:
		f.fault(name, "is required")
		return nil
	case byte(v.kind) != kind:
		f.fault(name, "must be "+what)
		return nil
	}
	return v
}

// unknown reports, in every object that was looked into, the members that nobody asked for.
func (f *fields) unknown(v *value, path []any) {
	for i := range v.members {
		m := &v.members[i]
		holds := m.value.kind == '{' || m.value.kind == '['
		switch {
		case holds && v.kind == '[':
			f.unknown(&m.value, append(path, i))
		case holds && m.read:
			f.unknown(&m.value, append(path, m.name))
		case m.read || !v.read:
		case slices.ContainsFunc(v.members[:i], func(other member) bool { return other.read && other.name == m.name }):
			f.faults.Add(db.Pointer(append(path, m.name)...), "is there twice")
		default:
			f.faults.Add(db.Pointer(append(path, m.name)...), "is not known here")
		}
		if len(*f.faults) == db.MaxFaults {
			return
		}
	}
}

// pointer is the JSON Pointer of this object, or of what lies under it.
func (f *fields) pointer(under ...any) string {
	path := under
	for at := f; at.parent != nil; at = at.parent {
		path = append([]any{at.step}, path...)
	}
	return db.Pointer(path...)
}

// time.Parse also takes hours of one digit, commas, and zones that there are not.
var timePattern = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// parseTime reads an RFC 3339 time. One of a year that, in UTC, has not four digits could not be written down again.
func parseTime(text string) (time.Time, error) {
	text = strings.ToUpper(text)
	if !timePattern.MatchString(text) {
		return time.Time{}, strconv.ErrSyntax
	}
	at, err := time.Parse(time.RFC3339, text)
	at = at.UTC()
	if err == nil && (at.Year() < 1 || at.Year() > 9999) {
		err = strconv.ErrRange
	}
	if err != nil {
		return time.Time{}, err
	}
	if at.IsZero() {
		at = at.Add(1) // Go's zero stands for no time at all
	}
	return at, nil
}

// parseUUID takes the usual form alone: uuid.Parse also knows braces, urn: and no hyphens.
func parseUUID(text string) (uuid.UUID, bool) {
	if len(text) != 36 {
		return uuid.Nil, false
	}
	id, err := uuid.Parse(text)
	return id, err == nil
}
