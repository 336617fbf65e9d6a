package sandbox

import (
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	bodyMax     = 64 << 10
	keyMax      = 255
	metadataMax = 50
	// A description and the payment method types, in bytes.
	descriptionMax = 1000
	typesMax       = 1000
	// amountMax leaves room to sum millions of them in 63 bits.
	amountMax = 999_999_999_999
)

// form is the parameters of a call, sorted by name.
type form []param

type param struct{ name, value string }

// call is what is asked.
type call struct {
	r       *http.Request
	form    form
	key     string
	keyHash uint64
	same    uint64 // calls under one key have to be
	expand  bool
	fault   string
	request string
}

func authorized(r *http.Request) bool {
	key, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return ok && strings.HasPrefix(key, "sk_") && len(key) > 3
}

func (s *Sandbox) readCall(w http.ResponseWriter, r *http.Request) (*call, error) {
	body, err := readWhole(w, r)
	if err != nil {
		return nil, invalid("", "", "The request body is too large or broke off.")
	}
	c := &call{r: r, key: r.Header.Get("Idempotency-Key"), request: w.Header().Get("Request-Id")}
	if c.form, err = parseForm(string(body), r.URL.RawQuery); err != nil {
		return nil, invalid("", "", "The parameters are not form-encoded.")
	}
	if len(c.key) > keyMax || !utf8.ValidString(c.key) { // the books could not give another back as it was
		return nil, invalid("", "", "An idempotency key has at most 255 characters, in UTF-8.")
	}
	c.expand = c.form.expands("latest_charge")
	if c.key != "" {
		w.Header().Set("Idempotency-Key", c.key)
		c.keyHash = hash(r.Header.Get("Authorization"), c.key) // each account has keys of its own
		c.same = hash(r.Method, r.URL.Path, c.form.String())
	}
	return c, nil
}

// readWhole reads the body within a time; after that the connection has all the time of a call that hangs, which a
// read timeout of the server would end.
func readWhole(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(readTimeout)) // one that is broken is seen by the read
	body := bytes.NewBuffer(make([]byte, 0, max(0, min(r.ContentLength, bodyMax))+bytes.MinRead))
	_, err := body.ReadFrom(http.MaxBytesReader(nil, r.Body, bodyMax))
	_ = conn.SetReadDeadline(time.Time{})
	return body.Bytes(), err
}

func parseForm(texts ...string) (form, error) {
	var f form
	for _, text := range texts {
		for pair := range strings.SplitSeq(text, "&") {
			if pair == "" {
				continue
			}
			name, value, _ := strings.Cut(pair, "=")
			name, err := url.QueryUnescape(name)
			if err != nil {
				return nil, err
			}
			value, err = url.QueryUnescape(value)
			if err != nil {
				return nil, err
			}
			f = append(f, param{strings.ToValidUTF8(name, "\uFFFD"), strings.ToValidUTF8(value, "\uFFFD")})
		}
	}
	slices.SortStableFunc(f, func(a, b param) int { return cmp.Compare(a.name, b.name) })
	return f, nil
}

func (f form) String() string {
	var b strings.Builder
	b.Grow(512) // more than most have
	for _, p := range f {
		b.WriteString(p.name)
		b.WriteByte(0)
		b.WriteString(p.value)
		b.WriteByte(0)
	}
	return b.String()
}

func (f form) get(name string) string {
	for _, p := range f {
		if p.name == name {
			return p.value
		}
	}
	return ""
}

// all are the values of a list: name[], or name[0], name[1] and so on.
func (f form) all(name string) []string {
	var values []string
	for _, p := range f {
		if rest, ok := strings.CutPrefix(p.name, name+"["); ok && strings.HasSuffix(rest, "]") {
			values = append(values, p.value)
		}
	}
	return values
}

func (f form) expands(what string) bool {
	for _, v := range f.all("expand") {
		if v == what || v == "data."+what {
			return true
		}
	}
	return false
}

func (f form) metadata() (map[string]string, error) {
	var values map[string]string
	for _, p := range f {
		name, ok := strings.CutPrefix(p.name, "metadata[")
		if !ok || p.value == "" {
			continue
		}
		name = strings.TrimSuffix(name, "]")
		if len(name) > 40 || len(p.value) > 500 || len(values) == metadataMax {
			return nil, invalid("", p.name, "Metadata has at most 50 names of 40 characters with values of 500.")
		}
		if values == nil {
			values = map[string]string{}
		}
		values[name] = p.value
	}
	return values, nil
}

func (f form) amount(name string) (int64, error) {
	text := f.get(name)
	if text == "" {
		return 0, invalid("parameter_missing", name, "Missing required param: "+name+".")
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || n < 1:
		return 0, invalid("parameter_invalid_integer", name, "This value must be greater than or equal to 1.")
	case n > amountMax:
		return 0, invalid("amount_too_large", name, "Amount must be no more than 999,999,999,999.")
	}
	return n, nil
}

// number is a whole number between bounds, or what it is when absent.
func (f form) number(name string, absent, least, most int64) (int64, error) {
	text := f.get(name)
	if text == "" {
		return absent, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < least || n > most {
		return 0, invalid("parameter_invalid_integer", name, "Invalid integer: "+name)
	}
	return n, nil
}
