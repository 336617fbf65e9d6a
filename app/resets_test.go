package main

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

const newPassword = "another horse"

// regexpValue is the name as a form shows it again.
var regexpValue = regexp.MustCompile(`id="name" name="name" value="[^"]*"`)

// enter sends a form of the staff's door.
func (s *shop) enter(t *testing.T, path string, form url.Values, headers ...string) answer {
	t.Helper()
	return s.post(t, path, form.Encode(), append([]string{"Content-Type: application/x-www-form-urlencoded"}, headers...)...)
}

func (s *shop) forgot(t *testing.T, name string) answer {
	t.Helper()
	return s.enter(t, "/staff/forgot", url.Values{"name": {name}})
}

func (s *shop) reset(t *testing.T, name, code, password string) answer {
	t.Helper()
	return s.enter(t, "/staff/reset", url.Values{"name": {name}, "code": {code}, "password": {password}})
}

// withEmail is a member of staff with a password and an address, and the cookie of a session.
func (s *shop) withEmail(t *testing.T, name string) *http.Cookie {
	t.Helper()
	cookie := s.signedIn(t, name, db.Support)
	if err := db.SetEmail(t.Context(), s.api.pool, name, name+"@example.com"); err != nil {
		t.Fatal(err)
	}
	return cookie
}

// codeOf is the code of somebody's latest request.
func (s *shop) codeOf(t *testing.T, name string) (reset uuid.UUID, code string) {
	t.Helper()
	err := s.api.pool.QueryRow(t.Context(), `select id from password_resets join staff using (staff_id) where name = $1`, name).Scan(&reset)
	if err != nil {
		t.Fatal(err)
	}
	found, err := db.FindReset(t.Context(), s.api.pool, reset)
	if err != nil {
		t.Fatal(err)
	}
	return reset, found.Code(s.api.secret)
}

// calm forgets the attempts, which are not what these tests are about.
func (s *shop) calm(t *testing.T) {
	t.Helper()
	s.api.attempts.mu.Lock()
	defer s.api.attempts.mu.Unlock()
	s.api.attempts.taken.Purge()
}

// outcomes are what the log says about a subject, as "kind channel address outcome".
func (s *shop) outcomes(t *testing.T, subject any) []string {
	t.Helper()
	var lines []string
	err := s.api.pool.QueryRow(t.Context(), `
    select coalesce(array_agg(concat_ws(' ', kind, channel, address, outcome) order by id), '{}')
    from notification_log
    where subject = $1`, subject).Scan(&lines)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestForgottenPassword(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	before := s.withEmail(t, "mia")
	if got := s.call(t, "GET", "/staff/sign-in", "", nil, "Accept: text/html"); !strings.Contains(string(got.body), `href="/staff/forgot"`) {
		t.Error("the door does not say what to do without a password")
	}
	if got := s.forgot(t, "mia"); got.StatusCode != 200 || !strings.Contains(string(got.body), "a code is on its way") {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	subject, code := s.codeOf(t, "mia")
	want := []string{"password_reset email mia@example.com sent"}
	dbtest.Becomes(t, patience, "the code is sent", func() bool { return slices.Equal(s.outcomes(t, subject), want) })

	if got := s.reset(t, "mia", code, "short"); got.StatusCode != 422 || !strings.Contains(string(got.body), "at least 10 characters") {
		t.Errorf("a weak password: %d %s", got.StatusCode, got.body)
	}
	if got := s.reset(t, "mia", strings.ToLower(strings.ReplaceAll(code, "-", " ")), newPassword); got.StatusCode != 303 || got.Header.Get("Location") != "/staff/sign-in?reset" {
		t.Fatalf("%d %s", got.StatusCode, got.body)
	}
	if got := s.call(t, "GET", "/staff/sign-in?reset", "", nil, "Accept: text/html"); !strings.Contains(string(got.body), "Your new password is set") {
		t.Errorf("the door says nothing of it: %s", got.body)
	}
	if status, _ := s.ask(t, visitor{cookie: before}, "GET", "/staff"); status != 401 {
		t.Errorf("the session of before: %d", status)
	}
	if got := s.signIn(t, "mia", "correct horse"); got.StatusCode != 422 {
		t.Errorf("the password of before: %d", got.StatusCode)
	}
	if got := s.signIn(t, "mia", newPassword); got.StatusCode != 303 {
		t.Errorf("the new password: %d", got.StatusCode)
	}
	var audited int
	err := s.api.pool.QueryRow(t.Context(), `select count(*) from audit where actor = 'mia' and action = 'staff.password_reset'`).Scan(&audited)
	if err != nil || audited != 1 {
		t.Errorf("%d resets in the audit, %v", audited, err)
	}
}

// TestForgotTellsNothing: the answer is the same, but for the name, whether there is somebody or not.
func TestForgotTellsNothing(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.withEmail(t, "mia")
	s.withEmail(t, "gone")
	s.staff(t, "noor", db.Admin) // without an address
	if err := db.DisableStaff(t.Context(), s.api.pool, "gone"); err != nil {
		t.Fatal(err)
	}
	said := map[string]bool{}
	names := []string{"mia", "noor", "gone", "eve", "a b", strings.Repeat("x", 200), "\x00", "mia@example.com"}
	for _, name := range names {
		s.calm(t)
		got := s.forgot(t, name)
		if got.StatusCode != 200 {
			t.Fatalf("%q: %d %s", name, got.StatusCode, got.body)
		}
		shown := regexpValue.ReplaceAllString(string(got.body), `id="name" name="name" value=""`)
		got.Header.Del("Content-Length")
		got.Header.Del("Date")
		got.Header.Del("X-Request-Id")
		got.body = []byte(shown)
		said[got.said()] = true
	}
	if len(said) != 1 {
		t.Errorf("%d different answers", len(said))
	}
	var asked, queued int
	err := s.api.pool.QueryRow(t.Context(), `
    select (select count(*) from password_resets), (select count(*) from river_job where kind = 'password_reset')`).Scan(&asked, &queued)
	if err != nil || asked != 1 || queued != len(names) {
		t.Errorf("%d requests, %d jobs of the same work for all, %v", asked, queued, err)
	}
}

func TestResetRefusals(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.withEmail(t, "mia")
	s.withEmail(t, "noor")
	refused := func(what, name, code string) {
		t.Helper()
		s.calm(t)
		if got := s.reset(t, name, code, newPassword); got.StatusCode != 422 || !strings.Contains(string(got.body), "name or the code is wrong") {
			t.Errorf("%s: %d", what, got.StatusCode)
		}
	}
	exec := func(sql string) {
		t.Helper()
		if _, err := s.api.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	refused("nothing was asked for", "mia", "00000-00000")
	s.forgot(t, "mia")
	_, old := s.codeOf(t, "mia")
	s.calm(t)
	s.forgot(t, "mia")
	if _, still := s.codeOf(t, "mia"); still != old {
		t.Error("whoever asks in somebody's name makes the code worthless that they were sent a moment ago")
	}
	exec(`update password_resets set created_at = created_at - interval '1 minute'`)
	s.forgot(t, "mia")
	_, code := s.codeOf(t, "mia")
	refused("the code of the request before", "mia", old)
	refused("somebody else's", "noor", code)
	refused("nobody's", "eve", code)
	refused("no code", "mia", "")
	refused("half of it", "mia", code[:5])
	exec(`update password_resets set created_at = created_at - interval '15 minutes'`)
	refused("too old", "mia", code)
	exec(`update password_resets set created_at = now()`)
	exec(`update staff set email = 'other@example.com' where name = 'mia'`)
	refused("the address has changed", "mia", code)
	exec(`update staff set email = 'mia@example.com' where name = 'mia'`)
	exec(`update staff set disabled_at = now() where name = 'mia'`)
	refused("disabled", "mia", code)
	exec(`update staff set disabled_at = null where name = 'mia'`)
	if got := s.reset(t, "mia", code, newPassword); got.StatusCode != 303 {
		t.Fatalf("the right one: %d %s", got.StatusCode, got.body)
	}
	refused("used", "mia", code)
	s.forgot(t, "mia")
	_, code = s.codeOf(t, "mia")
	if err := db.SetPassword(t.Context(), s.api.pool, "mia", "a third horse"); err != nil {
		t.Fatal(err)
	}
	refused("the password has changed", "mia", code)
}

// TestDoorsShareTheirAttempts: whoever guesses has no more tries at one door for having another.
func TestDoorsShareTheirAttempts(t *testing.T) {
	t.Parallel()
	s := openShop(t, "TRUSTED_PROXIES=127.0.0.0/8")
	s.withEmail(t, "mia")
	from := func(i int) string { return "X-Forwarded-For: 198.51.100." + strconv.Itoa(i) }
	name := url.Values{"name": {"mia"}}
	guess := url.Values{"name": {"mia"}, "code": {"00000-00000"}, "password": {newPassword}}
	for i := range 2 {
		if got := s.enter(t, "/staff/forgot", name, from(2*i)); got.StatusCode != 200 {
			t.Fatal(got.StatusCode)
		}
		if got := s.enter(t, "/staff/reset", guess, from(2*i+1)); got.StatusCode != 422 {
			t.Fatal(got.StatusCode)
		}
	}
	if got := s.signIn(t, "mia", "wrong horse", from(5)); got.StatusCode != 422 {
		t.Fatal(got.StatusCode)
	}
	for path, form := range map[string]url.Values{"/staff/forgot": name, "/staff/reset": guess, "/staff/sign-in": guess} {
		if got := s.enter(t, path, form, from(9)); got.StatusCode != 429 || got.Header.Get("Retry-After") == "" {
			t.Errorf("the sixth at %s: %d", path, got.StatusCode)
		}
	}
	s.calm(t)
	for i := range 5 {
		s.enter(t, "/staff/forgot", url.Values{"name": {"name" + strconv.Itoa(i)}}, from(9))
	}
	if got := s.enter(t, "/staff/forgot", name, from(9)); got.StatusCode != 429 {
		t.Errorf("the sixth from one address: %d", got.StatusCode)
	}
}

func TestAnotherSiteCannotReset(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	for _, path := range []string{"/staff/forgot", "/staff/reset"} {
		if got := s.enter(t, path, url.Values{"name": {"mia"}}, "Sec-Fetch-Site: cross-site"); got.StatusCode != 403 {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
		if got := s.post(t, path, `{}`, "Content-Type: application/json"); got.StatusCode != 415 {
			t.Errorf("%s, not a form: %d", path, got.StatusCode)
		}
	}
}

// TestForgotTakesAsLong asks for somebody and for nobody in turn.
func TestForgotTakesAsLong(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.withEmail(t, "mia")
	fastest := map[string]time.Duration{"mia": time.Hour, "nobody": time.Hour}
	for range 40 {
		for name, best := range fastest {
			s.calm(t)
			began := time.Now()
			s.forgot(t, name)
			fastest[name] = min(best, time.Since(began))
		}
	}
	if fastest["nobody"] < fastest["mia"]/3 {
		t.Errorf("took %v", fastest)
	}
}
