package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"frenchpress/db"
)

const (
	// picturesSetting names the directory for the README's pictures, seen from the repository's root:
	//
	//	FRENCHPRESS_PICTURES=docs go test ./app -run TestBrowser/Pictures
	picturesSetting = "FRENCHPRESS_PICTURES"

	pictureWidth, pictureHeight = 1200, 800
)

// takePictures takes a picture of each screen, with a morning going on.
func takePictures(t *testing.T, b *browser) {
	dir := os.Getenv(picturesSetting)
	if !filepath.IsAbs(dir) {
		dir = filepath.Join("..", dir)
	}
	s := openShop(t)
	device := s.device(t, testStore)
	cookie := s.signedIn(t, "mia", db.Admin)
	told := s.told(t, device)
	orders := s.busy(t, device)

	p := b.tab(t, s, desktop, "'script-src' was not explicitly set") // as in browseStaff
	invoke(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: pictureWidth, Height: pictureHeight, DeviceScaleFactor: 1})
	invoke(p, network.SetCookie, network.SetCookieParams{Name: cookie.Name, Value: cookie.Value, URL: p.url})
	p.open("/")
	p.picture(dir, "shop")
	p.fillBasket()
	p.picture(dir, "menu")
	p.open("/" + testStore + "/orders/" + orders[2].ID + "#token=" + orders[2].Token)
	p.sees(".news", "Being made right now")
	p.picture(dir, "order")
	p.pair(device)
	p.sees(".ticket-options .usual", "House roast")
	p.picture(dir, "board")
	p.open("/staff/" + testStore + "/orders/" + told.ID)
	p.picture(dir, "staff")
	p.open("/staff/jobs/jobs?state=completed")
	p.sees("body", "charge")
	p.picture(dir, "jobs")
}

// fillBasket chooses a drink and something to go with it.
func (p *tab) fillBasket() {
	p.t.Helper()
	p.open("/" + testStore)
	p.tap(`[data-item="latte"] .item-open`)
	p.tap(`#item-sheet input[value="large"]`)
	p.tap("#item-sheet .option", "Oat milk")
	p.tap(`[aria-label="More: Extra shot"]`)
	p.tap("#item-sheet .primary", "Add to basket")
	p.tap(`[data-item="pain-au-chocolat"] .item-open`)
	p.tap("#item-sheet .primary", "Add to basket")
	p.tap("#tips input[value='100']")
	p.sees("#sums", "Tip $1.00")
	eval[chromedp.Void](p, "scrollTo({ top: 0, behavior: 'instant' })")
}

// told is an order with a story: its first card is declined.
func (s *shop) told(t *testing.T, device string) order {
	t.Helper()
	body := latte(object{"customer": object{"name": "Nour", "email": "nour@example.org"}, "payment": object{"method": "card", "token": "tok_declined"}})
	o := s.place(t, body, "Prefer: wait=10").wants(t, 201).order(t)
	again := object{"payment": object{"method": "card", "token": "tok_visa"}}
	s.call(t, "POST", o.path()+"/payment", o.Token, again, "Idempotency-Key: again", "Prefer: wait=10").wants(t, 201)
	return s.moved(t, device, o, "start", "ready", "collect")
}

// picture writes what the window shows to a file, once it shows all of it.
func (p *tab) picture(dir, name string) {
	p.t.Helper()
	p.until("the images are there", "document.readyState === 'complete' && [...document.images].every((image) => image.complete || image.loading === 'lazy')")
	data, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	p.do(err)
	p.do(os.WriteFile(filepath.Join(dir, name+".png"), data, 0o644))
}

// morning is what lies on the board at a quarter past eight: who ordered what how many minutes ago, and the
// commands that followed, with how many minutes ago the last of them was.
var morning = []struct {
	name     string
	minutes  int
	commands []string
	moved    int
	order    object
}{
	{"Ines", 14, []string{"start", "ready"}, 3, drinks(drink("cortado", ""), pastry("croissant", 1, ""))},
	{"Wei", 12, []string{"start", "ready"}, 1, drinks(drink("matcha-latte", "medium"))},
	{"Grace", 9, []string{"start"}, 5, drinks(drink("latte", "large", "oat", 1, "shot", 2, "vanilla", 1, "foam", 0), pastry("pain-au-chocolat", 1, "Warm, please"))},
	{"Tomasz", 6, []string{"start"}, 2, drinks(drink("flat-white", "", "oat", 1))},
	{"Maximiliana von Hohenburg", 4, nil, 4, drinks(drink("cappuccino", "small", "almond", 1), drink("americano", "large"), pastry("almond-biscotti", 2, ""))},
	{"Kofi", 2, nil, 2, drinks(noted(drink("latte", "small", "foam", 0), "In my own cup, the blue one"))},
	{"Aiko", 1, nil, 1, atTill(drinks(drink("cold-brew", "small")))},
}

func drinks(lines ...object) object { return latte(object{"lines": lines}) }

// drink is a line of one drink; options are ids and units in turn.
func drink(item, size string, options ...any) object {
	line := object{"item": item, "quantity": 1}
	if size != "" {
		line["size"] = size
	}
	var chosen []object
	for i := 0; i+1 < len(options); i += 2 {
		chosen = append(chosen, object{"id": options[i], "units": options[i+1]})
	}
	if chosen != nil {
		line["options"] = chosen
	}
	return line
}

func pastry(item string, quantity int, note string) object {
	line := object{"item": item, "quantity": quantity}
	if note != "" {
		line["note"] = note
	}
	return line
}

func noted(line object, note string) object {
	line["note"] = note
	return line
}

func atTill(body object) object {
	body["fulfilment"], body["payment"] = "in_store", object{"method": "counter"}
	return body
}

// busy fills the board of the test store with a morning.
func (s *shop) busy(t *testing.T, device string) (orders []order) {
	t.Helper()
	for _, m := range morning {
		m.order["customer"] = object{"name": m.name}
		o := s.moved(t, device, s.placed(t, m.order), m.commands...)
		s.backdate(t, o, m.minutes, m.moved)
		orders = append(orders, o)
	}
	return orders
}

// backdate makes an order as old as it says, and what happened to it last.
func (s *shop) backdate(t *testing.T, o order, placed, moved int) {
	t.Helper()
	for _, statement := range []string{
		`update order_history set at = at - make_interval(mins => case when status in ('in_progress', 'ready') then $3::int else $2::int end) where order_id = $1`,
		`update orders set ready_estimate = ready_estimate - make_interval(mins => $2::int), updated_at = updated_at - make_interval(mins => $3::int) where id = $1`,
	} {
		if _, err := s.api.pool.Exec(t.Context(), statement, o.ID, placed, moved); err != nil {
			t.Fatal(err)
		}
	}
}
