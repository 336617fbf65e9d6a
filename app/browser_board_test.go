package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// openBoard opens a shop, and its board on a device of its own.
func openBoard(t *testing.T, b *browser, refusals ...string) (*shop, *tab, string) {
	t.Helper()
	s := openShop(t)
	device := s.device(t, testStore)
	barista := b.tab(t, s, desktop, refusals...)
	barista.pair(device)
	return s, barista, device
}

// named places an order to be paid at the till, for somebody.
func (s *shop) named(t *testing.T, name string) order {
	t.Helper()
	body := atCounter()
	body["customer"] = object{"name": name}
	return s.place(t, body).wants(t, http.StatusCreated).order(t)
}

// went is the way of an order through its states.
func (s *shop) went(t *testing.T, o order) string {
	t.Helper()
	var states []string
	for _, step := range s.get(t, o).History {
		states = append(states, step.Status)
	}
	return strings.Join(states, " ")
}

// browseUndo takes taps back, and is told when somebody else was faster.
func browseUndo(t *testing.T, b *browser) {
	s, barista, device := openBoard(t, b)
	eval[int](barista, `(window.rung = 0, window.OscillatorNode = class extends OscillatorNode { constructor(...all) { super(...all); window.rung++ } }, 0)`)
	barista.tap("#sound")
	barista.sees("#sound", "Sound: on")
	before := eval[int](barista, "window.rung")
	o := s.named(t, "Ada")
	barista.lane("placed", o.Number)
	barista.until("the bell has rung", fmt.Sprintf("window.rung > %d", before))
	barista.sees(".ticket[data-new]", "Ada")
	barista.tap(".ticket button", "Start")
	barista.lane("in_progress", o.Number)
	barista.tap(".ticket button", "Undo")
	barista.lane("placed", o.Number)
	barista.tap(".ticket button", "Start")
	barista.lane("in_progress", o.Number)
	barista.tap(".ticket button", "Ready")
	barista.lane("ready", o.Number)
	barista.tap(".ticket button", "Undo")
	barista.lane("in_progress", o.Number)
	s.do(t, device, "ready", o, "applied")
	barista.lane("ready", o.Number)
	barista.tap(".ticket button", "Take payment")
	barista.tap(".ticket button", "Collect")
	barista.misses(".ticket", "")
	const want = "placed in_progress placed in_progress ready in_progress ready picked_up"
	dbtest.Becomes(t, patience, "the order went "+want, func() bool { return s.went(t, o) == want })
}

// browseCancelReason cancels with a reason, of which the customer's page hears by itself.
func browseCancelReason(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b)
	o := s.placed(t, latte(object{"customer": object{"name": "Katherine"}}))
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	customer.sees(".news", "We have your order")
	barista.lane("placed", o.Number)
	barista.tap(".ticket button", "Cancel")
	barista.sees("#reason-sheet h2", "Katherine?")
	barista.tap("#reason-sheet button", "Keep the order")
	barista.tap(".ticket button", "Start")
	barista.lane("in_progress", o.Number)
	barista.tap(".ticket button", "Cancel")
	barista.fill("#reason-sheet input", "The grinder is on fire")
	barista.tap("#reason-sheet .danger", "Cancel it")
	barista.misses(".ticket", "")
	customer.sees(".news", "This order was cancelled")
	customer.sees(".news-more", "The store cancelled it at ")
	customer.sees(".news-more", "went back to you.")
	var reason string
	err := s.api.pool.QueryRow(t.Context(), `select reason from order_history where order_id = $1 and status = 'cancelled'`, o.ID).Scan(&reason)
	if err != nil || reason != "The grinder is on fire" {
		t.Errorf("the reason is %q, %v", reason, err)
	}
}

// browseSoldOut takes an item and an option off the menu and brings the item back.
func browseSoldOut(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b)
	barista.tap("#sold-out-open")
	barista.fill("#sold-out-sheet input", "oat")
	barista.misses("#sold-out-sheet li", "Croissant")
	barista.tap(`[data-key="option-oat-ask"]`)
	barista.tap(`[data-key="option-oat-day"]`)
	barista.sees("#sold-out-sheet li", "Oat milk back ")
	barista.fill("#sold-out-sheet input", "croi")
	barista.tap(`[data-key="item-croissant-ask"]`)
	barista.tap(`[data-key="item-croissant-on"]`)
	barista.sees("#sold-out-sheet li", "Croissant until further notice")
	dbtest.Becomes(t, patience, "the croissant is sold out", func() bool { return !s.sells(t, "croissant") })
	barista.tap(`[data-key="item-croissant-back"]`)
	barista.sees(`[data-key="item-croissant-ask"]`, "Sold out")
	dbtest.Becomes(t, patience, "the croissant is back", func() bool { return s.sells(t, "croissant") })
	if m, _ := s.menu(t, testStore); find(m, "oat").Available {
		t.Error("there is oat milk")
	}
	barista.tap("#sold-out-sheet .close")
	barista.tap("#pause-open")
	barista.tap("#pause-sheet button", "10 min")
	barista.sees("#paused", "New orders are paused until ")
	barista.misses("#paused", "not sent yet")
	s.place(t, atCounter()).wantsProblem(t, http.StatusConflict, "store_paused")
	barista.tap("#paused button", "Resume now")
	barista.misses("#paused", "")
	dbtest.Becomes(t, patience, "the store takes orders", func() bool { return s.place(t, atCounter()).StatusCode == http.StatusCreated })
}

// browseOffline taps while there is no connection. The board says how old it is and keeps the taps, over a
// reload too; once back each counts once, and what meanwhile went otherwise is said.
func browseOffline(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b, "net::ERR_")
	made, lost := s.named(t, "Ada"), s.placed(t, latte(object{"customer": object{"name": "Grace"}}))
	barista.lane("placed", made.Number)
	barista.lane("placed", lost.Number)
	barista.offline(true)
	barista.sees("#offline", "Offline – last update ")
	barista.until("the board looks old", "document.body.hasAttribute('data-stale')")
	barista.tap(".ticket[aria-label$='Ada'] button", "Start")
	barista.sees(".ticket-pending", "Not sent yet")
	barista.sees("#offline", "1 tap to send")
	barista.tap("[data-lane='in_progress'] .ticket[aria-label$='Ada'] button", "Ready")
	barista.tap("[data-lane='placed'] .ticket[aria-label$='Grace'] button", "Start")
	barista.sees("#offline", "3 taps to send")
	s.call(t, "POST", lost.path()+"/cancel", lost.Token, object{}).wants(t, http.StatusOK)
	if went := s.went(t, made); went != "placed" {
		t.Fatalf("without a connection the order went %s", went)
	}
	kept := eval[int](barista, "Object.keys(localStorage).filter((name) => name.startsWith('frenchpress.command.')).length")
	if kept != 3 {
		t.Errorf("%d taps are kept", kept)
	}
	barista.offline(false)
	barista.sees("#live", "Live")
	barista.misses("#offline", "")
	barista.lane("ready", made.Number)
	barista.sees(".ticket[data-gone] .ticket-notice", "This order was cancelled meanwhile. Do not make it.")
	barista.tap(".ticket[data-gone] button", "Take it off")
	barista.misses(".ticket[aria-label$='Grace']", "")
	if went := s.went(t, made); went != "placed in_progress ready" {
		t.Errorf("the order went %s", went)
	}
}

// browseLostResult loses the answer to a tap, which is sent again and still counts once.
func browseLostResult(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b, "net::ERR_")
	o := s.named(t, "Ada")
	barista.lane("placed", o.Number)
	gone := barista.loseAnswer("/commands")
	barista.tap(".ticket button", "Start")
	gone()
	barista.lane("in_progress", o.Number)
	if notice := eval[bool](barista, "Boolean(document.querySelector('.ticket-notice, .board-notices p'))"); notice {
		t.Error("the repetition is taken for somebody else's tap")
	}
	if went := s.went(t, o); went != "placed in_progress" {
		t.Errorf("the order went %s", went)
	}
	var commands int
	if err := s.api.pool.QueryRow(t.Context(), `select count(*) from commands`).Scan(&commands); err != nil || commands != 1 {
		t.Errorf("%d commands, %v", commands, err)
	}
}

// browseRevoked takes a device's pairing away while its board is open.
func browseRevoked(t *testing.T, b *browser) {
	s, barista, token := openBoard(t, b, "401")
	device, err := db.DeviceByToken(t.Context(), s.api.pool, token)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.RevokeDevice(t.Context(), s.api.pool, device.StoreID, device.ID); err != nil {
		t.Fatal(err)
	}
	barista.sees("#unpaired", "This device is not let in any more.")
	barista.misses("#columns", "")
	barista.open("/" + testStore + "/board")
	barista.sees("#unpaired", "This screen is not paired yet")
	barista.open("/" + testStore + "/board#pair=" + token + uuid.NewString())
	barista.sees("#unpaired", "This device is not let in any more.")
	if eval[bool](barista, "Boolean(localStorage.getItem('frenchpress.device."+testStore+"'))") {
		t.Error("the screen keeps a token that is not worth anything")
	}
}

// browseStrangersLink follows links with tokens that are no good, to a board and to an order that this browser has tokens
// of: it goes on with those.
func browseStrangersLink(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b, "401")
	o := s.named(t, "Ada")
	barista.lane("placed", o.Number)
	barista.open("/" + testStore + "/board#pair=" + s.revokedDevice(t))
	barista.lane("placed", o.Number)
	page := "/" + testStore + "/orders/" + o.ID
	barista.open(page + "#token=" + o.Token)
	barista.sees("#order-head", "Ada")
	for _, at := range []string{page, page + "/receipt"} {
		barista.open(at + "#token=" + o.Token[:len(o.Token)-2] + "AA")
		barista.sees("#receipt", "Latte")
	}
	if at := eval[string](barista, "location.hash"); at != "" {
		t.Errorf("the address still holds %s", at)
	}
}

// browseDoubleTap taps twice where one ticket makes room for the next: the second tap was not meant for that one.
func browseDoubleTap(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b)
	first, second := s.named(t, "Ada"), s.named(t, "Grace")
	barista.lane("placed", second.Number)
	box := eval[[]float64](barista, `(({x, y, width, height}) => [x + width / 2, y + height / 2])(document.querySelector('[data-lane="placed"] .primary').getBoundingClientRect())`)
	barista.do(chromedp.Do(barista.ctx, chromedp.MouseClickXY(box[0], box[1]), chromedp.MouseClickXY(box[0], box[1], chromedp.ClickCount(2))))
	barista.lane("in_progress", first.Number)
	barista.lane("placed", second.Number)
	dbtest.Becomes(t, patience, "the first is being made", func() bool { return s.went(t, first) == "placed in_progress" })
	if way := s.went(t, second); way != "placed" {
		t.Errorf("the second order went %s", way)
	}
}

// browseGateway has something between the board and the shop say 404 in its own words: the tap is kept and sent again, and
// so is the device's token.
func browseGateway(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b)
	o := s.named(t, "Ada")
	barista.lane("placed", o.Number)
	eval[int](barista, `(window.real = fetch, window.fetch = async () => new Response('<h1>Not Found</h1>', { status: 404 }), 0)`)
	barista.tap(".ticket button", "Start")
	barista.sees("#live", "1 tap to send")
	eval[int](barista, `(window.fetch = window.real, 0)`)
	barista.sees("#live", "Live")
	dbtest.Becomes(t, patience, "the tap has come", func() bool { return s.went(t, o) == "placed in_progress" })
	barista.lane("in_progress", o.Number)
}
