package main

import (
	_ "os"
	_ "path/filepath"
	"testing"
	_ "time"

	_ "github.com/chromedp/cdproto/emulation"
	_ "github.com/chromedp/cdproto/network"
	_ "github.com/chromedp/cdproto/page"

	_ "frenchpress/db"
)

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
