package db

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fault is one thing wrong with what somebody sent: a JSON Pointer (RFC 6901) to the place, and words for a person.
type Fault struct {
	Pointer string `json:"pointer"`
	Detail  string `json:"detail"`
}

// MaxFaults bounds what one answer reports. A body of 64 KiB can be wrong in thousands of places; nobody reads them.
const MaxFaults = 100

// Faults is everything wrong with one request, in the order it was found, at most MaxFaults of it. No faults is nil or
// empty: hand it on as an error only through Err, because an empty Faults in an error variable is not a nil error.
type Faults []Fault

// Error makes Faults an error; users are shown the list itself.
func (f Faults) Error() string {
	switch len(f) {
	case 0:
		return "no faults"
	case 1:
		return f[0].Pointer + ": " + f[0].Detail
	}
	return fmt.Sprintf("%s: %s (and %d more)", f[0].Pointer, f[0].Detail, len(f)-1)
}

// Err is f as an error, nil if there is no fault.
func (f Faults) Err() error {
	if len(f) == 0 {
		return nil
	}
	return f
}

// Apart is those of f that lie at, above or below no place in others: there they may be no more than its consequence.
func (f Faults) Apart(others Faults) (apart Faults) {
	for _, fault := range f {
		if !slices.ContainsFunc(others, func(other Fault) bool {
			return within(other.Pointer, fault.Pointer) || within(fault.Pointer, other.Pointer)
		}) {
			apart = append(apart, fault)
		}
	}
	return apart
}

// within tells whether a pointer is at or below another.
func within(pointer, other string) bool {
	rest, ok := strings.CutPrefix(pointer, other)
	return ok && (rest == "" || rest[0] == '/')
}

// Add reports one more fault; past MaxFaults it is dropped.
func (f *Faults) Add(pointer, detail string) {
	if len(*f) < MaxFaults {
		*f = append(*f, Fault{Pointer: pointer, Detail: detail})
	}
}

// Text reports what TextFault says.
func (f *Faults) Text(pointer, text string, least, most int) {
	if detail := TextFault(text, least, most); detail != "" {
		f.Add(pointer, detail)
	}
}

// count says whether n is within bounds; what is outside them is reported and not walked.
func (f *Faults) count(at, what string, n, least, most int) bool {
	if n < least || n > most {
		f.Add(at, fmt.Sprintf("must be %d to %d %s, these are %d", least, most, what, n))
		return false
	}
	return true
}

// Under is the same faults with every pointer below prefix, for a part that was checked on its own.
func (f Faults) Under(prefix string) Faults {
	moved := make(Faults, len(f))
	for i, fault := range f {
		moved[i] = Fault{Pointer: prefix + fault.Pointer, Detail: fault.Detail}
	}
	return moved
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// Pointer joins member names and array positions to a JSON Pointer: Pointer("lines", 0, "item") is "/lines/0/item".
func Pointer(path ...any) string {
	buf := make([]byte, 0, 64)
	for _, step := range path {
		buf = append(buf, '/')
		switch step := step.(type) {
		case int:
			buf = strconv.AppendInt(buf, int64(step), 10)
		case string:
			buf = append(buf, pointerEscapes.Replace(step)...)
		default:
			buf = fmt.Append(buf, step)
		}
	}
	return string(buf)
}

// TextFault says what is wrong with a text that must be least to most characters long: its length, that it is blank where
// something is asked for, that it is not UTF-8 or holds a control character. Empty if nothing is wrong.
func TextFault(text string, least, most int) string {
	if text == "" && least == 0 {
		return ""
	}
	if !utf8.ValidString(text) {
		return "must be valid UTF-8"
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "must not contain control characters"
	}
	n := utf8.RuneCountInString(text)
	switch {
	case n > most:
		return fmt.Sprintf("must be at most %d characters, this has %d", most, n)
	case least > 0 && strings.TrimSpace(text) == "":
		return "must not be empty"
	case n < least:
		return fmt.Sprintf("must be at least %d characters, this has %d", least, n)
	}
	return ""
}
