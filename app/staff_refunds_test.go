package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// failedRefund is a refund of one of three lattes that the provider has refused for good. It would carry out another one.
func (s *shop) failedRefund(t *testing.T, staff string) order {
	t.Helper()
	body := large(nil)
	body["payment"] = object{"method": "card", "token": "tok_refund_fails_once"}
	o := s.placed(t, body)
	s.refund(t, staff, o, units(0, 1)).wants(t, 202)
	dbtest.Becomes(t, 5*time.Second, "the refund fails", func() bool {
		return s.count(t, `select count(*) from refunds where status = 'failed' and order_id = $1`, o.ID) == 1
	})
	return o
}

// submit sends a form of somebody who has signed in.
func (s *shop) submit(t *testing.T, cookie *http.Cookie, path string, form url.Values) answer {
	t.Helper()
	return s.post(t, path, form.Encode(), "Content-Type: application/x-www-form-urlencoded", "Cookie: session="+cookie.Value)
}

func (s *shop) page(t *testing.T, cookie *http.Cookie, path string) string {
	t.Helper()
	return string(s.call(t, "GET", path, "", nil, "Cookie: session="+cookie.Value, "Accept: text/html").wants(t, 200).body)
}

// TestFailedRefund has the worklist show what the provider refused, and staff see to it in both ways.
func TestFailedRefund(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := s.signedIn(t, "mia", db.Support)
	staff := s.staff(t, "joe", db.Manager)
	if page := s.page(t, mia, "/staff/refunds"); !strings.Contains(page, "Nothing is owed") {
		t.Errorf("with nothing failed: %s", page)
	}
	again := s.failedRefund(t, staff)
	byHand := s.failedRefund(t, staff)
	a := s.call(t, "GET", again.path(), again.Token, nil)
	if r := a.refunds(t)[0]; r.Status != "failed" || a.order(t).Payment.Status != "refund_pending" || a.order(t).Payment.Refunded != 0 {
		t.Errorf("failed: %s", a.body)
	}
	s.refund(t, staff, a.order(t), units(0, 1)).wantsProblem(t, 409, "refund_pending")
	page := s.page(t, mia, "/staff/refunds")
	for _, o := range []order{again, byHand} {
		if !strings.Contains(page, "/staff/"+testStore+"/orders/"+o.ID+"/refunds/1/again") {
			t.Errorf("order %s is not on the list: %s", o.ID, page)
		}
	}
	if !strings.Contains(page, "expired_or_canceled_card") || !strings.Contains(page, "it was cold") || !strings.Contains(s.page(t, mia, "/staff"), "2 failed refunds") {
		t.Errorf("the list says %s", page)
	}
	story := "/staff/" + testStore + "/orders/"
	if page := s.page(t, mia, story+byHand.ID); !strings.Contains(page, "the money is still owed") || strings.Contains(page, "on its way") {
		t.Errorf("the story of a failed refund says %s", page)
	}
	if got := s.submit(t, mia, story+byHand.ID+"/refunds/1/by-hand", url.Values{"reason": {" "}}); got.StatusCode != 422 {
		t.Errorf("by hand without a reason: %d", got.StatusCode)
	}
	if got := s.submit(t, mia, story+byHand.ID+"/refunds/1/by-hand", url.Values{"reason": {"cash, to Ada"}}); got.StatusCode != 303 || got.Header.Get("Location") != "/staff/refunds" {
		t.Errorf("by hand: %d %s", got.StatusCode, got.body)
	}
	for path, status := range map[string]int{byHand.ID + "/refunds/1/by-hand": 409, byHand.ID + "/refunds/1/again": 409, again.ID + "/refunds/2/again": 409, again.ID + "/refunds/x/again": 404} {
		got := s.submit(t, mia, story+path, url.Values{"reason": {"once more"}})
		if listed := strings.Contains(string(got.body), "<h1>Failed refunds</h1>"); got.StatusCode != status || listed != (status == 409) {
			t.Errorf("%s: %d, with the list %v", path, got.StatusCode, listed)
		}
	}
	if now := s.get(t, byHand); now.Payment.Status != "partially_refunded" || s.bank(t).accounts(t)[byHand.ID].Refunds != 0 {
		t.Errorf("by hand: %+v", now.Payment)
	}
	if rows := s.legs(t, byHand); len(rows) != 2 || !strings.HasPrefix(rows[1], "refund 0 -") {
		t.Errorf("by hand the ledger has %q", rows)
	}
	if got := s.submit(t, mia, story+again.ID+"/refunds/1/again", nil); got.StatusCode != 303 {
		t.Errorf("again: %d %s", got.StatusCode, got.body)
	}
	now := s.settled(t, again)
	if now.Payment.Status != "partially_refunded" || s.bank(t).accounts(t)[again.ID].Refunds != 1 {
		t.Errorf("tried again: %+v", now.Payment)
	}
	s.checkLedger(t, now)
	s.checkBooks(t)
	if n := s.count(t, `select count(*) from audit where actor = 'staff:mia' and (action = 'refund.tried_again' and detail ->> 'order' = $1
    or action = 'refund.by_hand' and detail ->> 'order' = $2 and detail ->> 'reason' = 'cash, to Ada')`, again.ID, byHand.ID); n != 2 {
		t.Errorf("%d of 2 lines in the audit", n)
	}
	if page := s.page(t, mia, "/staff/refunds"); !strings.Contains(page, "Nothing is owed") {
		t.Errorf("all is seen to, and the list says %s", page)
	}
}

// TestFailedRefundsByPage reads a worklist of more than a page.
func TestFailedRefundsByPage(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := s.signedIn(t, "mia", db.Support)
	o := s.placed(t, latte(nil))
	if _, err := s.api.pool.Exec(t.Context(), `
    insert into refunds (store_id, order_id, n, amount, sales, tax, tip, lines, method, by, status, failure, created_at, updated_at)
    select store_id, id, n, 1, 1, 0, 0, '[]', 'card', 'staff:mia', 'failed', 'word ' || n, now(), now()
    from orders, generate_series(1, $2::int) as n
    where id = $1`, o.ID, refundsOnPage+3); err != nil {
		t.Fatal(err)
	}
	first := s.page(t, mia, "/staff/refunds")
	_, link, more := strings.Cut(first, `href="/staff/refunds?cursor=`)
	cursor, _, _ := strings.Cut(link, `"`)
	if !more || strings.Count(first, "/again") != refundsOnPage {
		t.Fatalf("the first page has %d of them: %s", strings.Count(first, "/again"), first)
	}
	last := s.page(t, mia, "/staff/refunds?cursor="+cursor)
	if strings.Count(last, "/again") != 3 || !strings.Contains(last, fmt.Sprintf("word %d<", refundsOnPage+3)) || strings.Contains(last, `rel="next"`) || !strings.Contains(last, "Back to the first") {
		t.Errorf("the last page is %s", last)
	}
	for _, place := range []string{"nonsense", o.ID + " 2147483648"} {
		if status, _ := s.ask(t, visitor{cookie: mia}, "GET", "/staff/refunds?cursor="+newCursor(refundList, place)); status != 400 {
			t.Errorf("a cursor of nobody's: %d", status)
		}
	}
}

// TestRefundForm refunds from an order's story.
func TestRefundForm(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	mia := s.signedIn(t, "mia", db.Support)
	o := s.placed(t, large(nil))
	path := "/staff/" + testStore + "/orders/" + o.ID
	page := s.page(t, mia, path)
	for _, words := range []string{`action="` + path + `/refunds"`, `name="line0"`, `max="3"`, "Latte, Large", `name="line1"`, "$1.50", fmt.Sprintf(`name="version" value="%d"`, o.Version)} {
		if !strings.Contains(page, words) {
			t.Errorf("the form has no %q: %s", words, page)
		}
	}
	form := url.Values{"version": {strconv.Itoa(o.Version)}, "line0": {"2"}, "line1": {"0"}, "tip": {"1"}, "reason": {"spilled"}}
	changed := func(name, value string) url.Values {
		next := url.Values{}
		for key, values := range form {
			next[key] = values
		}
		next.Set(name, value)
		return next
	}
	for _, x := range []struct {
		form   url.Values
		status int
		words  string
	}{
		{changed("line0", "4"), 422, "Latte, Large: the number must be from 1 to 3"}, {changed("line0", "two"), 422, "whole number"},
		{changed("reason", " "), 422, "The reason must not be empty"},
		{url.Values{"version": form["version"], "reason": {"nothing"}}, 422, "The refund must come to more than nothing"},
	} {
		got := s.submit(t, mia, path+"/refunds", x.form)
		if got.StatusCode != x.status || !strings.Contains(string(got.body), x.words) || !strings.Contains(string(got.body), `value="`+strings.TrimSpace(x.form.Get("reason"))+`"`) {
			t.Errorf("%v: %d %s", x.form, got.StatusCode, got.body)
		}
	}
	if got := s.submit(t, mia, path+"/refunds", form); got.StatusCode != 303 || got.Header.Get("Location") != path {
		t.Fatalf("refunding: %d %s", got.StatusCode, got.body)
	}
	twice := s.submit(t, mia, path+"/refunds", form)
	if page := string(twice.body); twice.StatusCode != 412 || !strings.Contains(page, "changed meanwhile") || strings.Contains(page, `value="2"`) || strings.Contains(page, `value="spilled"`) {
		t.Errorf("a double click: %d %s", twice.StatusCode, page)
	}
	now := s.settled(t, o)
	if now.Payment.Status != "partially_refunded" || s.count(t, `select count(*) from refunds`) != 1 {
		t.Errorf("%+v", now.Payment)
	}
	page = s.page(t, mia, path)
	for _, words := range []string{"refund 1: done", "1 of 3 left", "spilled", "refund, version"} {
		if !strings.Contains(page, words) {
			t.Errorf("the story has no %q: %s", words, page)
		}
	}
	if strings.Contains(page, `name="tip"`) {
		t.Error("the tip can go back twice")
	}
	crossed := s.post(t, path+"/refunds", form.Encode(), "Content-Type: application/x-www-form-urlencoded", "Cookie: session="+mia.Value, "Sec-Fetch-Site: cross-site")
	if crossed.StatusCode != 403 {
		t.Errorf("from another site: %d", crossed.StatusCode)
	}
	s.checkBooks(t)
}
