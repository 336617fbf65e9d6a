package main

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"frenchpress/db"
)

// admission is what the contract says of a route, written down once more and by hand.
type admission struct {
	may     string // who gets in, besides "anyone"
	in      int    // what a request without a body gets, once it is in
	nothing int    // what it gets where the order does not exist
}

var admissions = map[string]admission{
	"GET /healthz":      {"anyone", 200, 0},
	"GET /readyz":       {"anyone", 200, 0},
	"GET /metrics":      {"anyone", 200, 0},
	"GET /openapi.yaml": {"anyone", 200, 0},

	"GET /v1/stores":                               {"anyone", 200, 0},
	"GET /v1/stores/:store":                        {"anyone", 200, 0},
	"PATCH /v1/stores/:store":                      {"manager admin", 415, 0},
	"GET /v1/stores/:store/menu":                   {"anyone", 200, 0},
	"PUT /v1/stores/:store/menu":                   {"manager admin", 415, 0},
	"GET /v1/stores/:store/slots":                  {"anyone", 200, 0},
	"POST /v1/stores/:store/quotes":                {"anyone", 415, 0},
	"POST /v1/stores/:store/orders":                {"anyone", 400, 0}, // without a key
	"GET /v1/stores/:store/orders":                 {"device support manager admin", 200, 0},
	"GET /v1/stores/:store/orders/:id":             {"customer device support manager admin", 200, 404},
	"POST /v1/stores/:store/orders/:id/payment":    {"customer support manager admin", 400, 400}, // without a key
	"POST /v1/stores/:store/orders/:id/cancel":     {"customer support manager admin", 200, 404},
	"POST /v1/stores/:store/orders/:id/refunds":    {"support manager admin", 415, 415},
	"GET /v1/stores/:store/orders/:id/preferences": {"customer", 200, 404},
	"PUT /v1/stores/:store/orders/:id/preferences": {"customer", 415, 404},
	"GET /v1/stores/:store/orders/:id/live":        {"customer device support manager admin", 200, 404},
	"GET /v1/stores/:store/board":                  {"device support manager admin", 200, 0},
	"GET /v1/stores/:store/board/live":             {"device support manager admin", 200, 0},
	"POST /v1/stores/:store/commands":              {"device manager admin", 415, 0},

	"POST /v1/payments/webhook":    {"anyone", 404, 0}, // without PAYMENT_WEBHOOK_SECRET
	"GET /v1/payments/differences": {"support manager admin", 200, 0},
	"POST /v1/payments/reconcile":  {"admin", 200, 0},

	"GET /":                          {"anyone", 200, 0},
	"GET /:store":                    {"anyone", 200, 0},
	"GET /:store/orders/:id":         {"anyone", 200, 200}, // shows nothing by itself
	"GET /:store/orders/:id/receipt": {"anyone", 200, 200}, // shows nothing by itself
	"GET /:store/board":              {"anyone", 200, 0},   // likewise
	"GET /static/*":                  {"anyone", 200, 0},
	"GET /staff/sign-in":             {"anyone", 200, 0},
	"POST /staff/sign-in":            {"anyone", 415, 0},
	"GET /staff/forgot":              {"anyone", 200, 0},
	"POST /staff/forgot":             {"anyone", 415, 0},
	"GET /staff/reset":               {"anyone", 200, 0},
	"POST /staff/reset":              {"anyone", 415, 0},
	"POST /staff/sign-out":           {"anyone", 303, 0},
	"GET /staff":                     {"support manager admin", 200, 0},
	"GET /staff/payments":            {"support manager admin", 200, 0},
	"GET /staff/orders":              {"support manager admin", 400, 0}, // no store is named
	"GET /staff/:store/orders/:id":   {"support manager admin", 200, 404},
	"GET /staff/refunds":             {"support manager admin", 200, 0},
	"* " + dashboardPath:             {"admin", 301, 0},
	"* " + dashboardPath + "/*":      {"admin", 200, 0},

	"POST /staff/:store/orders/:id/refunds":            {"support manager admin", 415, 415},
	"POST /staff/:store/orders/:id/refunds/:n/again":   {"support manager admin", 415, 415},
	"POST /staff/:store/orders/:id/refunds/:n/by-hand": {"support manager admin", 415, 415},
}

// spot is an address: a store, and an order that is there or not.
type spot struct {
	target
	storeExists, orderExists bool
}

// wants says what becomes of somebody at a spot.
func (a admission) wants(path string, v visitor, at spot) int {
	hasStore, hasOrder := strings.Contains(path, ":store"), strings.Contains(path, ":id")
	role := map[who]string{byCustomer: "customer", byBarista: "device", bySupport: "support", byManager: "manager", byAdmin: "admin"}[v.role]
	switch {
	case a.may == "anyone":
	case v.role == anyone:
		return http.StatusUnauthorized
	case !slices.Contains(strings.Fields(a.may), role):
		return http.StatusForbidden
	case role == "customer" && (v.store != at.store || v.orderID != at.order):
		return http.StatusForbidden
	case role == "device" && v.store != at.store:
		return http.StatusForbidden
	}
	if _, isUUID := parseUUID(at.order); hasStore && !at.storeExists || hasOrder && !isUUID {
		return http.StatusNotFound
	}
	if hasOrder && !at.orderExists {
		return a.nothing
	}
	return a.in
}

// knock sends a request without a body. A stream is not read.
func (s *shop) knock(t *testing.T, v visitor, method, path string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v.token != "" {
		req.Header.Set("Authorization", "Bearer "+v.token)
	}
	if v.cookie != nil {
		req.AddCookie(v.cookie)
	}
	client := *s.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 400 {
		return answer{resp, nil}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, body}
}

// said is all that an answer tells, but for what differs by chance.
func (a answer) said() string {
	headers := a.Header.Clone()
	headers.Del("Date")
	headers.Del("X-Request-Id")
	var text strings.Builder
	_ = headers.Write(&text) // to memory
	return a.Status + "\n" + text.String() + string(a.body)
}

// TestAccessMatrix goes through every route as everybody, for stores and orders of their own, of others, and that are
// not there. Whoever is refused is told the same, whether the thing exists or not.
func TestAccessMatrix(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const own, foreign, missing = testStore, "hayes-valley", "no-such-store"
	here, there := s.place(t, atCounter()).order(t), s.placeAt(t, foreign)
	visitors := append(s.visitors(t, here, there), s.disabledStaff(t)...)
	beside := s.place(t, atCounter()).order(t)
	unknown := uuid.Must(uuid.NewV7()).String()
	spots := []spot{
		{target{own, here.ID}, true, true}, {target{own, beside.ID}, true, true}, {target{own, unknown}, true, false}, {target{own, there.ID}, true, false},
		{target{own, "x"}, true, false}, {target{foreign, there.ID}, true, true}, {target{foreign, here.ID}, true, false}, {target{foreign, unknown}, true, false},
		{target{missing, here.ID}, false, false}, {target{missing, unknown}, false, false},
	}
	declared := maps.Clone(admissions)
	routes := s.api.routes()
	slices.SortStableFunc(routes, func(a, b Route) int { return strings.Count(a.Path, "sign-out") - strings.Count(b.Path, "sign-out") }) // last: it ends sessions
	for _, route := range routes {
		name := route.Method + " " + route.Path
		rule, ok := declared[name]
		if !ok {
			t.Errorf("%s: say in admissions who gets in", name)
			continue
		}
		delete(declared, name)
		methods := []string{route.Method}
		switch {
		case route.Method == anyMethod:
			methods = []string{"GET", "POST"}
		case route.Method == "GET" && !route.Live:
			methods = append(methods, "HEAD")
		}
		for _, method := range methods {
			s.knockAll(t, method, route.Path, rule, visitors, spots)
		}
	}
	for name := range declared {
		t.Errorf("%s: there is no such route any more", name)
	}
}

func (s *shop) knockAll(t *testing.T, method, path string, rule admission, visitors []visitor, spots []spot) {
	t.Helper()
	refusal := "" // what the last one was told that was refused
	for _, v := range visitors {
		seen := map[string]bool{}
		for _, at := range spots {
			address := strings.NewReplacer(":store", at.store, ":id", at.order, "static/*", "static/money.js", "*", "").Replace(path)
			if seen[address] {
				continue // a route without a store or an order
			}
			seen[address] = true
			want := rule.wants(path, v, at)
			if want == rule.in && method == "POST" && strings.HasPrefix(path, dashboardPath) {
				continue // what it then does is not our own
			}
			got := s.knock(t, v, method, address)
			if got.StatusCode != want {
				t.Errorf("%s, %s %s: %d, want %d: %s", v.name, method, address, got.StatusCode, want, got.body)
			}
			if got.StatusCode == 403 {
				got.tellsNothing(t)
				if refusal != "" && refusal != got.said() {
					t.Errorf("%s, %s %s is told\n%s\nand others elsewhere\n%s", v.name, method, address, got.said(), refusal)
				}
				refusal = got.said()
			}
		}
	}
}

// disabledStaff are people who were shut out: by their token, and in a session they had.
func (s *shop) disabledStaff(t *testing.T) []visitor {
	t.Helper()
	cookie := s.signedIn(t, "gone", db.Admin)
	token := s.staff(t, "gone", db.Admin)
	s.call(t, "GET", "/v1/stores/"+testStore+"/orders", token, nil).wants(t, 200)
	if err := db.DisableStaff(t.Context(), s.api.pool, "gone"); err != nil {
		t.Fatal(err)
	}
	return []visitor{{name: "disabled staff", token: token}, {name: "disabled staff signed in", cookie: cookie}}
}
