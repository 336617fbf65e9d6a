package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// quoted is what the server says that a line costs without tax, as people read it.
func (s *shop) quoted(t *testing.T, line object) string {
	t.Helper()
	var quote struct{ Lines []struct{ Total int64 } }
	s.call(t, "POST", testStorePath+"/quotes", "", object{"fulfilment": "pickup", "lines": []object{line}}).wants(t, http.StatusOK).into(t, &quote)
	return money(quote.Lines[0].Total, "USD")
}

// costs waits until the sheet of an item shows the server's price of a line.
func (p *tab) costs(s *shop, line object) {
	p.t.Helper()
	p.until("the price is asked for", `!document.querySelector('#item-sheet [aria-busy="true"]')`)
	p.sees("#item-sheet .price", s.quoted(p.t, line))
}

// begin opens the test store's menu and puts a croissant in the basket.
func (p *tab) begin() {
	p.t.Helper()
	p.open("/" + testStore)
	p.tap(`[data-item="croissant"] .item-open`)
	p.tap("#item-sheet .primary", "Add to basket")
	p.until("the basket is priced", `document.querySelector('#sums:not([aria-busy="true"]) .total')`)
}

// checkout goes from the basket to the moment of paying.
func (p *tab) checkout(name, card string) {
	p.t.Helper()
	p.tap("#basket-open")
	p.tap("#to-checkout")
	p.fill("#name", name)
	p.tap(fmt.Sprintf(`#checkout input[value="%s"]`, card))
}

// pay sends the order and waits for its status page.
func (p *tab) pay() {
	p.t.Helper()
	p.tap("#pay", "Pay $")
	p.status()
}

// status waits for the status page, from whose address the token has gone.
func (p *tab) status() {
	p.t.Helper()
	p.until("the status page", `location.pathname.includes('/orders/') && !location.hash && document.querySelector('.number')`)
}

// ordered is the order of a status page, as the store's device reads it.
func (s *shop) ordered(p *tab, device string) order {
	p.t.Helper()
	path := eval[string](p, "location.pathname")
	return s.call(p.t, "GET", "/v1/stores"+path, device, nil).wants(p.t, http.StatusOK).order(p.t)
}

// pair opens the board by its pairing link.
func (p *tab) pair(device string) {
	p.t.Helper()
	p.open("/" + testStore + "/board#pair=" + device)
	p.sees("#live", "Live")
	p.until("the token has left the address", "!location.hash")
}

// lane waits until the ticket with a number lies in a lane, and no tap on it waits for its answer.
func (p *tab) lane(lane string, number int) {
	p.t.Helper()
	p.until(fmt.Sprintf("ticket %d in %s", number, lane), fmt.Sprintf(
		`[...document.querySelectorAll('[data-lane="%s"] .ticket')].some((e) => e.querySelector('.ticket-number').innerText === '%d' && !e.hasAttribute('data-waiting'))`,
		lane, number))
}

// browseCoffee is the main job, from the choice of a store to an empty counter.
func browseCoffee(t *testing.T, b *browser) {
	s := openShop(t)
	customer, barista := b.tab(t, s, phone), b.tab(t, s, desktop)
	device := s.device(t, testStore)
	barista.pair(device)

	customer.open("/")
	customer.tap("a.store", "Ferry Building")
	customer.tap(`[data-item="latte"] .item-open`)
	choose(s, customer)
	customer.tap("#item-sheet .primary", "Add to basket")
	customer.tap("#basket-open")
	customer.tap("#tips input[value='100']")
	customer.sees("#sums", "Tip $1.00")
	total := customer.text("#sums .total dd")
	customer.tap("#to-checkout")
	customer.fill("#name", "Ada")
	customer.tap("#pay", "Pay "+total)
	customer.status()
	eval[int](customer, "window.same = 1")
	customer.sees(".news", "We have your order")

	o := s.ordered(customer, device)
	if money(o.Total, "USD") != total || o.Tip != 100 || o.Payment.Captured != o.Total {
		t.Errorf("the page said %s, the order is %+v", total, o)
	}
	barista.lane("placed", o.Number)
	ticket := barista.text(".ticket")
	for _, words := range []string{"Ada", "Latte Large", "Oat milk", "2 × Extra shot"} {
		if !strings.Contains(ticket, words) {
			t.Errorf("the ticket says %q without %q", ticket, words)
		}
	}
	customer.sees("#order-lines a", "Receipt")
	eval[chromedp.Void](customer, `find('#order-lines a', 'Receipt').focus()`)
	barista.tap(".ticket button", "Start")
	customer.sees(".news", "Being made right now")
	if !eval[bool](customer, "document.activeElement.matches('#order-lines a')") {
		t.Error("what had the focus is gone when the order changes")
	}
	barista.lane("in_progress", o.Number)
	barista.tap(".ticket button", "Ready")
	customer.sees(".news", "Ready. Come and get it.")
	barista.lane("ready", o.Number)
	barista.tap(".ticket button", "Collect")
	customer.sees(".news", "Enjoy it")
	barista.misses(".ticket", "")
	if eval[int](customer, "window.same ?? 0") != 1 {
		t.Error("the status page was loaded again")
	}
	if now := s.ordered(customer, device); now.Status != "picked_up" || len(now.History) != 5 {
		t.Errorf("the order is %s, its history %v", now.Status, now.History)
	}
}

// choose makes the latte large, with oat milk and two shots, by way of more than there may be.
func choose(s *shop, customer *tab) {
	t, line := customer.t, func(size string, options ...object) object {
		return object{"item": "latte", "size": size, "options": append([]object{}, options...), "quantity": 1}
	}
	oat := object{"id": "oat", "units": 1}
	shots := func(units int) object { return object{"id": "shot", "units": units} }
	customer.costs(s, line("small"))
	customer.tap(`#item-sheet input[value="large"]`)
	customer.costs(s, line("large"))
	customer.tap("#item-sheet .option", "Oat milk")
	customer.costs(s, line("large", oat))
	for units := 1; units <= 4; units++ {
		customer.tap(`[aria-label="More: Extra shot"]`)
		customer.costs(s, line("large", oat, shots(units)))
	}
	if !eval[bool](customer, `document.querySelector('[aria-label="More: Extra shot"]').disabled`) {
		t.Error("a fifth shot can be had")
	}
	for units := 3; units >= 2; units-- {
		customer.tap(`[aria-label="Less: Extra shot"]`)
		customer.costs(s, line("large", oat, shots(units)))
	}
	if milks := eval[int](customer, `document.querySelectorAll('[data-group="milk"] input:checked').length`); milks != 1 {
		t.Errorf("%d milks are chosen", milks)
	}
	for _, syrup := range []string{"Vanilla", "Caramel"} {
		customer.tap(fmt.Sprintf(`[aria-label="More: %s"]`, syrup))
	}
	if !eval[bool](customer, `document.querySelector('[aria-label="More: Hazelnut"]').disabled`) {
		t.Error("a third kind of syrup can be had")
	}
	for _, syrup := range []string{"Vanilla", "Caramel"} {
		customer.tap(fmt.Sprintf(`[aria-label="Less: %s"]`, syrup))
	}
	customer.costs(s, line("large", oat, shots(2)))
}

// browseDeclined pays with a card that is declined, with another, and gets the money back.
func browseDeclined(t *testing.T, b *browser) {
	s := openShop(t)
	device := s.device(t, testStore)
	customer := b.tab(t, s, phone)
	customer.begin()
	customer.checkout("Grace", "tok_declined")
	customer.pay()
	customer.sees(".news", "The card was not accepted")
	customer.tap(`.pay-again input[value="tok_visa"]`)
	customer.tap(".pay-again .primary", "Pay again")
	customer.sees(".news", "We have your order")
	customer.tap("#order-acts .danger", "Cancel this order")
	customer.tap("#cancel-no")
	customer.misses("#cancel-sheet", "")
	customer.tap("#order-acts .danger", "Cancel this order")
	customer.tap("#cancel-yes")
	customer.sees(".news", "This order was cancelled")
	customer.sees(".news-more", "went back to you.")
	if o := s.ordered(customer, device); o.Status != "cancelled" || o.Payment.Status != "refunded" || o.Payment.Refunded != o.Total {
		t.Errorf("the order is %s, its payment %+v of %d", o.Status, o.Payment, o.Total)
	}
}

// browsePriceChanged pays what somebody has just made dearer: nothing is charged without asking.
func browsePriceChanged(t *testing.T, b *browser) {
	s := openShop(t)
	device := s.device(t, testStore)
	customer := b.tab(t, s, phone, "409")
	customer.begin()
	customer.checkout("Alan", "tok_visa")
	s.changeMenu(t, s.staff(t, "mia", db.Admin), func(m *db.Menu) {
		for _, category := range m.Categories {
			for i := range category.Items {
				if item := &category.Items[i]; item.ID == "croissant" {
					*item.BasePrice += 25
				}
			}
		}
	})
	dearer := object{"item": "croissant", "quantity": 1}
	dbtest.Becomes(t, patience, "the new price", func() bool { return s.quoted(t, dearer) == "$4.50" })
	customer.tap("#pay", "Pay $")
	customer.sees("#checkout-notice", "The price has changed")
	if orders := len(s.orders(t, device)); orders != 0 {
		t.Fatalf("%d orders before the customer has agreed", orders)
	}
	customer.tap("#checkout-notice .primary", "Order for $")
	customer.status()
	customer.sees(".news", "We have your order")
	if o := s.ordered(customer, device); o.Subtotal != 450 {
		t.Errorf("the subtotal is %d", o.Subtotal)
	}
}

// browseSlotFull loses a time to somebody else, and takes the next free one, which is days off.
func browseSlotFull(t *testing.T, b *browser) {
	s := openShop(t)
	slots := s.cutSlots(t, 240, 1)
	free := slots[0].StartsAt.Add(4 * 24 * time.Hour)
	customer := b.tab(t, s, phone, "409")
	customer.begin()
	customer.checkout("Alan", "tok_visa")
	eval[bool](customer, "(document.querySelector('#day').selectedIndex = 1, document.querySelector('#day').dispatchEvent(new Event('change')))")
	customer.until("there are times tomorrow", "document.querySelector('#slot').value")
	if _, err := s.api.pool.Exec(t.Context(), `
    insert into slots (store_id, starts_at, taken)
    select s.store_id, at, 1
    from stores s, generate_series($2::timestamptz, $3::timestamptz, '4 hours') as at
    where s.slug = $1 and at <> $3`, testStore, slots[0].StartsAt, free); err != nil {
		t.Fatal(err)
	}
	customer.tap("#pay", "Pay $")
	customer.sees("#checkout-notice", "The next free one is "+moment(free, time.Now(), losAngeles))
	customer.fits("a checkout of which the time is gone")
	customer.tap("#checkout-notice .primary", "Take ")
	customer.status()
	o := s.ordered(customer, s.device(t, testStore))
	if at, err := time.Parse(time.RFC3339, *o.PickupAt); err != nil || !at.Equal(free) {
		t.Errorf("it is to be collected at %s (%v), want %s", *o.PickupAt, err, free)
	}
}

// orders are the test store's, newest first.
func (s *shop) orders(t *testing.T, device string) []order {
	t.Helper()
	var page struct{ Orders []order }
	s.call(t, "GET", testStorePath+"/orders?limit=100", device, nil).wants(t, http.StatusOK).into(t, &page)
	return page.Orders
}

// browseSoldOutLine loses what is in the basket to the last customer before.
func browseSoldOutLine(t *testing.T, b *browser) {
	s := openShop(t)
	device := s.device(t, testStore)
	customer := b.tab(t, s, desktop, "422")
	customer.begin()
	customer.tap(`[aria-label="More: Number of Croissant"]`)
	customer.sees("#sums", "Subtotal $8.50")
	customer.press(kb.Enter) // the focus is still there
	customer.sees("#sums", "Subtotal $12.75")
	customer.tap(`[data-item="cinnamon-bun"] .item-open`)
	customer.tap("#item-sheet .primary", "Add to basket")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	s.commands(t, device, command("sold_out", object{"item": "croissant", "until": until}))
	dbtest.Becomes(t, patience, "the croissant is sold out", func() bool { return !s.sells(t, "croissant") })
	customer.open("/" + testStore)
	customer.sees(`[data-item="croissant"]`, "Sold out, back ")
	customer.sees("#basket-notice", "One thing in your basket cannot be had any more.")
	if !eval[bool](customer, "document.querySelector('#to-checkout').disabled") {
		t.Error("the basket can be paid for")
	}
	customer.tap("#basket-notice button", "Remove it")
	customer.misses("#basket-lines", "Croissant")
	customer.misses("#basket-notice", "")
	customer.sees("#sums", "Total $")
	eval[chromedp.Void](customer, `document.querySelector('[data-item="croissant"] .item-open').click()`)
	if eval[bool](customer, "document.querySelector('#item-sheet').open") {
		t.Error("what is sold out can be ordered")
	}
}

// browseShut comes to a paused store, to a closed one, and to one that pauses at the wrong moment.
func browseShut(t *testing.T, b *browser) {
	s := openShop(t)
	device, manager := s.device(t, testStore), s.staff(t, "mia", db.Admin)
	customer := b.tab(t, s, phone, "409")
	customer.begin()
	customer.checkout("Edsger", "tok_visa")
	s.commands(t, device, command("pause", object{"until": inFuture(20 * time.Minute)}))
	customer.tap("#pay", "Pay $")
	customer.sees("#checkout-notice", "takes no orders until")
	customer.open("/" + testStore)
	customer.sees("#store-banner", "The bar is catching its breath.")
	customer.sees("#basket-bar", "1 piece")
	s.commands(t, device, command("resume", nil))
	hours, _ := closedNow(t)
	s.patch(t, manager, testStore, object{"hours": hours})
	customer.open("/" + testStore)
	customer.sees("#store-banner", "We are closed.")
	customer.sees(".state", "Closed, opens ")
	invoke(customer, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"})
	customer.open("/")
	store := `a.store[href="/` + testStore + `"] .state span:nth-child(2)`
	customer.sees(store, "Closed, opens ")
	listed := customer.text(store)
	eval[chromedp.Void](customer, "navigator.geolocation.getCurrentPosition = (found) => found({ coords: { latitude: 37.7955, longitude: -122.3937 } })")
	customer.tap("#near")
	customer.sees("#stores-title", "Stores near you")
	if near := customer.text(store); near != listed {
		t.Errorf("near a customer in Tokyo it is %q, in the list %q", near, listed)
	}
}

// browseLostAnswer loses the answer to an order: the page asks again, and there is one order.
func browseLostAnswer(t *testing.T, b *browser) {
	s := openShop(t)
	device := s.device(t, testStore)
	customer := b.tab(t, s, phone, "net::ERR_")
	customer.begin()
	customer.checkout("Barbara", "tok_visa")
	lost := customer.loseAnswer("/orders")
	customer.tap("#pay", "Pay $")
	lost()
	customer.status()
	customer.sees(".news", "We have your order")
	if orders := s.orders(t, device); len(orders) != 1 || orders[0].Payment.Captured != orders[0].Total {
		t.Errorf("the orders are %+v", orders)
	}
}

// browseAskAgain gets no answer however often the page asks by itself, and then asks again by hand.
func browseAskAgain(t *testing.T, b *browser) {
	s := openShop(t)
	device := s.device(t, testStore)
	customer := b.tab(t, s, phone)
	customer.begin()
	customer.checkout("Barbara", "tok_visa")
	eval[int](customer, `(window.real = fetch, window.fetch = async (path, how) => how.method === 'POST' && path.endsWith('/orders')
		? new Response('{"code":"overloaded"}', { status: 503, headers: { 'Retry-After': '0.1' } }) : window.real(path, how), 0)`)
	customer.tap("#pay", "Pay $")
	customer.sees("#checkout-notice", "do not know whether your order went through")
	eval[int](customer, `(window.fetch = window.real, 0)`)
	customer.tap("#checkout-notice button", "Ask again")
	customer.status()
	customer.sees(".news", "We have your order")
	if orders := s.orders(t, device); len(orders) != 1 {
		t.Errorf("the orders are %+v", orders)
	}
}
