package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp/kb"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// narrowest is what a page must still fit into: a wide one at four times its size.
const narrowest = 320

// A name and a note as people have them, or worse.
const (
	longName = "Wolfeschlegelsteinhausenbergerdorff"
	longNote = "Extra hot please, and a second cup beside it; donaudampfschifffahrtsgesellschaftskapitaen"
)

// tooWide are the elements that stick out of the window, but for what is meant to be scrolled sideways.
const tooWide = `[...document.querySelectorAll('body *')]
  .filter((e) => seen(e) && !e.closest('.aisles ul, .hidden, .skip'))
  .filter((e) => e.closest('.lane') ? e.closest('.lane').scrollWidth > e.closest('.lane').clientWidth : !e.closest('.lanes') && e.getBoundingClientRect().right > %d + 1)
  .map((e) => e.outerHTML.slice(0, 80)).slice(0, 3)`

// fits checks what holds for every screen: nothing is wider than the window, whatever its width, there is one
// first heading, and all that can be pressed or filled in has a name.
func (p *tab) fits(what string) {
	p.t.Helper()
	if n := eval[int](p, "document.querySelectorAll('h1').length"); n != 1 {
		p.t.Errorf("%s has %d first headings", what, n)
	}
	for _, nameless := range p.nameless() {
		p.t.Errorf("%s has a %s without a name", what, nameless)
	}
	for _, width := range []int64{narrowest, phone, tablet, desktop} {
		p.width(width)
		p.until("the window is as wide", fmt.Sprintf("document.documentElement.clientWidth === %d", width))
		if wide := eval[[]string](p, fmt.Sprintf(tooWide, width)); len(wide) > 0 || eval[int64](p, "document.documentElement.scrollWidth") > width {
			p.t.Errorf("%s, %d wide: too wide are %s", what, width, wide)
		}
	}
}

// nameless are the roles of what a screen reader has no name for.
func (p *tab) nameless() (roles []string) {
	p.t.Helper()
	named := []string{"button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "dialog", "image", "region", "navigation"}
	for _, node := range invoke(p, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role := strings.Trim(string(node.Role.Value), `"`)
		empty := node.Name == nil || strings.Trim(string(node.Name.Value), `" `) == ""
		if empty && slices.Contains(named, role) {
			roles = append(roles, role)
		}
	}
	return roles
}

// walk goes through the page with the Tab key: wherever the focus is, it can be seen.
func (p *tab) walk(what string, steps int) {
	p.t.Helper()
	for range steps {
		p.press(kb.Tab)
		hidden := eval[string](p, `((e) => {
			const ring = (each) => getComputedStyle(each).outlineStyle !== 'none' && parseFloat(getComputedStyle(each).outlineWidth) >= 2;
			if (e === document.body || [e, e.nextElementSibling].some((each) => each && ring(each))) return '';
			return e.outerHTML.slice(0, 100);
		})(document.activeElement)`)
		if hidden != "" {
			p.t.Errorf("%s: nobody sees that the focus is on %s", what, hidden)
		}
	}
}

// reopen opens the basket on a phone again, after it has lain at the side of a wide window.
func (p *tab) reopen() {
	p.t.Helper()
	p.until("the basket lies at the side", "document.querySelector('#side #basket')")
	p.width(phone)
	p.until("the basket lies in its sheet", "document.querySelector('#basket-sheet #basket')")
	p.tap("#basket-open")
}

// browseCustomersPages looks at each screen of a customer.
func browseCustomersPages(t *testing.T, b *browser) {
	s := openShop(t)
	p := b.tab(t, s, phone, "404")
	p.open("/")
	p.fits("the chooser")
	p.walk("the chooser", 10)
	p.open("/?q=nowhere")
	p.sees(".nothing", "No store by that name")
	p.fits("an empty search")
	p.open("/nowhere")
	p.sees("h1", "")
	p.fits("a page that is not there")
	p.open("/" + testStore)
	p.fits("the menu")
	p.tap(`[data-item="latte"] .item-open`)
	p.sees("#item-sheet .price", "$")
	p.fits("an item")
	p.walk("an item", 20)
	p.fill("#item-sheet textarea", longNote)
	p.tap("#item-sheet .primary", "Add to basket")
	p.sees("#sums", "Total $")
	p.fits("the menu with a basket")
	p.reopen()
	p.fits("the basket")
	p.reopen()
	p.walk("the basket", 10)
	p.tap("#to-checkout")
	p.tap("#pay", "Pay $")
	p.sees("#name-fault", "We need a name")
	p.walk("the checkout", 10)
	p.fill("#name", longName)
	p.tap("#checkout input[value='in_store']")
	p.fits("the checkout")
	p.reopen()
	p.pay()
	p.sees(".news", "We have your order")
	p.fits("an order")
	p.walk("an order", 4)
	p.tap("#order-acts .danger")
	p.fits("the question whether to cancel")
	stranger := b.tab(t, s, phone)
	stranger.open(eval[string](p, "location.pathname"))
	stranger.sees(".news", "This order cannot be shown")
	stranger.fits("somebody else's order")
}

// browseBoardsPages looks at each screen of a barista.
func browseBoardsPages(t *testing.T, b *browser) {
	s := openShop(t)
	device := s.device(t, testStore)
	for i, kinds := range [][]string{nil, {"start"}, {"start", "ready"}} {
		body := atCounter()
		body["customer"] = object{"name": longName}
		body["lines"] = []object{
			{"item": "latte", "size": "large", "quantity": 12, "note": longNote, "options": []object{{"id": "oat", "units": 1}, {"id": "foam", "units": 0}}},
			{"item": "croissant", "quantity": i + 1},
		}
		s.moved(t, device, s.place(t, body).order(t), kinds...)
	}
	p := b.tab(t, s, desktop)
	p.open("/" + testStore + "/board")
	p.sees("#unpaired h2", "not paired yet")
	p.fits("a board that is not paired")
	p.pair(device)
	p.sees("[data-lane='ready'] .ticket", longName)
	p.fits("the board")
	p.walk("the board", 15)
	small := eval[[]string](p, `[...document.querySelectorAll('button, .tabs a')].filter(seen).filter((e) => e.getBoundingClientRect().height < 44 || e.getBoundingClientRect().width < 44).map(say)`)
	if len(small) > 0 {
		t.Errorf("too small for a thumb are %q", small)
	}
	p.tap("#theme")
	p.until("the light theme", "document.body.dataset.theme === 'light'")
	p.fits("the light board")
	p.tap("#sold-out-open")
	p.sees("#sold-out-sheet li", "Latte")
	p.fits("the sold-out list")
	p.press(kb.Escape)
	p.tap("#pause-open")
	p.fits("the question how long to pause")
	p.press(kb.Escape)
	p.tap("[data-lane='placed'] .ticket button", "Cancel")
	p.fits("the question why to cancel")
}

// browseStaff comes in with a password, looks around and leaves.
func browseStaff(t *testing.T, b *browser) {
	s := openShop(t)
	s.staff(t, "mia", db.Admin)
	// River's scripts try whether they may make code out of strings, and get along without.
	const tried = "'script-src' was not explicitly set"
	p := b.tab(t, s, desktop, "422", tried)
	p.do(db.SetPassword(t.Context(), s.api.pool, "mia", "correct horse"))
	o := s.placed(t, latte(nil))
	p.open("/staff")
	p.fill("#name", "mia")
	p.fill("#password", "wrong horse")
	p.tap("button", "Sign in")
	p.sees("[role=alert]", "The name or the password is wrong.")
	p.fill("#password", "correct horse")
	p.press(kb.Enter)
	p.sees("h1", "Behind the counter")
	p.sees(".masthead", "mia")
	p.sees(".ledger", "Ferry Building")
	p.tap("a", "No dead letters")
	p.sees("body", "Discarded")
	p.sees("body", "No jobs found")
	p.open("/staff/" + testStore + "/orders/" + o.ID)
	p.sees(".story", "placed")
	p.sees(".story", "charge")
	p.open("/staff")
	p.fill(".find [name='store']", testStore)
	p.fill(".find [name='number']", "1")
	p.tap(".find button", "Find")
	p.sees(".story-head", o.ID)
	p.open("/staff")
	p.tap("button", "Sign out")
	p.sees("h1", "Staff sign-in")
	p.open("/staff/jobs/")
	p.sees("h1", "Staff sign-in")
}

// browseStaffsPages looks at each screen of the staff.
func browseStaffsPages(t *testing.T, b *browser) {
	s := openShop(t)
	cookie := s.signedIn(t, "mia", db.Admin)
	o := s.placed(t, latte(nil))
	p := b.tab(t, s, desktop, "404", "422")
	p.open("/staff/sign-in")
	p.fits("the door")
	p.walk("the door", 4)
	for _, path := range []string{"/staff/forgot", "/staff/reset"} {
		p.open(path)
		p.fits(path)
		p.walk(path, 4)
	}
	p.open("/staff/sign-in")
	p.tap("button", "Sign in") // the browser itself asks for a name
	p.until("still there", "location.pathname === '/staff/sign-in'")
	invoke(p, network.SetCookie, network.SetCookieParams{Name: cookie.Name, Value: cookie.Value, URL: p.url})
	for _, path := range []string{"/staff", "/staff?q=nowhere", "/staff/orders?store=nowhere&number=1", "/staff/" + testStore + "/orders/" + o.ID} {
		p.open(path)
		p.fits(path)
		p.walk(path, 6)
	}
	p.tap(".refund summary", "Refund")
	p.fits("the form to refund")
	p.fill("[name=reason]", longNote)
	p.tap(".refund .primary", "Give it back") // of nothing
	p.sees("#refund-fault", "The refund must come to more than nothing.")
	p.fits("a refund of nothing")
	s.failedRefund(t, s.staff(t, "joe", db.Support))
	p.open("/staff/refunds")
	p.sees(".ledger", "expired_or_canceled_card")
	p.fits("failed refunds")
	p.walk("failed refunds", 5)
}

// browseMessages says no to one message and yes to another, and is told when that did not get through.
func browseMessages(t *testing.T, b *browser) {
	s := openShop(t)
	silent, o := s.place(t, atCounter()).order(t), s.reachable(t, ada)
	p := b.tab(t, s, phone, "Failed to load", "ERR_INTERNET_DISCONNECTED", "ERR_CONNECTION_RESET")
	p.open("/" + testStore + "/orders/" + silent.ID + "#token=" + silent.Token)
	p.sees(".news", "We have your order")
	p.misses("#preferences summary", "")
	p.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	p.tap("#preferences summary")
	p.sees("#preferences legend", "By text message")
	p.tap("#preferences fieldset:first-child label", "It is ready")
	p.sees("#preferences-notice", "Saved.")
	p.tap("#preferences fieldset:first-child label", "News and offers")
	allowed := func() string {
		var list strings.Builder
		all, _ := s.call(t, "GET", o.path()+"/preferences", o.Token, nil).preferences(t)
		for _, p := range all {
			if p.Channel == "email" && p.Allowed {
				list.WriteString(p.Kind + " ")
			}
		}
		return list.String()
	}
	dbtest.Becomes(t, patience, "both are saved", func() bool { return allowed() == "order_confirmed order_cancelled refund_issued marketing " })
	p.fits("an order with messages")
	p.walk("an order with messages", 12)
	p.width(phone)
	p.offline(true)
	p.tap("#preferences fieldset:first-child label", "A refund")
	p.sees("#preferences-notice.bad", "do not know whether that was saved")
	if !eval[bool](p, `find('#preferences label', 'A refund').control.checked`) {
		t.Error("what was not saved is shown as if it were")
	}
	p.offline(false)
	lost := p.loseAnswer("/preferences")
	p.tap("#preferences fieldset:first-child label", "A refund")
	lost()
	p.sees("#preferences-notice", "Saved.")
	dbtest.Becomes(t, patience, "what got through is saved", func() bool { return allowed() == "order_confirmed order_cancelled marketing " })
	p.open("/" + testStore + "/orders/" + o.ID)
	p.tap("#preferences summary")
	p.until("what was saved", `!find('#preferences label', 'It is ready').control.checked && find('#preferences label', 'News and offers').control.checked`)
}

// browseForgotten comes in without the password.
func browseForgotten(t *testing.T, b *browser) {
	s := openShop(t)
	s.withEmail(t, "mia")
	p := b.tab(t, s, phone, "422")
	p.open("/staff/sign-in")
	p.tap("a", "Forgot your password?")
	p.fill("#name", "mia")
	p.tap("button", "Send a code")
	p.sees("[role=status]", "a code is on its way")
	_, code := s.codeOf(t, "mia")
	p.fill("#code", "00000-00000")
	p.fill("#password", newPassword)
	p.tap("button", "Set the password")
	p.sees("[role=alert]", "The name or the code is wrong")
	p.fill("#code", strings.ToLower(code))
	p.fill("#password", newPassword)
	p.press(kb.Enter)
	p.sees("[role=status]", "Your new password is set.")
	p.fill("#name", "mia")
	p.fill("#password", newPassword)
	p.tap("button", "Sign in")
	p.sees("h1", "Behind the counter")
}

// browseMotion asks for no motion, and gets none.
func browseMotion(t *testing.T, b *browser) {
	s, barista, device := openBoard(t, b)
	o := s.named(t, "Ada")
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	customer.sees(".news", "We have your order")
	s.do(t, device, "start", o, "applied")
	customer.sees(".news[data-fresh]", "Being made right now")
	barista.lane("in_progress", o.Number)
	s.named(t, "Grace")
	barista.sees(".ticket[data-new]", "Grace")
	const moving = `[...document.querySelectorAll('*')].filter((e) => {
		const style = getComputedStyle(e);
		return style.animationName !== 'none' || parseFloat(style.transitionDuration) > 0 || style.scrollBehavior === 'smooth';
	}).map((e) => e.className)`
	for _, p := range []*tab{barista, customer} {
		if len(eval[[]string](p, moving)) < 2 {
			t.Error("news do not move")
		}
		invoke(p, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		if still := eval[[]string](p, moving); len(still) > 0 || eval[int](p, "document.getAnimations().length") > 0 {
			t.Errorf("%q move for somebody who asked for no motion", still)
		}
	}
}
