package main

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// browseReceipt orders, keeps the receipt, and looks at it again when the money has gone back.
func browseReceipt(t *testing.T, b *browser) {
	s := openShop(t)
	customer := b.tab(t, s, phone)
	body := latte(object{"tip": 150})
	body["lines"] = []object{
		{"item": "latte", "size": "large", "options": []object{{"id": "oat", "units": 1}, {"id": "shot", "units": 2}}, "quantity": 2},
		{"item": "croissant", "quantity": 1},
	}
	o := s.place(t, body, "Prefer: wait=10").wants(t, 201).order(t)
	customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	customer.tap("#order-lines a", "Receipt")

	customer.sees(".facts", "Reference "+o.ID)
	customer.sees("#money", "Paid by card "+money(o.Total, "USD"))
	said := customer.text("#receipt")
	for _, words := range []string{
		"Latte, Large", "Oat milk", "2 × Extra shot", "2 at ", "Croissant", "Subtotal " + money(o.Subtotal, "USD"),
		"Tax " + money(o.Tax, "USD"), "Tip $1.50", "Total " + money(o.Total, "USD"),
	} {
		if !strings.Contains(said, words) {
			t.Errorf("the receipt says %q without %q", said, words)
		}
	}
	s.refund(t, s.staff(t, "mia", "support"), o, withTip(units(0, 1))).wants(t, 202)
	dbtest.Becomes(t, patience, "a latte and the tip go back", func() bool {
		return s.call(t, "GET", o.path(), o.Token, nil).order(t).Payment.Status == "partially_refunded"
	})
	customer.open("/" + testStore + "/orders/" + o.ID + "/receipt")
	customer.sees(".refunded", "1 × Latte")
	customer.sees(".refunded", "Tip −$1.50")
	customer.sees(".refunded", "Given back")
	s.cancel(t, o).wants(t, 200)
	dbtest.Becomes(t, patience, "the money goes back", func() bool {
		return s.call(t, "GET", o.path(), o.Token, nil).order(t).Payment.Status == "refunded"
	})
	customer.open("/" + testStore + "/orders/" + o.ID + "/receipt")
	customer.sees("#money", "Refunded −"+money(o.Total, "USD"))
	customer.sees("#money", "Kept $0.00")

	customer.sees("#print", "Print it")
	invoke(customer, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	customer.misses("#print", "")
	invoke(customer, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})

	stranger := b.tab(t, s, desktop)
	stranger.open("/" + testStore + "/orders/" + o.ID + "/receipt")
	stranger.sees(".news", "No receipt to show")
}

// browseNoMemory looks at an order where the browser forbids pages to keep anything: only the address has the token.
func browseNoMemory(t *testing.T, b *browser) {
	s := openShop(t)
	o := s.placed(t, latte(nil))
	customer := b.tab(t, s, phone)
	invoke(customer, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('forbidden', 'SecurityError'); } })",
	})
	customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	customer.sees(".news", "We have your order")
	eval[chromedp.Void](customer, "(window.gone = true, location.reload())")
	customer.until("it is loaded again", "!window.gone")
	customer.sees(".news", "We have your order")
	customer.tap("#order-lines a", "Receipt")
	customer.sees("#receipt-body", "Receipt for order")
	customer.tap(".masthead a", "Back to the order")
	customer.sees(".news", "We have your order")
}

// browseSteady has an order change under a finger: what stays the same is not drawn anew, and still does what it says.
func browseSteady(t *testing.T, b *browser) {
	s := openShop(t)
	o := s.placed(t, large(nil))
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	customer.sees("#order-acts .danger", "Cancel this order")
	eval[chromedp.Void](customer, "document.querySelector('#order-acts .danger').pressed = true")
	s.refund(t, s.staff(t, "mia", db.Support), s.get(t, o), units(0, 1)).wants(t, http.StatusAccepted)
	customer.sees(".news-more", "went back to you")
	if !eval[bool](customer, "document.querySelector('#order-acts .danger').pressed") {
		t.Error("the button to cancel is another one now")
	}
	customer.tap("#order-acts .danger")
	customer.tap("#cancel-yes")
	customer.sees(".news", "This order was cancelled")
}
