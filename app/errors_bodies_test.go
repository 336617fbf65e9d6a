package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

// bodied is a route that takes a JSON body, with everything that it takes to get in.
type bodied struct {
	name, method, path, credential string
	headers                        []string
	limit                          int               // bytes
	body                           any               // a valid one, with every member there is
	optional                       []string          // pointers of members that may be left out
	instead                        map[string]string // what names a member that is missing, if not itself
	nullable                       []string          // pointers of members that may be null
	decisive                       []string          // pointers of members that say what else belongs there
	related                        bool              // one wrong value can break a rule about others too
}

// bodiedRoutes are all of them.
func (s *shop) bodiedRoutes(t *testing.T) []bodied {
	t.Helper()
	const at = "/v1/stores/" + testStore
	line := object{"item": "latte", "size": "small", "quantity": 1, "note": "hot", "options": []object{{"id": "oat", "units": 1}}}
	quote := object{"fulfilment": "pickup", "lines": []object{line}, "tip": 5}
	var priced struct{ Total int64 }
	s.call(t, "POST", at+"/quotes", "", quote).wants(t, 200).into(t, &priced)
	quoteOptional := []string{"/tip", "/lines/0/note", "/lines/0/options"}
	order := object{
		"pickup_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "expected_total": priced.Total,
		"customer": object{"name": "Ada", "email": "ada@example.com", "phone": "+1 415 555 0100", "push": "https://push.example.com/x"},
		"payment":  object{"method": "card", "token": "tok_visa"},
	}
	maps.Copy(order, quote)
	failed := s.place(t, latte(object{"payment": object{"method": "card", "token": "tok_declined"}}), "Prefer: wait=10").wants(t, 201).order(t)
	keyed, whatever := []string{"Idempotency-Key: "}, []string{"If-Match: *"}
	manager := s.staff(t, "errors-manager", db.Manager)
	return []bodied{
		{name: "order", method: "POST", path: at + "/orders", limit: bodyLimit, body: order,
			headers:  keyed,
			optional: append([]string{"/pickup_at", "/expected_total", "/customer/email", "/customer/phone", "/customer/push"}, quoteOptional...),
			decisive: []string{"/payment/method"}},
		{name: "quote", method: "POST", path: at + "/quotes", limit: bodyLimit, body: quote, optional: quoteOptional},
		{name: "payment", method: "POST", path: failed.path() + "/payment", credential: failed.Token, limit: bodyLimit,
			headers: keyed,
			body:    object{"payment": object{"method": "card", "token": "tok_visa"}}, decisive: []string{"/payment/method"}},
		{name: "cancel", method: "POST", path: failed.path() + "/cancel", credential: failed.Token, limit: bodyLimit,
			body: object{"reason": "late"}, optional: []string{"/reason"}},
		{name: "commands", method: "POST", path: at + "/commands", credential: s.device(t, testStore), limit: commandsLimit,
			body: object{"commands": []object{
				command("start", object{"order": failed.ID}), command("undo", object{"order": failed.ID, "base_version": 1}),
				command("cancel", object{"order": failed.ID, "reason": "spilt"}), command("sold_out", object{"item": "latte", "until": time.Now().UTC()}),
				command("available", object{"option": "oat"}), command("pause", object{"until": time.Now().UTC()}), command("resume", nil),
			}},
			optional: []string{"/commands/3/until"}, instead: map[string]string{"/commands/4/option": "/commands/4/item"},
			decisive: []string{"/commands/0/type", "/commands/1/type", "/commands/2/type", "/commands/3/type", "/commands/4/type", "/commands/5/type", "/commands/6/type"}},
		{name: "settings", method: "PATCH", path: at, credential: manager, headers: whatever, limit: bodyLimit,
			body: object{
				"hours":        []object{{"day": "mon", "opens": "00:00", "closes": "24:00"}},
				"paused_until": time.Now().UTC(), "slot_minutes": 15, "slot_limit": 3,
			},
			optional: []string{"/hours", "/paused_until", "/slot_minutes", "/slot_limit"}, nullable: []string{"/paused_until", "/slot_limit"}},
		{name: "menu", related: true, method: "PUT", path: at + "/menu", credential: manager, headers: whatever, limit: bodyLimit,
			body: object{"version": "1", "currency": "USD", "categories": []object{{"name": "Coffee", "items": []object{
				{"id": "latte", "name": "Latte", "description": "Milk", "tax_rate": "0.0875", "available": false, "available_from": time.Now().UTC(),
					"sizes": []object{{"id": "small", "name": "Small", "price": 450}},
					"option_groups": []object{{"id": "milk", "name": "Milk", "substitution": true, "min_units": 1, "max_units": 1, "min_unique": 1, "max_unique": 1, "free_units": 0,
						"options": []object{{"id": "oat", "name": "Oat", "price": 80, "default_units": 1, "max_units": 1, "available": true}}}},
				},
			}}}},
			optional: []string{"/version", "/currency", "/categories/0/items/0/available_from", "/categories/0/items/0/option_groups/0/max_units", "/categories/0/items/0/option_groups/0/max_unique"}},
	}
}

// send sends a body of the route as it is given, under a key of its own where one is needed.
func (s *shop) send(t *testing.T, r bodied, body any, headers ...string) answer {
	t.Helper()
	for _, header := range r.headers {
		if strings.HasPrefix(header, "Idempotency-Key") {
			header += uuid.NewString()
		}
		headers = append(headers, header)
	}
	return s.call(t, r.method, r.path, r.credential, body, headers...).tellsNothing(t)
}

var inside = regexp.MustCompile(`(?i)sqlstate|pgx|pgconn|postgres|goroutine|\.go\b|/dev/shm|/tmp/|panic|select |insert |update |relation|constraint|127\.0\.0\.1|localhost|\bdial\b|\.s\.pgsql`)

// tellsNothing fails the test if a refusal is not a problem, or tells of our inside: SQL, a stack, a host.
func (a answer) tellsNothing(t testing.TB) answer {
	t.Helper()
	text := string(a.body)
	for name, values := range a.Header {
		if name != "X-Request-Id" { // letters at random
			text += "\n" + strings.Join(values, "\n")
		}
	}
	if a.StatusCode >= 400 && mediaType(a.Header) != problemJSON {
		t.Errorf("%s %s: %d %q is no problem", a.Request.Method, a.Request.URL.Path, a.StatusCode, mediaType(a.Header))
	}
	host, err := os.Hostname()
	if found := inside.FindString(text); a.StatusCode >= 400 && (found != "" || (err == nil && len(host) > 3 && strings.Contains(text, host))) {
		t.Errorf("%s %s tells users of %q: %s", a.Request.Method, a.Request.URL.Path, found, text)
	}
	return a
}

// place is one value inside a body.
type place struct {
	pointer string
	kind    byte // of JSON: { [ " 0 t
}

// places are all values inside a body.
func places(body any, path ...any) []place {
	var found []place
	visit := func(step, v any) {
		below := append(slices.Clone(path), step)
		kind := map[string]byte{"map[string]interface {}": '{', "[]interface {}": '[', "string": '"', "json.Number": '0', "bool": 't'}[fmt.Sprintf("%T", v)]
		found = append(append(found, place{db.Pointer(below...), kind}), places(v, below...)...)
	}
	switch v := body.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			visit(name, v[name])
		}
	case []any:
		for i := range v {
			visit(i, v[i])
		}
	}
	return found
}

// generic is a body as encoding/json sees it, which is a copy.
func generic(t *testing.T, body any) any {
	t.Helper()
	data, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

// edit is a copy of a body in which the value at a pointer has been changed.
func edit(t *testing.T, body any, pointer string, change func(parent map[string]any, name string)) any {
	t.Helper()
	copied := generic(t, object{"body": body})
	steps := strings.Split("body"+pointer, "/")
	at := copied
	for _, step := range steps[:len(steps)-1] {
		if list, ok := at.([]any); ok {
			var i int
			if _, err := fmt.Sscan(step, &i); err != nil {
				t.Fatal(err)
			}
			at = list[i]
		} else {
			at = at.(map[string]any)[step]
		}
	}
	last := steps[len(steps)-1]
	if list, ok := at.([]any); ok { // as if it were an object, and back
		var i int
		if _, err := fmt.Sscan(last, &i); err != nil {
			t.Fatal(err)
		}
		parent := map[string]any{last: list[i]}
		change(parent, last)
		list[i] = parent[last]
	} else {
		change(at.(map[string]any), last)
	}
	return copied.(map[string]any)["body"]
}

func replaced(t *testing.T, body any, pointer string, with any) any {
	t.Helper()
	return edit(t, body, pointer, func(parent map[string]any, name string) { parent[name] = with })
}

// eachBodied runs a test for every route with a body, all in one shop.
func eachBodied(t *testing.T, test func(*testing.T, *shop, bodied)) {
	t.Parallel()
	s := openShop(t)
	for _, route := range s.bodiedRoutes(t) {
		t.Run(route.name, func(t *testing.T) { test(t, s, route) })
	}
}

func TestMalformedBodies(t *testing.T) {
	eachBodied(t, func(t *testing.T, s *shop, r bodied) {
		valid, err := json.Marshal(r.body)
		if err != nil {
			t.Fatal(err)
		}
		text := string(valid)
		for _, bad := range []string{
			text[:len(text)-1], text[1:], text + text, text + "x", text + "]", "{" + text, strings.Replace(text, ":", "=", 1), strings.ReplaceAll(text, `"`, `'`),
			text[:1] + "\xff" + text[1:], strings.Replace(text, `":`, "\xc3\":", 1), strings.Replace(text, `":`, `\ud800":`, 1), "\ufeff" + text,
			strings.Replace(text, `":`, "\x00\":", 1), " ", "\x00", "null,", "{,}", `{"":}`, strings.Repeat("[", 40), strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40),
		} {
			s.send(t, r, bad).wantsProblem(t, 400, "malformed_json")
		}
		for _, bad := range []string{"null", "true", "1", `"x"`, "[]", "[" + text + "]"} {
			s.send(t, r, bad).wantsProblem(t, 422, "invalid", "")
		}
		huge := strings.Repeat(" ", r.limit-len(text)+1) + text
		s.send(t, r, huge).wantsProblem(t, 413, "body_too_large")
		s.send(t, r, strings.Repeat("{", 2*r.limit)).wantsProblem(t, 413, "body_too_large")
		if got := s.send(t, r, huge[1:]); got.StatusCode == 413 {
			t.Errorf("a body of %d bytes is too large", r.limit)
		}
		for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "application/jsonx", "json", "/", ";"} {
			s.send(t, r, text, "Content-Type: "+media).wantsProblem(t, 415, "unsupported_media_type")
		}
		s.send(t, r, text, "Content-Encoding: gzip").wantsProblem(t, 415, "unsupported_media_type")
	})
}

// TestUnknownMembers adds one to every object there is.
func TestUnknownMembers(t *testing.T) {
	eachBodied(t, func(t *testing.T, s *shop, r bodied) {
		objects := []string{""}
		for _, at := range places(generic(t, r.body)) {
			if at.kind == '{' {
				objects = append(objects, at.pointer)
			}
		}
		var all []string
		everywhere := generic(t, r.body)
		for _, at := range objects {
			add := func(name string) func(map[string]any, string) {
				return func(parent map[string]any, step string) { parent[step].(map[string]any)[name] = object{"x": 1} }
			}
			s.send(t, r, edit(t, r.body, at, add("nonsense"))).wantsProblem(t, 422, "invalid", at+"/nonsense")
			s.send(t, r, edit(t, r.body, at, add("a/b~\x00"))).wantsProblem(t, 422, "invalid", at+"/a~1b~0\x00")
			everywhere, all = edit(t, everywhere, at, add("nonsense")), append(all, at+"/nonsense")
		}
		s.send(t, r, everywhere).wantsProblem(t, 422, "invalid", all...)
	})
}

func TestMissingMembers(t *testing.T) {
	eachBodied(t, func(t *testing.T, s *shop, r bodied) {
		for _, at := range places(generic(t, r.body)) {
			if last := at.pointer[strings.LastIndexByte(at.pointer, '/')+1:]; last >= "0" && last <= "9" {
				continue // an element
			}
			got := s.send(t, r, edit(t, r.body, at.pointer, func(parent map[string]any, name string) { delete(parent, name) }))
			if slices.Contains(r.optional, at.pointer) {
				if got.StatusCode == 422 || got.StatusCode >= 500 {
					t.Errorf("without %s: %d %s", at.pointer, got.StatusCode, got.body)
				}
				continue
			}
			pointer := at.pointer
			if other := r.instead[pointer]; other != "" {
				pointer = other
			}
			got.wantsProblem(t, 422, "invalid", pointer)
		}
	})
}

// TestWrongTypes puts a value of every other type in the place of every value, one by one and everywhere at once.
func TestWrongTypes(t *testing.T) {
	others := map[byte]any{'{': object{}, '[': []any{}, '"': "x", '0': 7, 't': true, 'n': nil}
	eachBodied(t, func(t *testing.T, s *shop, r bodied) {
		everywhere := generic(t, r.body)
		var all []string
		for _, at := range places(everywhere) {
			for kind, other := range others {
				if kind == at.kind || (kind == 'n' && slices.Contains(r.nullable, at.pointer)) {
					continue
				}
				s.send(t, r, replaced(t, r.body, at.pointer, other)).wantsProblem(t, 422, "invalid", at.pointer)
			}
			if at.kind != '{' && at.kind != '[' && !slices.Contains(r.decisive, at.pointer) {
				everywhere, all = replaced(t, everywhere, at.pointer, object{}), append(all, at.pointer)
			}
		}
		s.send(t, r, everywhere).wantsProblem(t, 422, "invalid", all...)
	})
}

// TestWrongValues puts numbers and texts that nobody should take in the place of every number and text.
func TestWrongValues(t *testing.T) {
	numbers := []json.Number{"-1", "1.0", "1e2", "1E0", "0.5", "-0.1", "9223372036854775808", "-9223372036854775809", "99999999999999999999999999", "1e400", "9007199254740993"}
	characters := []string{"\x00", "\x01", "\n", "\x1b", "\x7f", "\u0085"}
	eachBodied(t, func(t *testing.T, s *shop, r bodied) {
		for _, at := range places(generic(t, r.body)) {
			switch at.kind {
			case '0':
				for _, n := range numbers {
					got := s.send(t, r, replaced(t, r.body, at.pointer, n))
					if r.related {
						got.wantsProblem(t, 422, "invalid")
						got.names(t, at.pointer)
						continue
					}
					got.wantsProblem(t, 422, "invalid", at.pointer)
				}
			case '"':
				for _, c := range characters {
					got := s.send(t, r, edit(t, r.body, at.pointer, func(parent map[string]any, name string) { parent[name] = parent[name].(string) + c }))
					got.wantsProblem(t, 422, "invalid", at.pointer)
				}
				if !strings.HasSuffix(at.pointer, "/version") {
					s.send(t, r, replaced(t, r.body, at.pointer, strings.Repeat("x", 5000))).wantsProblem(t, 422, "invalid", at.pointer)
				}
			}
		}
	})
}

// names fails the test unless one of the faults is at the pointer.
func (a answer) names(t *testing.T, pointer string) {
	t.Helper()
	var p struct{ Errors db.Faults }
	a.into(t, &p)
	if !slices.ContainsFunc(p.Errors, func(f db.Fault) bool { return f.Pointer == pointer }) {
		t.Errorf("no fault at %q: %s", pointer, a.body)
	}
}

// TestNothingCameOfIt shows that what was refused above left no trace.
func TestNothingCameOfIt(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for _, r := range s.bodiedRoutes(t) {
		before := s.count(t, `select count(*) from orders`) + s.count(t, `select count(*) from commands`) + s.count(t, `select count(*) from idempotency_keys`)
		s.send(t, r, edit(t, r.body, "", func(parent map[string]any, name string) { parent[name].(map[string]any)["nonsense"] = 1 })).wants(t, http.StatusUnprocessableEntity)
		after := s.count(t, `select count(*) from orders`) + s.count(t, `select count(*) from commands`) + s.count(t, `select count(*) from idempotency_keys`)
		if after != before {
			t.Errorf("a %s that was refused left %d rows", r.name, after-before)
		}
	}
}
