package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// onDay is a time of day at the test store, some days from today.
func (s *shop) onDay(t *testing.T, days, hour, minute int) time.Time {
	t.Helper()
	store, _ := s.api.catalog.Store(testStore)
	now := time.Now().In(store.Location)
	return time.Date(now.Year(), now.Month(), now.Day()+days, hour, minute, 0, 0, store.Location)
}

// sent is a moment as the API takes it.
func sent(at time.Time) string { return at.UTC().Format(time.RFC3339) }

// browseTomorrow orders for tomorrow night, and leaves the page open until then.
func browseTomorrow(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b)
	today := s.onDay(t, 0, 12, 0)
	o := s.placed(t, latte(object{"pickup_at": sent(s.onDay(t, 1, 23, 59))}))
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
	customer.sees(".news-more", "Ready tomorrow at about 11:59 pm.")
	barista.lane("placed", o.Number)
	barista.sees(".ticket-how", "Pick up, tomorrow 11:59 pm")
	barista.sees(".ticket .age", "for tomorrow 11:59 pm")
	barista.fits("a board with tomorrow's order")
	eval[int](customer, "(window.real = Date.now, Date.now = () => real() + 24 * 3600_000, 0)")
	customer.sees(".news-more", "Ready at about 11:59 pm.")
	s.cancel(t, o).wants(t, 200)
	customer.sees(".news-more", "You cancelled it "+day(today, today.AddDate(0, 0, 1), today.Location())+"at ")
}

// browsePauses has a store pause in several ways, and reads the same words from the script of an open page and from
// the server.
func browsePauses(t *testing.T, b *browser) {
	s, barista, _ := openBoard(t, b)
	manager := s.staff(t, "mia", db.Manager)
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore)
	customer.sees(".shop-head .state", "Open now")
	hours, opens := closedNow(t)
	long, breath := s.onDay(t, 3, 12, 0), time.Now().Add(30*time.Minute)
	zone := opens.Location()
	for what, x := range map[string]struct {
		changes              object
		state, banner, board string
	}{
		"a long pause": {object{"paused_until": sent(long)},
			"Taking a break until " + long.Format("Mon 3:04 pm"),
			"The bar is taking a break. New orders open again " + long.Format("Mon at 3:04 pm") + ".",
			"New orders are paused until " + long.Format("Mon 3:04 pm")},
		"a short pause": {object{"paused_until": sent(breath)},
			"Taking a short break until " + moment(breath, time.Now(), zone),
			"The bar is catching its breath. New orders open again " + when(breath, time.Now(), zone) + ".",
			"New orders are paused until " + moment(breath, time.Now(), zone)},
		"a pause that ends when the store is closed": {object{"paused_until": sent(breath), "hours": hours},
			"Taking a break until tomorrow 12:00 pm",
			"The bar is taking a break. New orders open again tomorrow at 12:00 pm.", ""},
		"a pause of a store that never opens": {object{"paused_until": sent(breath), "hours": []object{}},
			"Taking a break", "The bar is taking a break.", ""},
		"closed":          {object{"hours": hours}, "Closed, opens tomorrow 12:00 pm", "We are closed. Have a look around; we open tomorrow 12:00 pm.", ""},
		"closed for ever": {object{"hours": []object{}}, "Closed now", "We are closed. Have a look around.", ""},
	} {
		s.patch(t, manager, testStore, object{"paused_until": nil, "hours": db.AroundTheClock()})
		s.patch(t, manager, testStore, x.changes)
		said := func(who string) {
			t.Helper()
			customer.until(fmt.Sprintf("%s: %s says %q and %q", what, who, x.state, x.banner),
				fmt.Sprintf("say(find('.shop-head .state', '')) === %q && say(find('#store-banner', '')) === %q", x.state, x.banner))
		}
		eval[bool](customer, "document.dispatchEvent(new Event('visibilitychange'))")
		said("the script")
		customer.open("/" + testStore)
		said("the server")
		customer.open("/?q=ferry")
		customer.sees("a.store", x.state)
		customer.open("/" + testStore) // where the script waits for the next one
		if x.board != "" {
			barista.open("/" + testStore + "/board")
			barista.sees("#paused", x.board)
		}
	}
}

// browseFarAway looks for something that comes back in some months.
func browseFarAway(t *testing.T, b *browser) {
	s := openShop(t)
	s.commands(t, s.device(t, testStore), command("sold_out", object{"item": "croissant", "until": sent(s.onDay(t, 100, 9, 0))}))
	then := s.onDay(t, 100, 9, 0)
	want := "Sold out, back " + then.Format("Jan 2, 3:04 pm")
	if then.Year() != time.Now().In(then.Location()).Year() {
		want = "Sold out, back " + then.Format("Jan 2, 2006, 3:04 pm")
	}
	dbtest.Becomes(t, patience, "the page says "+want, func() bool {
		return strings.Contains(string(s.call(t, "GET", "/"+testStore, "", nil).body), want)
	})
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore)
	customer.sees(`[data-item="croissant"]`, want)
	customer.fits("a menu with something that is far away")
}

// browseTimes compares what the server and the scripts say of moments.
func browseTimes(t *testing.T, b *browser) {
	s := openShop(t)
	customer := b.tab(t, s, phone)
	customer.open("/" + testStore)
	zone := s.onDay(t, 0, 0, 0).Location()
	eval[chromedp.Void](customer, "(import('/static/times.js').then((times) => { window.times = times }), undefined)")
	customer.until("the module is there", "window.times")
	for _, now := range []time.Time{
		time.Date(2026, 11, 23, 12, 0, 0, 0, zone), time.Date(2026, 12, 31, 23, 59, 0, 0, zone),
		time.Date(2026, 10, 31, 23, 30, 0, 0, zone), time.Date(2026, 3, 7, 0, 30, 0, 0, zone), // before days of 25 and 23 hours
	} {
		for _, days := range []int{-365, -7, -1, 0, 1, 2, 6, 7, 8, 40, 365, 3000} {
			at := now.AddDate(0, 0, days)
			want := []string{moment(at, now, zone), when(at, now, zone), back(at, now, zone)}
			got := eval[[]string](customer, fmt.Sprintf("['moment', 'when', 'back'].map((words) => times[words](%d, %d))", at.UnixMilli(), now.UnixMilli()))
			if strings.Join(got, "|") != strings.Join(want, "|") {
				t.Errorf("%s, seen at %s, is %q in the scripts and %q on the server", at, now, got, want)
			}
		}
	}
}

// browseParts follows the index of a menu whose parts have no Latin letters, or one name.
func browseParts(t *testing.T, b *browser) {
	s := openShop(t)
	s.changeMenu(t, s.staff(t, "mia", db.Admin), func(m *db.Menu) {
		for i, name := range []string{"咖啡", "甜点", "茶", "茶"} {
			m.Categories[i].Name = name
		}
	})
	customer := b.tab(t, s, phone)
	dbtest.Becomes(t, patience, "the new menu", func() bool {
		customer.open("/" + testStore)
		return eval[bool](customer, "Boolean(find('.aisles a', '咖啡'))")
	})
	for i := range 4 {
		eval[chromedp.Void](customer, fmt.Sprintf("document.querySelectorAll('.aisles a')[%d].click()", i))
		customer.until(fmt.Sprintf("part %d is gone to", i), fmt.Sprintf("document.querySelectorAll('.category')[%d].matches(':target')", i))
	}
}

// browseCancelQuestion asks whether to cancel an order before and after it is paid.
func browseCancelQuestion(t *testing.T, b *browser) {
	s := openShop(t)
	customer := b.tab(t, s, phone)
	const card, till, doubt = "What you paid goes back to your card.", "What you paid goes back to you at the counter.", "If your card was charged, the money goes back by itself."
	asked := func(o order) {
		t.Helper()
		customer.open("/" + testStore + "/orders/" + o.ID + "#token=" + o.Token)
		customer.tap("#order-acts .danger", "Cancel this order")
		customer.sees("#cancel-sheet", "Cancel this order?")
	}
	asked(s.placed(t, latte(nil)))
	customer.sees("#cancel-sheet", card)

	declined := s.place(t, with("tok_declined"), "Prefer: wait=10").wants(t, 201).order(t)
	asked(declined)
	customer.misses("#cancel-sheet", "goes back")
	s.pay(t, declined, "again", "tok_visa", "Prefer: wait=10").wants(t, 201)
	customer.sees("#cancel-sheet", card)

	asked(s.place(t, with("tok_slow")).order(t))
	customer.sees("#cancel-sheet", doubt)
	customer.sees("#cancel-sheet", card)

	counter := s.place(t, atCounter()).order(t)
	asked(counter)
	customer.misses("#cancel-sheet", "goes back")
	s.do(t, s.device(t, testStore), "take_payment", counter, "applied")
	customer.sees("#cancel-sheet", till)
	customer.tap("#cancel-yes")
	customer.sees(".news-more", "went back to you.")
	customer.until("the focus on the news", "document.activeElement.id === 'order-news'")
}
