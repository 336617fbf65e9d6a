package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// TestAddressesThatAreNot asks as somebody who may see everything, so that nothing hides behind a 403.
func TestAddressesThatAreNot(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "errors", db.Admin)
	id := s.place(t, atCounter()).order(t).ID
	s.client = http.DefaultClient // these addresses are no part of the contract
	for _, address := range []string{
		uuid.NewString(), uuid.Nil.String(), uuid.Max.String(), "x", "0", "-1", "null", "%00", "%ff", "%0a", strings.Repeat("a", 5000),
		id[:35], id + "0", "{" + id + "}", "urn:uuid:" + id, strings.ReplaceAll(id, "-", ""), strings.Replace(id, "-", "_", 1),
		"%20" + id, id + "%20", id + "%00", id + ";x", id + ",", id + "%2F", "..%2F" + id, "%2e%2e", "'", "%27%20or%201=1--", "%25", "*",
	} {
		for _, route := range []string{"GET ", "GET /live", "POST /cancel", "POST /payment"} {
			method, below, _ := strings.Cut(route, " ")
			got := s.call(t, method, "/v1/stores/"+testStore+"/orders/"+address+below, staff, map[string]any{"GET": nil}[method], "Idempotency-Key: k")
			switch got = got.tellsNothing(t); below {
			case "/payment": // whose body comes first
				if got.StatusCode != 404 && got.StatusCode != 415 {
					t.Errorf("%s: %d %s", address, got.StatusCode, got.body)
				}
			default:
				got.wantsProblem(t, 404, "not_found")
			}
		}
	}
	for _, store := range []string{"x", "%00", "%ff", "FERRY-BUILDING", "Ferry-building", testStore + "%20", testStore + "%00", "%2e", "%2e%2e", "..%2f" + testStore, "ferry%2Fbuilding",
		testStore + "%2Fmenu", strings.Repeat("a", 5000), "'", "%27;--", "-", "*"} {
		for _, below := range []string{"", "/menu", "/slots", "/orders", "/board", "/orders/" + id, "/board/live"} {
			s.call(t, "GET", "/v1/stores/"+store+below, staff, nil).tellsNothing(t).wantsProblem(t, 404, "not_found")
		}
	}
	for _, path := range []string{"/v1/stores/", "/v1/stores//menu", "/v1//stores", "/v1/stores/" + testStore + "/", "/v1/stores/" + testStore + "/orders/" + id + "/", "/V1/stores", "/v1/Stores",
		"/v1/stores/" + testStore + "%2Fmenu", "/v1%2Fstores", "/v1/stores/" + testStore + "/orders%2F" + id, "/v1/stores/../stores", "/v1/./stores"} {
		s.call(t, "GET", path, staff, nil).tellsNothing(t).wantsProblem(t, 404, "not_found")
	}
	s.call(t, "GET", "/v1/stores/"+testStore+"/orders/"+strings.ToUpper(id), staff, nil).wants(t, 200)
}

// TestMethodsThatAreNot goes through all routes with all methods.
func TestMethodsThatAreNot(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "errors", db.Admin)
	s.client = http.DefaultClient // this is no part of the contract
	methods := map[string][]string{}
	for _, r := range s.api.routes() {
		methods[r.Path] = append(methods[r.Path], r.Method)
		if r.Method == "GET" && !r.Live {
			methods[r.Path] = append(methods[r.Path], "HEAD")
		}
	}
	for path, known := range methods {
		if slices.Contains(known, anyMethod) {
			continue
		}
		at := strings.NewReplacer(":store", testStore, ":id", uuid.NewString(), "*", "shop.js").Replace(path)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "BREW", "get"} {
			if slices.Contains(known, method) {
				continue
			}
			got := s.call(t, method, at, staff, nil).tellsNothing(t).wants(t, 405)
			if method != "HEAD" {
				got.wantsProblem(t, 405, "method_not_allowed")
			}
			for _, allowed := range known {
				if !strings.Contains(got.Header.Get("Allow"), allowed) {
					t.Errorf("%s %s: Allow is %q, without %s", method, path, got.Header.Get("Allow"), allowed)
				}
			}
		}
		if got := s.call(t, "OPTIONS", at, "", nil).wants(t, 204); !strings.Contains(got.Header.Get("Allow"), known[0]) {
			t.Errorf("OPTIONS %s: Allow is %q", path, got.Header.Get("Allow"))
		}
		if slices.Contains(known, "HEAD") {
			get, head := s.call(t, "GET", at, staff, nil), s.call(t, "HEAD", at, staff, nil)
			if get.StatusCode != head.StatusCode || len(head.body) > 0 || get.Header.Get("Content-Type") != head.Header.Get("Content-Type") {
				t.Errorf("%s: GET answers %d %q, HEAD %d %q with %d bytes", path, get.StatusCode, get.Header.Get("Content-Type"),
					head.StatusCode, head.Header.Get("Content-Type"), len(head.body))
			}
		}
	}
}

func TestBadQueries(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	staff := s.staff(t, "errors", db.Support)
	const at = "/v1/stores"
	everywhere := []string{"limit=0", "limit=201", "limit=-1", "limit=abc", "limit=", "limit=1e1", "limit=%2B1", "limit=99999999999999999999", "limit=1&limit=2",
		"cursor=", "cursor=%20", "cursor=*", "cursor=a%0Ab", "cursor=a%00", "cursor=" + strings.Repeat("A", 513), "cursor=YQ%3D%3D", "%zz=1", "a;b", "%"}
	for path, bad := range map[string][]string{
		at: append([]string{"near=", "near=1", "near=1,2,3", "near=91,0", "near=0,181", "near=a,b", "near=NaN,NaN", "near=1,", "near=Inf,0", "near=0x1,0", "near=1%002,0",
			"near=1,2&cursor=" + newCursor(storeList, "a"), "cursor=" + newCursor(testOrderList, "a"), "q=%00", "q=%FF", "q=" + strings.Repeat("x", 241), "q=a&q=b"}, everywhere...),
		at + "/" + testStore + "/orders": append([]string{"status=", "status=lost", "status=placed&status=ready", "from=yesterday", "from=2026-01-01", "to=2026-13-01T00:00:00Z", "to=2026-01-01T00:00:00",
			"from=", "from=9999-12-31T23:59:59-10:00", "to=0000-01-01T00:00:00%2B10:00", "cursor=" + newCursor(testOrderList, "x"), "cursor=" + newCursor(testOrderList, "00000000-0000-0000-0000-00000000000g"), "cursor=" + newCursor(storeList, uuid.Nil.String()), "cursor=" + newCursor("orders of dumbo", uuid.Nil.String()), "cursor=AB"}, everywhere...),
		at + "/" + testStore + "/slots": {"date=", "date=today", "date=2026-02-30", "date=2026-1-1", "date=2026-01-01T00:00:00Z", "date=%00", "date=2026-01-01&date=2026-01-02", "date=99999-01-01", "date=-001-01-01", "date=0000-01-01", "date=9999-12-31", "date=%zz"},
	} {
		for _, query := range bad {
			s.call(t, "GET", path+"?"+query, staff, nil).tellsNothing(t).wantsProblem(t, 400, "bad_query")
		}
	}
	// At the ends of the calendar there is nothing, which is no fault.
	for path, queries := range map[string][]string{
		"/slots": {"date=0001-01-01", "date=9998-12-31", "date=1969-12-31"},
		"/orders": {"from=9999-12-31T23:59:59Z", "to=0001-01-01T00:00:00Z", "to=1969-12-31T23:59:59Z", "from=0001-01-01T00:00:00Z&to=0001-01-01T00:00:01Z", "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
			"cursor=" + newCursor(testOrderList, uuid.Nil.String())},
	} {
		for _, query := range queries {
			got := s.call(t, "GET", at+"/"+testStore+path+"?"+query, staff, nil).tellsNothing(t)
			if got.StatusCode != 200 {
				t.Errorf("%s?%s: %d %s", path, query, got.StatusCode, got.body)
			}
		}
	}
}

// dialled sends bytes as they are, and reads the answer if there is one.
func (s *shop) dialled(t *testing.T, request string) (*http.Response, string) {
	t.Helper()
	conn := s.dial(t, 10*time.Second)
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // what is not there yet never comes
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return nil, ""
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestLyingRequests has bodies that are not as long as their headers say, and headers that a client library would
// not send.
func TestLyingRequests(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const post = "POST /v1/stores/" + testStore + "/orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nIdempotency-Key: "
	key := uuid.NewString() + "\r\n"
	chunk := func(text string) string { return fmt.Sprintf("%x\r\n%s\r\n", len(text), text) }
	for name, x := range map[string]struct {
		request string
		status  int
		code    string // empty: the server library refuses it before us, in its own words
	}{
		"shorter than said":     {post + key + "Content-Length: 1000\r\n\r\n{}", 400, "malformed_json"},
		"longer than said":      {post + key + "Content-Length: 1\r\n\r\n{}", 400, "malformed_json"},
		"said to be huge":       {post + key + "Content-Length: 9223372036854775807\r\n\r\n{}", 413, "body_too_large"},
		"said one too many":     {post + key + "Content-Length: 65537\r\n\r\n{}", 413, "body_too_large"},
		"said nothing, is huge": {post + key + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk(strings.Repeat(" ", 8192)), 9) + "0\r\n\r\n", 413, "body_too_large"},
		"chunks of a good body": {post + key + "Transfer-Encoding: chunked\r\n\r\n" + chunk("{") + chunk("}") + "0\r\n\r\n", 422, "invalid"},
		"chunks broken off":     {post + key + "Transfer-Encoding: chunked\r\n\r\n" + chunk("{}"), 400, "malformed_json"},
		"chunks of nonsense":    {post + key + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n", 400, "malformed_json"},
		"no body":               {post + key + "Content-Length: 0\r\n\r\n", 400, "malformed_json"},
		"two keys":              {post + "a\r\nIdempotency-Key: b\r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_invalid"},
		"the same key twice":    {post + "a\r\nIdempotency-Key: a\r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_invalid"},
		"an empty key":          {post + "\r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_missing"},
		"a key of spaces":       {post + "   \r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_missing"},
		"a key in UTF-8":        {post + "é\r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_invalid"},
		"a key not in UTF-8":    {post + "\xff\r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_invalid"},
		"a key with a tab":      {post + "a\tb\r\nContent-Length: 2\r\n\r\n{}", 400, "idempotency_key_invalid"},
		"two credentials":       {"GET /v1/stores/" + testStore + "/board HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n", 401, "unauthenticated"},
		"a whole URL":           {"GET http://elsewhere.example/v1/nothing HTTP/1.1\r\nHost: shop\r\n\r\n", 404, "not_found"},
		"an old client":         {"GET /v1/nothing HTTP/1.0\r\n\r\n", 404, "not_found"},
		"a bad escape":          {"GET /v1/stores/%zz HTTP/1.1\r\nHost: shop\r\n\r\n", 400, ""},
		"a NUL in the path":     {"GET /v1/stores/\x00 HTTP/1.1\r\nHost: shop\r\n\r\n", 400, ""},
		"a NUL in a header":     {post + "a\x00b\r\nContent-Length: 2\r\n\r\n{}", 400, ""},
		"two lengths":           {post + key + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400, ""},
		"a negative length":     {post + key + "Content-Length: -1\r\n\r\n{}", 400, ""},
		"a foreign encoding":    {post + key + "Transfer-Encoding: gzip\r\n\r\n{}", 501, ""},
		"no host":               {"GET /v1/stores HTTP/1.1\r\n\r\n", 400, ""},
		"large headers":         {"GET /v1/stores HTTP/1.1\r\nHost: shop\r\nX: " + strings.Repeat("x", 40<<10) + "\r\n\r\n", 431, ""},
		"not HTTP":              {"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp, body := s.dialled(t, x.request)
			if resp == nil {
				t.Fatal("no answer")
			}
			if resp.StatusCode != x.status || inside.MatchString(body) {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, x.status)
			}
			if is := mediaType(resp.Header) == problemJSON; x.code != "" && (!is || !strings.Contains(body, `"code":"`+x.code+`"`)) {
				t.Errorf("%v %s, want the problem %s", resp.Header, body, x.code)
			}
		})
	}
}

func TestTooFastEverywhere(t *testing.T) {
	t.Parallel()
	s := openShop(t, "RATE_LIMIT=1")
	paths := []string{"GET /v1/nowhere", "DELETE /v1/stores"}
	for _, r := range s.api.routes() {
		if r.Method != anyMethod && !slices.Contains([]string{"/healthz", "/readyz", "/metrics", webhookPath}, r.Path) {
			paths = append(paths, r.Method+" "+strings.NewReplacer(":store", testStore, ":id", uuid.NewString(), "*", "shop.js").Replace(r.Path))
		}
	}
	for _, path := range paths {
		method, at, _ := strings.Cut(path, " ")
		got := s.call(t, method, at, "", nil)
		for range 10 { // one a second is let through
			if got.StatusCode != 429 {
				got = s.call(t, method, at, "", nil)
			}
		}
		wait, err := strconv.Atoi(got.tellsNothing(t).Header.Get("Retry-After"))
		if got.wantsProblem(t, 429, "rate_limited"); err != nil || wait < 1 || wait > 60 {
			t.Errorf("%s: Retry-After is %q", path, got.Header.Get("Retry-After"))
		}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		s.call(t, "GET", path, "", nil).wants(t, 200)
	}
}

// cutOff makes the shop's database refuse everybody, and ends the connections there are, until the function returned
// is called.
func (s *shop) cutOff(t *testing.T) (restore func()) {
	t.Helper()
	return s.alterDatabase(t, "with allow_connections false", "with allow_connections true")
}

// alterDatabase changes the shop's database in one way, ends the connections there are, and returns what changes it in the
// other.
func (s *shop) alterDatabase(t *testing.T, there, back string) (restore func()) {
	t.Helper()
	at, err := url.Parse(s.databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(at.Path, "/")
	at.Path = "/postgres"
	admin := func(sql string) {
		conn, err := pgx.Connect(context.Background(), at.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(context.Background()) }()
		if _, err := conn.Exec(context.Background(), sql); err != nil {
			t.Fatal(err)
		}
	}
	admin("alter database " + name + " " + there)
	admin("select pg_terminate_backend(pid) from pg_stat_activity where datname = '" + name + "'")
	return func() { admin("alter database " + name + " " + back) }
}

// TestReadOnlyForAWhile has every session read only, as at a standby before it is promoted: the shop says so, and takes
// orders again as soon as new sessions can write.
func TestReadOnlyForAWhile(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	restore := s.alterDatabase(t, "set default_transaction_read_only = on", "reset default_transaction_read_only")
	t.Cleanup(restore) // or the shop could not close in order
	for range 3 {
		s.place(t, atCounter()).tellsNothing(t).wantsProblem(t, 503, "overloaded")
	}
	dbtest.Becomes(t, patience, "readyz says why", func() bool {
		ready := s.call(t, "GET", "/readyz", "", nil)
		return ready.StatusCode == 503 && strings.Contains(string(ready.body), "the database is read-only")
	})
	restore()
	dbtest.Becomes(t, patience, "orders are taken again", func() bool { return s.place(t, atCounter()).StatusCode == 201 })
	s.call(t, "GET", "/readyz", "", nil).wants(t, 200)
}

// TestWithoutTheDatabase takes the database away: whatever needs it is 503, what does not goes on, and everything is
// well again when it is back.
func TestWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.place(t, atCounter()).order(t)
	device, staff := s.device(t, testStore), s.staff(t, "errors", db.Admin)
	session := s.signedIn(t, "page", db.Admin)
	restore := s.cutOff(t)
	t.Cleanup(restore) // or the shop could not close in order
	const at = "/v1/stores/" + testStore
	busy := func(got answer) {
		t.Helper()
		got.tellsNothing(t).wantsProblem(t, 503, "overloaded")
		if got.Header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", got.Request.URL.Path)
		}
	}
	for range 3 { // the first requests still find connections that were cut
		busy(s.place(t, latte(nil)))
		busy(s.place(t, latte(object{"lines": []object{{"item": "unknown", "quantity": 1}}}))) // whose key must be looked up
		busy(s.call(t, "GET", o.path(), o.Token, nil))
		busy(s.call(t, "GET", o.path()+"/live", o.Token, nil))
		busy(s.call(t, "POST", o.path()+"/cancel", o.Token, nil))
		busy(s.call(t, "POST", o.path()+"/payment", o.Token, object{"payment": object{"method": "card", "token": "tok_visa"}}, "Idempotency-Key: k"))
		busy(s.call(t, "GET", at+"/board", device, nil))
		busy(s.call(t, "POST", at+"/commands", device, object{"commands": []object{command("start", object{"order": o.ID})}}))
		busy(s.call(t, "GET", at+"/orders", staff, nil))
		busy(s.call(t, "GET", at+"/orders", "fps_"+strings.Repeat("A", 32), nil)) // nobody can say whose it is
		busy(s.call(t, "GET", at, "", nil))
		busy(s.call(t, "PATCH", at, staff, object{"slot_minutes": 15}, "If-Match: *"))
		busy(s.call(t, "GET", at+"/orders", "", nil, "Cookie: "+session.Name+"="+session.Value))
		s.call(t, "GET", at+"/menu", "", nil).wants(t, 200)
		s.call(t, "POST", at+"/quotes", "", object{"fulfilment": "pickup", "lines": latte(nil)["lines"]}).wants(t, 200)
		s.call(t, "GET", "/healthz", "", nil).wants(t, 200)
		ready := s.call(t, "GET", "/readyz", "", nil).tellsNothing(t)
		if ready.wantsProblem(t, 503, "not_ready"); !strings.Contains(string(ready.body), "the database cannot be reached") {
			t.Errorf("readyz does not say why: %s", ready.body)
		}
	}
	restore()
	for end := time.Now().Add(10 * time.Second); s.call(t, "GET", "/readyz", "", nil).StatusCode != 200; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("does not get ready again")
		}
	}
	s.place(t, latte(nil), "Prefer: wait=10").wants(t, 201)
	s.do(t, device, "start", o, "applied")
}
