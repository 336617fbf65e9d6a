package main

import (
	"bytes"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

var losAngeles, _ = time.LoadLocation("America/Los_Angeles")

var samplePlace = storeView{
	Slug: "ferry-building", Name: `Ferry <Building> & "Co"`, Address: "1 Ferry Building", Zone: losAngeles,
	Currency: "USD", Accepting: true, WaitMinutes: 6,
}

// testPages is every page with something in each of its parts.
func testPages() map[string]any {
	at := time.Date(2026, 11, 23, 20, 15, 0, 0, time.UTC)
	shut := samplePlace
	shut.Accepting, shut.OpensAt = false, at
	items := []itemView{
		{ID: "latte", Name: "Latte", Description: "Milky.", From: 475, Sizes: 3, Currency: "USD", Available: true},
		{ID: "scone", Name: "Scone", Currency: "USD", Back: "back at 3:15 pm"},
	}
	refund := refundForm{7, false, false, []refundLine{{"Latte <large>", "$5.75", 1, 2, 2}, {"Scone", "$3.25", 0, 1, 0}}, "$1.50", true, "cold", []string{"Too many."}}
	refused := failedRefund{"/staff/ferry-building/orders/01933a4e", "Ferry", "Ada", 42, 1, 2, "$5.75", "expired_card", "cold <milk>", "staff:mia", at}
	return map[string]any{
		"stores":   storesPage{head{"Choose a store", "stores.js"}, pager{"/", `"fog" & sun`, "More stores", "c2", true}, []storeView{samplePlace, shut}},
		"menu":     menuPage{head{"Ferry Building", "menu.js"}, shut, []categoryView{{"Tea & Chocolate", items}, {"咖啡", nil}, {"甜点", nil}, {"Tea", nil}, {"Tea", nil}}},
		"order":    orderPage{head{"Your order", "order.js"}, samplePlace, "01933a4e-7c11-7d2a-8f00-6ac1f3a1e111"},
		"board":    boardPage{head{"Board", "board.js"}, samplePlace},
		"sign-in":  doorPage{head{"Staff sign-in", ""}, "maria", "It is set.", "Too many tries.", 27, "/staff/refunds"},
		"forgot":   doorPage{head{"Forgot your password?", ""}, "maria", "", "Too many tries.", 27, "/staff/refunds"},
		"reset":    doorPage{head{"Set a new password", ""}, "maria", "A code is on its way.", "Too many tries.", 27, "/staff/refunds"},
		"staff":    staffPage{head{"Staff", ""}, pager{"/staff", "ferry", "More stores", "c2", true}, "maria", true, 2, 3, 1, []storeView{samplePlace}, findView{"ferry", "12", "2026-11-23", "", "There is no such order."}},
		"story":    storyPage{head{"Order 42", ""}, samplePlace, "01933a4e", 42, "placed", "$12.62", []storyEntry{{at, "state", "placed", "version 2"}}, refund},
		"refunds":  refundsPage{head{"Failed refunds", ""}, pager{"/staff/refunds", "", "More refunds", "c2", true}, []failedRefund{refused, refused}, "It is settled."},
		"fault":    faultPage{head{"Nothing here", ""}, 404, "There is no such page.", "01933a4e", false},
		"payments": paymentsPage{head{"Payments", ""}, "never", []differenceView{{"Another amount was charged.", "pi_1", "today", "$5.75", "$5.57", "Ferry Building", "/staff/ferry-building/orders/01933a4e"}}},
	}
}

func render(t *testing.T, name string, data any) string {
	t.Helper()
	var page bytes.Buffer
	if err := pages.ExecuteTemplate(&page, name, data); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestPagesAreStrict(t *testing.T) {
	t.Parallel()
	forbidden := regexp.MustCompile(`(?i)<style|\sstyle=|\son[a-z]+=|javascript:|https?://|<script(?: type="module" src="/static/[a-z_]+\.js")?></script>.*<script|<Building>`)
	for name, data := range testPages() {
		page := render(t, name, data)
		if found := forbidden.FindString(page); found != "" {
			t.Errorf("%s holds %q", name, found)
		}
		if n := strings.Count(page, "<h1"); n != 1 {
			t.Errorf("%s has %d first headings", name, n)
		}
		for _, source := range regexp.MustCompile(`(?:src|href)="/static/([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if _, known := staticFiles[source[1]]; !known {
				t.Errorf("%s wants /static/%s, which is not there", name, source[1])
			}
		}
	}
}

// Ids that the scripts make when a dialog opens.
var scriptIDs = []string{"item-title", "sold-out-title", "pause-title", "reason-title"}

func TestPagesReferToWhatIsThere(t *testing.T) {
	t.Parallel()
	for name, data := range testPages() {
		page := render(t, name, data)
		var ids []string
		for _, id := range regexp.MustCompile(`\sid="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if slices.Contains(ids, id[1]) {
				t.Errorf("%s has two elements with the id %q", name, id[1])
			}
			ids = append(ids, id[1])
		}
		for _, ref := range regexp.MustCompile(`\s(?:for|aria-labelledby|aria-describedby)="([^"]+)"|href="#([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if id := ref[1] + ref[2]; !slices.Contains(ids, id) && !slices.Contains(scriptIDs, id) {
				t.Errorf("%s refers to %q, which is not there", name, id)
			}
		}
	}
}

// TestStoresByPage follows the way on through lists of stores, to the end and back to the first page.
func TestStoresByPage(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	if err := db.Seed(t.Context(), s.api.pool, 2*storesOnPage+5); err != nil {
		t.Fatal(err)
	}
	s = openShopOn(t, s.databaseURL)
	link := func(page, text string) string {
		found := regexp.MustCompile(`<a class="button"[^>]* href="([^"]+)">` + text + `<`).FindStringSubmatch(page)
		if found == nil {
			return ""
		}
		return html.UnescapeString(found[1])
	}
	mia := s.signedIn(t, "mia", db.Support)
	for _, first := range []string{"/", "/?q=s", "/staff", "/staff?q=s%20a", "/staff?q=nowhere"} {
		listed := regexp.MustCompile(`<a(?: class="store")? href="/([a-z0-9-]+)(?:/board)?">(?:Board|\s*<span)`)
		var got, want []string
		address, _ := url.Parse(first)
		for _, store := range s.api.catalog.Search(address.Query().Get("q"), "", 100) {
			want = append(want, store.Slug)
		}
		for at, n := first, 0; at != "" && n < 5; n++ {
			page := s.page(t, mia, at)
			for _, slug := range listed.FindAllStringSubmatch(page, -1) {
				got = append(got, slug[1])
			}
			if back := link(page, "Back to the first"); n > 0 && back != first || n == 0 && back != "" {
				t.Errorf("page %d of %s leads back to %q", n, first, back)
			}
			at = link(page, "More stores")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s leads through %v, want %v", first, got, want)
		}
	}
}

func TestPageThatFailsWritesNothing(t *testing.T) {
	t.Parallel()
	answer := httptest.NewRecorder()
	c := echo.New().NewContext(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), answer)
	if err := writePage(c, http.StatusOK, "menu", faultPage{}); err == nil || c.Response().Committed || answer.Body.Len() > 0 {
		t.Errorf("error %v after %d bytes", err, answer.Body.Len())
	}
}

func TestModulesImportWhatIsThere(t *testing.T) {
	t.Parallel()
	imports := regexp.MustCompile(`from '([^']+)'`)
	for name, file := range staticFiles {
		for _, found := range imports.FindAllSubmatch(file.body, -1) {
			if _, known := staticFiles[path.Clean(string(found[1]))]; path.Ext(name) == ".js" && !known {
				t.Errorf("%s imports %s, which is not there", name, found[1])
			}
		}
		if file.mime == "" {
			t.Errorf("%s has no type", name)
		}
	}
}

func TestModulesAreFetchedAtOnce(t *testing.T) {
	t.Parallel()
	asked := regexp.MustCompile(`<link rel="modulepreload" href="/static/([a-z_]+\.js)">`)
	for name, data := range testPages() {
		script := regexp.MustCompile(`src="/static/([a-z_]+\.js)"`).FindStringSubmatch(render(t, name, data))
		var preloaded []string
		for _, found := range asked.FindAllStringSubmatch(render(t, name, data), -1) {
			preloaded = append(preloaded, found[1])
		}
		if script == nil {
			if preloaded != nil {
				t.Errorf("%s has no script and fetches %v", name, preloaded)
			}
			continue
		}
		for _, module := range append(slices.Clone(preloaded), script[1]) {
			for _, found := range regexp.MustCompile(`from '\./([^']+)'`).FindAllSubmatch(staticFiles[module].body, -1) {
				if imported := string(found[1]); !slices.Contains(preloaded, imported) && imported != script[1] {
					t.Errorf("%s: %s imports %s, which is not fetched ahead", name, module, imported)
				}
			}
		}
		if sorted := slices.Compact(slices.Sorted(slices.Values(preloaded))); len(sorted) != len(preloaded) || len(sorted) == 0 {
			t.Errorf("%s fetches %v", name, preloaded)
		}
	}
}

func TestStaticFiles(t *testing.T) {
	t.Parallel()
	files := echo.New()
	files.GET("/static/*", new(API).static)
	get := func(target, etag string) *httptest.ResponseRecorder {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		request.Header.Set("If-None-Match", etag)
		answer := httptest.NewRecorder()
		files.ServeHTTP(answer, request)
		return answer
	}
	first := get("/static/frenchpress.css", "")
	if first.Code != http.StatusOK || first.Header().Get("Content-Type") != "text/css; charset=utf-8" || first.Header().Get("Cache-Control") != "no-cache" {
		t.Errorf("answer %d %v", first.Code, first.Header())
	}
	if again := get("/static/frenchpress.css", first.Header().Get("ETag")); again.Code != http.StatusNotModified || again.Body.Len() > 0 {
		t.Errorf("the same again is %d with %d bytes", again.Code, again.Body.Len())
	}
	for _, target := range []string{"/static/", "/static/art", "/static/../pages_view.go", "/static/none.js"} {
		if answer := get(target, ""); answer.Code != http.StatusNotFound {
			t.Errorf("%s is %d", target, answer.Code)
		}
	}
}

func TestMoney(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		minor    int64
		currency string
		want     string
	}{
		{0, "USD", "$0.00"}, {5, "USD", "$0.05"}, {575, "USD", "$5.75"}, {123450, "USD", "$1,234.50"}, {-575, "USD", "−$5.75"},
		{100000000, "USD", "$1,000,000.00"}, {0, "JPY", "¥0"}, {500, "JPY", "¥500"}, {12345, "JPY", "¥12,345"}, {1234, "KWD", "KWD\u00a01.234"},
		{-7, "EUR", "−€0.07"}, {250, "CHF", "CHF\u00a02.50"}, {99999, "GBP", "£999.99"},
	} {
		if got := money(c.minor, c.currency); got != c.want {
			t.Errorf("%d %s is %q, want %q", c.minor, c.currency, got, c.want)
		}
	}
}

func TestTimesAreTheStores(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC) // noon in San Francisco
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{now.Add(195 * time.Minute), "back at 3:15 pm"},
		{now.Add(19 * time.Hour), "back tomorrow 7:00 am"},
		{now.Add(67 * time.Hour), "back Thu 7:00 am"},
		{now.AddDate(0, 0, 6), "back Sun 12:00 pm"},
		{now.AddDate(0, 0, 7), "back Nov 30, 12:00 pm"},
		{now.AddDate(0, 0, -1), "back Nov 22, 12:00 pm"},
		{time.Date(2027, 3, 1, 17, 0, 0, 0, time.UTC), "back Mar 1, 2027, 9:00 am"},
		{time.Date(9999, 1, 2, 8, 0, 0, 0, time.UTC), "back Jan 2, 9999, 12:00 am"},
		{time.Time{}, ""},
	} {
		if got := back(c.at, now, losAngeles); got != c.want {
			t.Errorf("%s is %q, want %q", c.at, got, c.want)
		}
	}
}

func TestDrawings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ id, image, want string }{
		{"latte", "", "latte"}, {"chai-latte", "", "chai"}, {"avocado-toast", "", "toast"}, {"house-blend", "", "blend"},
		{"special", "/static/art/cake.svg", "cake"}, {"special", "/static/art/none.svg", "cup"}, {"latte", "https://example.org/x.png", "latte"},
	} {
		if got := (itemView{ID: c.id, Image: c.image}).Drawing(); got != "/static/art/"+c.want+".svg" {
			t.Errorf("%s with %q is drawn as %s", c.id, c.image, got)
		}
	}
}
