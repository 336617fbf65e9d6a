package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
)

// visitor is somebody with a credential of some sort.
type visitor struct {
	name    string
	token   string
	cookie  *http.Cookie
	role    who    // anyone: no valid credential
	store   string // of a device or a customer
	orderID string // of a customer
}

// target is an address in the making.
type target struct{ store, order string }

// ask sends a request with a visitor's credential and returns the status, without reading a stream.
func (s *shop) ask(t *testing.T, v visitor, method, path string, headers ...string) (int, http.Header) {
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
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	client := *s.client
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header
}

// placeAt places an order at another store, at its counter.
func (s *shop) placeAt(t *testing.T, store string) order {
	t.Helper()
	return s.call(t, "POST", "/v1/stores/"+store+"/orders", "", atCounter(), "Idempotency-Key: "+uuid.NewString()).wants(t, 201).order(t)
}

func (s *shop) visitors(t *testing.T, here, there order) []visitor {
	t.Helper()
	other := s.place(t, atCounter()).order(t)
	visitors := []visitor{
		{name: "nobody"},
		{name: "malformed", token: "coffee"},
		{name: "empty", token: " "},
		{name: "unknown device", token: "fpd_" + strings.Repeat("A", 38)},
		{name: "unknown staff", token: "fps_" + strings.Repeat("A", 32)},
		{name: "forged customer", token: here.Token[:len(here.Token)-4] + "AAAA"},
		{name: "revoked device", token: s.revokedDevice(t)},
		{name: "stale session", cookie: &http.Cookie{Name: "session", Value: "gone"}},
		{name: "customer", token: here.Token, role: byCustomer, store: here.Store, orderID: here.ID},
		{name: "other customer", token: other.Token, role: byCustomer, store: other.Store, orderID: other.ID},
		{name: "customer elsewhere", token: there.Token, role: byCustomer, store: there.Store, orderID: there.ID},
		{name: "device", token: s.device(t, testStore), role: byBarista, store: testStore},
		{name: "device elsewhere", token: s.device(t, there.Store), role: byBarista, store: there.Store},
	}
	for name, role := range roles {
		token := s.staff(t, "api-"+name, name)
		visitors = append(visitors, visitor{name: name, token: token, role: role},
			visitor{name: name + " signed in", cookie: s.signedIn(t, "page-"+name, name), role: role})
	}
	return visitors
}

func (s *shop) revokedDevice(t *testing.T) string {
	t.Helper()
	token := s.device(t, testStore)
	device, err := db.DeviceByToken(t.Context(), s.api.pool, token)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RevokeDevice(t.Context(), s.api.pool, device.StoreID, device.ID); err != nil {
		t.Fatal(err)
	}
	return token
}

// signedIn makes a member of staff and returns the cookie of their session.
func (s *shop) signedIn(t *testing.T, name, role string) *http.Cookie {
	t.Helper()
	const password = "correct horse"
	s.staff(t, name, role)
	if err := db.SetPassword(t.Context(), s.api.pool, name, password); err != nil {
		t.Fatal(err)
	}
	resp := s.signIn(t, name, password)
	if resp.StatusCode != http.StatusSeeOther || len(resp.Cookies()) != 1 {
		t.Fatalf("signing in: %d, %v", resp.StatusCode, resp.Cookies())
	}
	return resp.Cookies()[0]
}

// TestForbiddenTellsNothing: the answer to a valid credential for something else is the same to the byte,
// whether that exists or not.
func TestForbiddenTellsNothing(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	here, there := s.place(t, atCounter()).order(t), s.placeAt(t, "hayes-valley")
	device := s.device(t, testStore)
	var said []string
	for _, path := range []string{
		there.path(), "/v1/stores/hayes-valley/orders/" + uuid.NewString(), "/v1/stores/hayes-valley/orders/x",
		"/v1/stores/no-such-store/orders/" + here.ID,
	} {
		for _, token := range []string{device, here.Token} {
			said = append(said, string(s.call(t, "GET", path, token, nil).wants(t, 403).body))
		}
	}
	if slices.Sort(said); said[0] != said[len(said)-1] {
		t.Errorf("different answers:\n%s", strings.Join(said, "\n"))
	}
	s.call(t, "GET", "/v1/stores/"+testStore+"/orders/"+uuid.NewString(), device, nil).wantsProblem(t, 404, "not_found")
	s.call(t, "GET", "/v1/stores/no-such-store/orders/"+here.ID, s.staff(t, "mia", db.Support), nil).wantsProblem(t, 404, "not_found")
}

func TestAuthorizationHeader(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	device := s.device(t, testStore)
	board := "/v1/stores/" + testStore + "/board"
	for header, want := range map[string]int{
		"Bearer " + device: 200, "bearer " + device: 200, "BEARER " + device: 200,
		device: 401, "Bearer": 401, "Bearer  " + device: 401, "Basic " + device: 401, "Token " + device: 401, "Bearer x y": 401,
		"Bearer " + strings.ToUpper(device): 401, "Bearer " + strings.Repeat("x", 8000): 401,
	} {
		status, answered := s.ask(t, visitor{}, "GET", board, "Authorization: "+header)
		if status != want || (want == 401 && answered.Get("WWW-Authenticate") != "Bearer") {
			t.Errorf("%.40q: %d %v, want %d", header, status, answered, want)
		}
	}
	if status, _ := s.ask(t, visitor{}, "GET", "/v1/stores", "Authorization: rubbish"); status != 200 {
		t.Errorf("a public route looks at it: %d", status)
	}
	for query, want := range map[string]int{board + "?token=" + device: 401, board + "/live?token=" + device: 200, board + "/live?token=": 401, board + "/live?token=x": 401} {
		if status, _ := s.ask(t, visitor{}, "GET", query); status != want {
			t.Errorf("%s: %d, want %d", query, status, want)
		}
	}
	if status, _ := s.ask(t, visitor{token: "x"}, "GET", board+"/live?token="+device); status != 401 {
		t.Errorf("the header does not win over the query: %d", status)
	}
	// The credential comes before everything else that may be wrong.
	s.call(t, "POST", "/v1/stores/"+testStore+"/commands", "nonsense", "not JSON").wantsProblem(t, 401, "unauthenticated")
}

func TestRevocationActsWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	token := s.device(t, testStore)
	board := "/v1/stores/" + testStore + "/board"
	s.call(t, "GET", board, token, nil).wants(t, 200)
	stream := s.boardStream(t, "Authorization", "Bearer "+token)
	device, err := db.DeviceByToken(t.Context(), s.api.pool, token)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RevokeDevice(t.Context(), s.api.pool, device.StoreID, device.ID); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	for {
		status, _ := s.ask(t, visitor{token: token}, "GET", board)
		if status == 401 {
			break
		}
		if time.Since(revoked) > 2*time.Second {
			t.Fatalf("%d two seconds after it was revoked", status)
		}
		time.Sleep(20 * time.Millisecond)
	}
	wantsEnd(t, stream, revoked)
}

// boardStream is what the board says live to who sends a header.
func (s *shop) boardStream(t *testing.T, header, value string) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL+boardLive, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(header, value)
	resp, err := s.client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp.Body
}

// wantsEnd reads a stream to its end, which must come soon after a moment.
func wantsEnd(t *testing.T, stream io.Reader, since time.Time) {
	t.Helper()
	if _, err := io.Copy(io.Discard, stream); err != nil {
		t.Error(err)
	}
	if took := time.Since(since); took > 5*time.Second {
		t.Errorf("the stream ended after %v", took)
	}
}

// TestLetInAgain disables somebody and lets them in again: what they had before, or somebody else has, is worth nothing.
func TestLetInAgain(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	cookie := s.signedIn(t, "mia", db.Manager)
	if err := db.DisableStaff(t.Context(), s.api.pool, "mia"); err != nil {
		t.Fatal(err)
	}
	token := s.staff(t, "mia", db.Manager)
	s.call(t, "GET", testStorePath+"/orders", token, nil).wants(t, 200)
	if status, _ := s.ask(t, visitor{cookie: cookie}, "GET", testStorePath+"/orders"); status != 401 {
		t.Errorf("the session of before: %d", status)
	}
	if got := s.signIn(t, "mia", "correct horse"); got.StatusCode != http.StatusUnprocessableEntity {
		t.Errorf("the password of before: %d", got.StatusCode)
	}
}

func TestSigningOutEndsStreams(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	cookie := s.signedIn(t, "mia", db.Manager)
	stream, other := s.boardStream(t, "Cookie", cookie.String()), s.boardStream(t, "Cookie", s.signedIn(t, "noa", db.Manager).String())
	s.post(t, "/staff/sign-out", "", "Cookie: session="+cookie.Value).wants(t, 303)
	wantsEnd(t, stream, time.Now())
	o := s.place(t, atCounter()).order(t)
	for lines := bufio.NewScanner(other); lines.Scan(); {
		if strings.Contains(lines.Text(), o.ID) {
			return
		}
	}
	t.Error("another's stream has ended too")
}

func TestSessionEndsWithThePassword(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	orders := "/v1/stores/" + testStore + "/orders"
	kim, noor := s.signedIn(t, "kim", db.Support), s.signedIn(t, "noor", db.Support)
	for _, cookie := range []*http.Cookie{kim, noor} {
		if status, _ := s.ask(t, visitor{cookie: cookie}, "GET", orders); status != 200 {
			t.Fatalf("signed in: %d", status)
		}
	}
	if err := db.SetPassword(t.Context(), s.api.pool, "kim", "another horse"); err != nil {
		t.Fatal(err)
	}
	if err := db.DisableStaff(t.Context(), s.api.pool, "noor"); err != nil {
		t.Fatal(err)
	}
	for _, cookie := range []*http.Cookie{kim, noor} {
		if status, _ := s.ask(t, visitor{cookie: cookie}, "GET", orders); status != 401 {
			t.Errorf("afterwards: %d", status)
		}
	}
}

func TestAnotherSiteCannotUseTheSession(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := visitor{cookie: s.signedIn(t, "mia", db.Admin)}
	path := s.place(t, atCounter()).order(t).path() + "/cancel"
	for _, header := range []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-site", "Origin: https://evil.example"} {
		if status, _ := s.ask(t, mia, "POST", path, header); status != 403 {
			t.Errorf("%s: %d", header, status)
		}
		if status, _ := s.ask(t, mia, "POST", "/staff/sign-out", header); status != 403 {
			t.Errorf("sign-out, %s: %d", header, status)
		}
	}
	if status, _ := s.ask(t, mia, "POST", path, "Sec-Fetch-Site: same-origin"); status != 200 {
		t.Errorf("our own page: %d", status)
	}
}

func TestStaffPagesAskToSignIn(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	story := fmt.Sprintf("/staff/%s/orders/%s", testStore, uuid.New())
	for path, then := range map[string]string{"/staff": "", "/staff/jobs/": "/staff/jobs/", story: story, "/staff/refunds?cursor=a%26b": "/staff/refunds?cursor=a%26b"} {
		door := "/staff/sign-in"
		if then != "" {
			door += "?then=" + url.QueryEscape(then)
		}
		status, header := s.ask(t, visitor{}, "GET", path, "Accept: text/html,*/*;q=0.8")
		if status != 303 || header.Get("Location") != door {
			t.Errorf("a browser at %s: %d %s", path, status, header.Get("Location"))
		}
		if status, _ := s.ask(t, visitor{}, "GET", path); status != 401 {
			t.Errorf("a program at %s: %d", path, status)
		}
	}
	if got := s.post(t, story+"/refunds", ""); got.StatusCode != 303 || got.Header.Get("Location") != "/staff/sign-in?then="+url.QueryEscape(story) {
		t.Errorf("a form of somebody whose session is over: %d %s", got.StatusCode, got.Header.Get("Location"))
	}
}

// TestSignInLeadsOn has the door lead to the page that was asked for, and to no other site.
func TestSignInLeadsOn(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.signedIn(t, "mia", db.Support)
	for then, want := range map[string]string{
		"/staff/refunds?cursor=x": "/staff/refunds?cursor=x", "": "/staff", "/staff": "/staff", "/": "/staff",
		"//evil.example/staff/": "/staff", "https://evil.example/staff/x": "/staff", "/staff/../..//evil.example": "/staff",
		"%2Fstaff/x": "/staff", "/staff/" + strings.Repeat("x", thenMost): "/staff", "/staff/%zz": "/staff", "staff/refunds": "/staff",
	} {
		door := s.call(t, "GET", "/staff/sign-in?then="+url.QueryEscape(then), "", nil, "Accept: text/html")
		if carried := strings.Contains(string(door.body), `name="then"`); carried != (want != "/staff") {
			t.Errorf("the door to %q carries it on: %v", then, carried)
		}
		form := url.Values{"name": {"mia"}, "password": {"wrong horse"}, "then": {then}}
		wrong := s.post(t, "/staff/sign-in", form.Encode(), "Content-Type: application/x-www-form-urlencoded")
		if carried := strings.Contains(string(wrong.body), `name="then" value="`+want+`"`); carried != (want != "/staff") {
			t.Errorf("after a wrong password %q is carried on: %v", then, carried)
		}
		s.api.attempts.giveBack("name mia", "address 127.0.0.1")
		form.Set("password", "correct horse")
		if in := s.post(t, "/staff/sign-in", form.Encode(), "Content-Type: application/x-www-form-urlencoded"); in.StatusCode != 303 || in.Header.Get("Location") != want {
			t.Errorf("%q leads to %d %s, not to %s", then, in.StatusCode, in.Header.Get("Location"), want)
		}
	}
}
