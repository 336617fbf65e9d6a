package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
)

func TestContractDocument(t *testing.T) {
	t.Parallel()
	c := openContract(t) // which validates the document with its examples
	if !strings.HasPrefix(c.doc.OpenAPI, "3.1.") {
		t.Errorf("openapi %s, want 3.1", c.doc.OpenAPI)
	}
	for name := range c.doc.Components.Schemas {
		if _, err := c.schema("#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	if err := c.doc.WalkSchemas(func(at string, ref *openapi3.SchemaRef) error {
		s := ref.Value
		refines := ref.Ref != "" || strings.HasSuffix(at, "Fields") || strings.HasSuffix(at, "/if") || strings.Contains(at, "/allOf/")
		closed := isFalse(s.AdditionalProperties) || isFalse(s.UnevaluatedProperties)
		if len(s.Properties) > 0 && !refines && !closed {
			t.Errorf("%s lets unknown fields pass", at)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	problem := c.doc.Components.Schemas["Problem"].Value
	var codes []any
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(problem.Description, -1) {
		codes = append(codes, row[1])
	}
	if !slices.Equal(codes, problem.Properties["code"].Value.Enum) {
		t.Errorf("the table of codes is\n%v, the enum\n%v", codes, problem.Properties["code"].Value.Enum)
	}
}

func isFalse(s openapi3.BoolSchema) bool { return s.Has != nil && !*s.Has }

func TestContractRoutes(t *testing.T) {
	t.Parallel()
	doc := openContract(t).doc
	want := strings.Fields(`GET/healthz GET/metrics GET/openapi.yaml GET/readyz GET/v1/payments/differences GET/v1/stores
		GET/v1/stores/{store} GET/v1/stores/{store}/board GET/v1/stores/{store}/board/live GET/v1/stores/{store}/menu
		GET/v1/stores/{store}/orders GET/v1/stores/{store}/orders/{id} GET/v1/stores/{store}/orders/{id}/live
		GET/v1/stores/{store}/orders/{id}/preferences
		GET/v1/stores/{store}/slots PATCH/v1/stores/{store} POST/v1/payments/reconcile POST/v1/payments/webhook
		POST/v1/stores/{store}/commands
		POST/v1/stores/{store}/orders POST/v1/stores/{store}/orders/{id}/cancel
		POST/v1/stores/{store}/orders/{id}/payment POST/v1/stores/{store}/orders/{id}/refunds POST/v1/stores/{store}/quotes PUT/v1/stores/{store}/menu
		PUT/v1/stores/{store}/orders/{id}/preferences`)
	var got []string
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			got = append(got, method+path)
			t.Run(method+path, func(t *testing.T) { checkProblems(t, path, item, op) })
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("documented are\n%v, want\n%v", got, want)
	}
}

// checkProblems asks of an operation every problem that its kind can answer, and that each says so as a problem.
func checkProblems(t *testing.T, path string, item *openapi3.PathItem, op *openapi3.Operation) {
	want := []int{500}
	if !slices.Contains([]string{"/healthz", "/readyz", "/metrics", webhookPath}, path) { // which nothing holds up
		want = append(want, 429)
	}
	if strings.HasPrefix(path, "/v1/") {
		want = append(want, 503)
	}
	if op.Security != nil {
		want = append(want, 401, 403)
	}
	if op.RequestBody != nil {
		want = append(want, 400, 413, 415, 422)
	}
	for _, p := range slices.Concat(item.Parameters, op.Parameters) {
		want = append(want, map[string][]int{"path": {404}, "query": {400}}[p.Value.In]...)
		want = append(want, map[string][]int{"Idempotency-Key": {400, 422}, "If-Match": {412, 428}}[p.Value.Name]...)
	}
	for _, status := range want {
		if op.Responses.Status(status) == nil {
			t.Errorf("%d is not documented", status)
		}
	}
	for status, ref := range op.Responses.Map() {
		if status >= "400" && (len(ref.Value.Content) != 1 || ref.Value.Content[problemJSON] == nil) {
			t.Errorf("%s is not answered with a problem", status)
		}
		if wait := ref.Value.Headers["Retry-After"]; (status == "429" || status == "503") && (wait == nil || !wait.Value.Required) {
			t.Errorf("%s does not require Retry-After", status)
		}
	}
}

func TestContractFaults(t *testing.T) {
	t.Parallel()
	c := openContract(t)
	const order = "/v1/stores/ferry-building/orders/019ab6c0-5f00-7abc-8def-0123456789ab"
	placed, place := contractExample(t, "PlacedOrder"), contractExample(t, "PlaceOrder")
	lost := `{"type":"/problems/not_found","title":"Not found","status":404,"detail":"","code":"not_found"}`
	busy := strings.NewReplacer("not_found", "rate_limited", "404", "429").Replace(lost)
	located := http.Header{"Content-Type": {"application/json"}, "Location": {order}}
	problem := http.Header{"Content-Type": {problemJSON}}
	for name, x := range map[string]struct {
		target, request string
		status          int
		header          http.Header
		body, want      string
	}{
		"as documented":        {"POST /v1/stores/x/orders", place, 201, located, placed, ""},
		"undocumented field":   {"POST /v1/stores/x/orders", place, 201, located, strings.Replace(placed, `{`, `{"x":1,`, 1), "/x"},
		"null for absent":      {"POST /v1/stores/x/orders", place, 201, located, strings.Replace(placed, `"tip":200`, `"tip":null`, 1), "/tip"},
		"time with an offset":  {"POST /v1/stores/x/orders", place, 201, located, strings.ReplaceAll(placed, "05:00Z", "05:00+00:00"), "Z$"},
		"missing header":       {"POST /v1/stores/x/orders", place, 202, problem, placed, "Location"},
		"token shown again":    {"GET " + order, "", 200, http.Header{"Content-Type": {"application/json"}, "Etag": {`"1"`}}, placed, "/token"},
		"weak ETag":            {"GET " + order, "", 200, http.Header{"Content-Type": {"application/json"}, "Etag": {`W/"1"`}}, placed, "ETag"},
		"status":               {"GET " + order, "", 409, problem, lost, "409 is not documented"},
		"content type":         {"GET " + order, "", 404, http.Header{"Content-Type": {"application/json"}}, lost, "content type"},
		"not JSON":             {"GET " + order, "", 404, problem, "oops", "not JSON"},
		"code of another":      {"GET " + order, "", 403, problem, lost, "/code"},
		"type of another":      {"GET " + order, "", 404, problem, strings.Replace(lost, "/not_found", "/gone", 1), "/problems/gone"},
		"without Retry-After":  {"GET " + order, "", 429, problem, busy, "Retry-After"},
		"page for a problem":   {"GET /v1/nowhere", "-", 404, http.Header{"Content-Type": {"text/html"}}, "oops", "not a problem"},
		"unknown route":        {"GET /v1/nowhere", "-", 404, problem, lost, ""},
		"shop page":            {"GET /", "", 200, http.Header{"Content-Type": {"text/html"}}, "<!doctype html>", ""},
		"live stream":          {"GET " + order + "/live?token=fpo_x", "", 200, http.Header{"Content-Type": {"text/event-stream"}}, "", ""},
		"valid request not":    {"POST /v1/stores/x/orders", `{}`, 201, located, placed, "customer"},
		"limit out of range":   {"GET /v1/stores?limit=201", "", 404, problem, lost, "limit"},
		"request out of order": {"GET /v1/stores/Not_A_Slug/board", "", 404, problem, lost, "store"},
	} {
		t.Run(name, func(t *testing.T) {
			method, target, _ := strings.Cut(x.target, " ")
			req := httptest.NewRequestWithContext(t.Context(), method, target, nil)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Idempotency-Key", "k")
			resp := &http.Response{StatusCode: x.status, Header: x.header}
			err := c.fault(req, []byte(strings.Trim(x.request, "-")), resp, []byte(x.body), x.request != "-")
			if got := fmt.Sprint(err); (err == nil) != (x.want == "") || !strings.Contains(got, x.want) {
				t.Errorf("got %v, want %q", err, x.want)
			}
		})
	}
}

// contractExample is the JSON of an example of the document.
func contractExample(t *testing.T, name string) string {
	t.Helper()
	data, err := json.Marshal(openContract(t).doc.Components.Examples[name].Value.Value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// failures is a test that only notes whether it failed.
type failures struct {
	testing.TB
	failed bool
}

func (f *failures) Errorf(string, ...any) { f.failed = true }

func TestContractClient(t *testing.T) {
	t.Parallel()
	menu := contractExample(t, "Menu")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("ETag", r.URL.Query().Get("etag"))
		_, _ = io.WriteString(w, menu)
	}))
	t.Cleanup(server.Close)
	for etag, fails := range map[string]bool{`"v1"`: false, `W/"v1"`: true} {
		f := &failures{TB: t}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/stores/x/menu?etag="+url.QueryEscape(etag), nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := contractClient(f, true).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if body, _, err := readAll(resp.Body); err != nil || string(body) != menu || f.failed != fails {
			t.Errorf("ETag %s: failed %v, want %v; body %s, %v", etag, f.failed, fails, body, err)
		}
	}
	checkSchema(t, "Menu", []byte(menu))
	f := &failures{TB: t}
	if checkSchema(f, "BoardMessage", []byte(`{"heartbeat": false}`)); !f.failed {
		t.Error("a false heartbeat passes")
	}
}
