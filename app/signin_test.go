package main

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"frenchpress/db"
)

// signIn sends the form, and returns the answer with its body read.
func (s *shop) signIn(t *testing.T, name, password string, headers ...string) answer {
	t.Helper()
	form := url.Values{"name": {name}, "password": {password}}.Encode()
	return s.post(t, "/staff/sign-in", form, append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)...)
}

func (s *shop) post(t *testing.T, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
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
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, data}
}

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	first := s.signedIn(t, "mia", db.Admin)
	if !first.HttpOnly || first.SameSite != http.SameSiteLaxMode || first.Secure || first.Path != "/" {
		t.Errorf("the cookie is %v", first)
	}
	again := s.signIn(t, "mia", "correct horse", "Cookie: session="+first.Value)
	if again.StatusCode != 303 || again.Header.Get("Location") != "/staff" || len(again.Cookies()) != 1 {
		t.Fatalf("%d %v", again.StatusCode, again.Header)
	}
	second := again.Cookies()[0]
	if status, _ := s.ask(t, visitor{cookie: first}, "GET", "/staff"); status != 401 || second.Value == first.Value {
		t.Errorf("the session of before still holds: %d", status)
	}
	if status, _ := s.ask(t, visitor{cookie: second}, "GET", "/staff"); status != 200 {
		t.Errorf("the new one does not: %d", status)
	}
	out := s.post(t, "/staff/sign-out", "", "Cookie: session="+second.Value)
	if out.StatusCode != 303 || len(out.Cookies()) != 1 || out.Cookies()[0].MaxAge >= 0 {
		t.Errorf("signing out: %d %v", out.StatusCode, out.Cookies())
	}
	if status, _ := s.ask(t, visitor{cookie: second}, "GET", "/staff"); status != 401 {
		t.Errorf("signed out, and yet %d", status)
	}
	var stored int
	err := s.api.pool.QueryRow(t.Context(), `select count(*) from sessions where token in ($1, $2)`, first.Value, second.Value).Scan(&stored)
	if err != nil || stored != 0 {
		t.Errorf("sessions are stored as they are: %d, %v", stored, err)
	}
}

func TestSignInBehindTLS(t *testing.T) {
	t.Parallel()
	s := openShop(t, "TRUSTED_PROXIES=127.0.0.0/8")
	s.staff(t, "mia", db.Admin)
	if err := db.SetPassword(t.Context(), s.api.pool, "mia", "correct horse"); err != nil {
		t.Fatal(err)
	}
	if got := s.signIn(t, "mia", "correct horse", "X-Forwarded-Proto: https"); len(got.Cookies()) != 1 || !got.Cookies()[0].Secure {
		t.Errorf("cookies %v", got.Cookies())
	}
	untrusting := openShopOn(t, s.databaseURL)
	if got := untrusting.signIn(t, "mia", "correct horse", "X-Forwarded-Proto: https"); len(got.Cookies()) != 1 || got.Cookies()[0].Secure {
		t.Errorf("the word of anybody is believed: %v", got.Cookies())
	}
}

func TestSignInIsThrottledByName(t *testing.T) {
	t.Parallel()
	s := openShop(t, "TRUSTED_PROXIES=127.0.0.0/8")
	s.signedIn(t, "mia", db.Admin)
	from := func(i int) string { return "X-Forwarded-For: 198.51.100." + strconv.Itoa(i) }
	for i := range 5 {
		if got := s.signIn(t, "mia", "wrong password", from(i)); got.StatusCode != 422 || !strings.Contains(string(got.body), "name or the password is wrong") {
			t.Fatalf("attempt %d: %d %s", i, got.StatusCode, got.body)
		}
	}
	got := s.signIn(t, "mia", "correct horse", from(9))
	if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); got.StatusCode != 429 || err != nil || wait < 1 || wait > 61 {
		t.Errorf("the sixth: %d, Retry-After %q", got.StatusCode, got.Header.Get("Retry-After"))
	}
	if len(got.Cookies()) != 0 {
		t.Error("signed in all the same")
	}
}

func TestSignInIsThrottledByAddress(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for i := range 5 {
		// Nobody is trusted to say on whose behalf they ask.
		if got := s.signIn(t, "name"+strconv.Itoa(i), "wrong password", "X-Forwarded-For: 198.51.100."+strconv.Itoa(i)); got.StatusCode != 422 {
			t.Fatalf("attempt %d: %d", i, got.StatusCode)
		}
	}
	if got := s.signIn(t, "another", "wrong password"); got.StatusCode != 429 {
		t.Errorf("the sixth: %d", got.StatusCode)
	}
}

func TestSignInFormFaults(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const form = "Content-Type: application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		body, contentType string
		want              int
	}{
		"not a form":  {`{"name":"mia"}`, "Content-Type: application/json", 415},
		"malformed":   {"name=%zz", form, 400},
		"too large":   {"name=" + strings.Repeat("x", 5000), form, 413},
		"empty":       {"", form, 422},
		"long name":   {"name=" + strings.Repeat("x", 3000), form, 422},
		"script":      {"name=" + url.QueryEscape(`"><script>alert(1)</script>`), form, 422},
		"NUL in name": {"name=a%00b&password=x", form, 422},
	} {
		got := s.post(t, "/staff/sign-in", test.body, test.contentType)
		if got.StatusCode != test.want || strings.Contains(string(got.body), "<script>alert") || mediaType(got.Header) != "text/html" {
			t.Errorf("%s: %d %s", name, got.StatusCode, got.body)
		}
		s.api.attempts.giveBack("address 127.0.0.1")
	}
}
