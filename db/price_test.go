package db

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// one orders a single line of the cafe's menu to go.
func one(line LineRequest) QuoteRequest {
	return QuoteRequest{Fulfilment: "pickup", Lines: []LineRequest{line}}
}

// options reads "oat:1 shot:2".
func options(t testing.TB, s string) []OptionRequest {
	t.Helper()
	var named []OptionRequest
	for _, word := range strings.Fields(s) {
		id, units, _ := strings.Cut(word, ":")
		var n int
		if _, err := fmt.Sscan(units, &n); err != nil {
			t.Fatal(err)
		}
		named = append(named, OptionRequest{id, n})
	}
	return named
}

// ticket writes options as "oat 1/1@80": units, charged units, price of a unit.
func ticket(line PricedLine) string {
	var words []string
	for _, o := range line.Options {
		words = append(words, fmt.Sprintf("%s %d/%d@%d", o.ID, o.Units, o.ChargedUnits, o.UnitPrice))
	}
	return strings.Join(words, ", ")
}

func TestPriceRules(t *testing.T) {
	t.Parallel()
	const plain = "whole 1/0@0, foam 1/0@0, vanilla 1/0@40"
	tests := []struct {
		name, item, size, options string
		quantity                  int
		unit, total, tax          int64
		ticket                    string
	}{
		{"a croissant", "croissant", "", "", 1, 425, 425, 0, ""},
		{"a dozen croissants", "croissant", "", "", 12, 425, 5100, 0, ""},
		{"a small latte", "latte", "small", "", 1, 450, 450, 39, plain},                     // 39.375
		{"a large latte", "latte", "large", "", 1, 575, 575, 50, plain},                     // 50.3125
		{"tax once a line, not once a cup", "latte", "large", "", 4, 575, 2300, 201, plain}, // 201.25, not 4 × 50
		{"99 of them", "latte", "small", "", 99, 450, 44550, 3898, plain},                   // 3898.125
		{"oat costs what it is above whole", "latte", "small", "oat:1", 1, 505, 505, 44, "oat 1/1@55, foam 1/0@0, vanilla 1/0@40"},
		{"and has a price of its own in large", "latte", "large", "oat:1", 1, 655, 655, 57, "oat 1/1@80, foam 1/0@0, vanilla 1/0@40"},
		{"two units of oat", "latte", "small", "oat:2", 1, 560, 560, 49, "oat 2/2@55, foam 1/0@0, vanilla 1/0@40"},
		{"skim is cheaper, nothing back", "latte", "small", "skim:1", 1, 450, 450, 39, "skim 1/1@0, foam 1/0@0, vanilla 1/0@40"},
		{"more whole milk costs nothing", "latte", "small", "whole:2", 1, 450, 450, 39, "whole 2/1@0, foam 1/0@0, vanilla 1/0@40"},
		{"no oat leaves the whole in", "latte", "small", "oat:0", 1, 450, 450, 39, plain},
		{"no whole but oat", "latte", "small", "whole:0 oat:1", 1, 505, 505, 44, "oat 1/1@55, foam 1/0@0, vanilla 1/0@40"},
		{"shots by size", "latte", "small", "shot:2", 1, 630, 630, 55, "whole 1/0@0, shot 2/2@90, foam 1/0@0, vanilla 1/0@40"},
		{"shots in large", "latte", "large", "shot:2", 1, 795, 795, 70, "whole 1/0@0, shot 2/2@110, foam 1/0@0, vanilla 1/0@40"},
		{"no foam is on the ticket", "latte", "small", "foam:0", 1, 450, 450, 39, "whole 1/0@0, foam 0/0@0, vanilla 1/0@40"},
		{"more foam is free by its price", "latte", "small", "foam:2", 1, 450, 450, 39, "whole 1/0@0, foam 2/1@0, vanilla 1/0@40"},
		{"two pumps above the default are free", "latte", "small", "vanilla:3", 1, 450, 450, 39, "whole 1/0@0, foam 1/0@0, vanilla 3/0@40"},
		{"the third is not", "latte", "small", "vanilla:4", 1, 490, 490, 43, "whole 1/0@0, foam 1/0@0, vanilla 4/1@40"},
		{"free units go in menu order", "latte", "small", "maple:2 vanilla:2", 1, 510, 510, 45,
			"whole 1/0@0, foam 1/0@0, vanilla 2/0@40, maple 2/1@60"},
		{"a default taken away frees nothing", "latte", "small", "vanilla:0 maple:3", 1, 510, 510, 45,
			"whole 1/0@0, foam 1/0@0, vanilla 0/0@40, maple 3/1@60"},
	}
	v := View{Menu: cafeMenu(t), At: noon}
	for _, tt := range tests {
		q, faults := v.Price(one(LineRequest{Item: tt.item, Size: tt.size, Options: options(t, tt.options), Quantity: max(1, tt.quantity)}))
		if faults != nil {
			t.Errorf("%s: %v", tt.name, faults)
			continue
		}
		line := q.Lines[0]
		if line.UnitPrice != tt.unit || line.Total != tt.total || line.Tax != tt.tax || ticket(line) != tt.ticket {
			t.Errorf("%s: %d each, %d, tax %d: %s", tt.name, line.UnitPrice, line.Total, line.Tax, ticket(line))
		}
		if q.Subtotal != tt.total || q.Tax != tt.tax || q.Total != tt.total+tt.tax {
			t.Errorf("%s: %+v", tt.name, q)
		}
	}
}

func TestPriceQuote(t *testing.T) {
	t.Parallel()
	v := View{Menu: cafeMenu(t), At: noon, Version: "7.12"}
	q, faults := v.Price(QuoteRequest{Fulfilment: "in_store", Tip: 100, Lines: []LineRequest{
		{Item: "latte", Size: "large", Options: []OptionRequest{{"oat", 1}}, Quantity: 2, Note: "extra hot"},
		{Item: "croissant", Quantity: 1},
	}})
	if faults != nil {
		t.Fatal(faults)
	}
	got, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"lines":[{"item":"latte","name":"Latte","size":"large","size_name":"Large","options":[` +
		`{"id":"oat","name":"Oat milk","units":1,"charged_units":1,"unit_price":80},` +
		`{"id":"foam","name":"Foam","units":1,"charged_units":0,"unit_price":0},` +
		`{"id":"vanilla","name":"Vanilla","units":1,"charged_units":0,"unit_price":40}],` +
		`"quantity":2,"unit_price":655,"total":1310,"tax":115,"tax_rate":"0.0875","note":"extra hot"},` +
		`{"item":"croissant","name":"Croissant","options":[],"quantity":1,"unit_price":425,"total":425,"tax":0,"tax_rate":"0"}],` +
		`"subtotal":1735,"discount":0,"tax":115,"tip":100,"total":1950,"currency":"USD","menu_version":"7.12"}`
	if string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestPriceFaults(t *testing.T) {
	t.Parallel()
	latte := func(named string) QuoteRequest {
		return one(LineRequest{Item: "latte", Size: "small", Options: options(t, named), Quantity: 1})
	}
	croissant := LineRequest{Item: "croissant", Quantity: 1}
	tests := []struct {
		name string
		req  QuoteRequest
		want []string
	}{
		{"no lines", QuoteRequest{Fulfilment: "pickup"}, []string{"/lines"}},
		{"50 lines", QuoteRequest{Fulfilment: "pickup", Lines: slices.Repeat([]LineRequest{croissant}, 50)}, nil},
		{"51 lines", QuoteRequest{Fulfilment: "pickup", Lines: slices.Repeat([]LineRequest{croissant}, 51)}, []string{"/lines"}},
		{"fulfilment", QuoteRequest{Fulfilment: "drone", Lines: []LineRequest{croissant}}, []string{"/fulfilment"}},
		{"tip", QuoteRequest{Fulfilment: "pickup", Lines: []LineRequest{croissant}, Tip: -1}, []string{"/tip"}},
		{"no quantity", one(LineRequest{Item: "croissant"}), []string{"/lines/0/quantity"}},
		{"quantity 100", one(LineRequest{Item: "croissant", Quantity: 100}), []string{"/lines/0/quantity"}},
		{"unknown item", one(LineRequest{Item: "tea", Quantity: 1}), []string{"/lines/0/item"}},
		{"item sold out", one(LineRequest{Item: "bun", Quantity: 1}), []string{"/lines/0/item"}},
		{"no size", one(LineRequest{Item: "latte", Quantity: 1}), []string{"/lines/0/size"}},
		{"unknown size", one(LineRequest{Item: "latte", Size: "xl", Quantity: 1}), []string{"/lines/0/size"}},
		{"size of something without", one(LineRequest{Item: "croissant", Size: "small", Quantity: 1}), []string{"/lines/0/size"}},
		{"long note", one(LineRequest{Item: "croissant", Quantity: 1, Note: strings.Repeat("é", 201)}), []string{"/lines/0/note"}},
		{"note of 200", one(LineRequest{Item: "croissant", Quantity: 1, Note: strings.Repeat("é", 200)}), nil},
		{"bell in the note", one(LineRequest{Item: "croissant", Quantity: 1, Note: "\a"}), []string{"/lines/0/note"}},
		{"unknown option", latte("sand:1"), []string{"/lines/0/options/0/id"}},
		{"option of another item", one(LineRequest{Item: "croissant", Options: options(t, "shot:1"), Quantity: 1}), []string{"/lines/0/options/0/id"}},
		{"option sold out", latte("pea:1"), []string{"/lines/0/options/0/id"}},
		{"none of what is sold out", latte("pea:0"), nil},
		{"option twice", latte("shot:1 shot:1"), []string{"/lines/0/options/1/id"}},
		{"negative units", latte("shot:-1"), []string{"/lines/0/options/0/units"}},
		{"too many units", latte("shot:5"), []string{"/lines/0/options/0/units"}},
		{"no milk", latte("whole:0"), []string{"/lines/0/options", "/lines/0/options"}}, // units and different ones
		{"two milks", latte("whole:1 oat:1"), []string{"/lines/0/options"}},
		{"too much of extras", latte("shot:4 foam:2"), nil},
		{"three syrups", latte("maple:1 hazelnut:1"), []string{"/lines/0/options"}},
		{"all at once", QuoteRequest{Fulfilment: "", Tip: -5, Lines: []LineRequest{
			{Item: "latte", Size: "xl", Options: options(t, "sand:1 pea:1 shot:9 shot:1 maple:1 hazelnut:1"), Note: "\x00"},
			{Item: "bun", Size: "small", Quantity: -1},
			{Item: "tea", Quantity: 1},
		}}, []string{"/fulfilment", "/lines/0/quantity", "/lines/0/note", "/lines/0/size", "/lines/0/options/0/id", "/lines/0/options/1/id",
			"/lines/0/options/2/units", "/lines/0/options/3/id", "/lines/0/options", "/lines/1/quantity", "/lines/1/item", "/lines/1/size",
			"/lines/2/item", "/tip"}},
	}
	v := View{Menu: cafeMenu(t), At: noon}
	for _, tt := range tests {
		q, faults := v.Price(tt.req)
		if got := pointers(faults); !slices.Equal(got, tt.want) || (q == nil) != (len(faults) > 0) {
			t.Errorf("%s: %v, want %q", tt.name, faults, tt.want)
		}
	}
}

func TestPriceGroupFaultsNameTheGroup(t *testing.T) {
	t.Parallel()
	v := View{Menu: cafeMenu(t), At: noon.Add(2 * time.Hour)}
	tests := []struct{ item, size, options, want string }{
		{"latte", "small", "whole:1 skim:1", "Milk: choose at most 1 different (2 chosen)"},
		{"latte", "small", "whole:2 skim:1", "Milk: choose at most 2 (3 chosen)"},
		{"latte", "small", "whole:0", "Milk: choose at least 1 (0 chosen)"},
		{"juice", "", "", "Fruit: choose at least 1 (0 chosen)"},
		{"juice", "", "", "Fruit: choose at least 1 different (0 chosen)"},
		{"juice", "", "orange:2 apple:1", "Fruit: choose at most 2 (3 chosen)"},
	}
	for _, tt := range tests {
		_, faults := v.Price(one(LineRequest{Item: tt.item, Size: tt.size, Options: options(t, tt.options), Quantity: 1}))
		if !slices.Contains(faults, Fault{"/lines/0/options", tt.want}) {
			t.Errorf("%s with %s: %v, want %q", tt.item, tt.options, faults, tt.want)
		}
	}
}

// What the store is out of is never left out or exchanged without a word.
func TestPriceSoldOut(t *testing.T) {
	t.Parallel()
	out := View{Menu: cafeMenu(t), At: noon, Overlay: &Overlay{SoldOut: map[string]time.Time{
		"option:whole": {}, "option:foam": noon.Add(time.Hour), "option:vanilla": noon, "item:croissant": noon.Add(time.Minute),
	}}}
	tests := []struct {
		name string
		view View
		line LineRequest
		want []string
	}{
		{"defaults that are out", out, LineRequest{Item: "latte", Size: "small"}, []string{"/lines/0/options", "/lines/0/options"}},
		{"asked for", out, LineRequest{Item: "latte", Size: "small", Options: options(t, "foam:1 whole:1")},
			[]string{"/lines/0/options/0/id", "/lines/0/options/1/id"}},
		{"replaced and taken away", out, LineRequest{Item: "latte", Size: "small", Options: options(t, "oat:1 foam:0")}, nil},
		{"croissant, a minute too early", out, LineRequest{Item: "croissant"}, []string{"/lines/0/item"}},
		{"on time", View{Menu: out.Menu, Overlay: out.Overlay, At: noon.Add(time.Minute)}, LineRequest{Item: "croissant"}, nil},
		{"juice before two", View{Menu: out.Menu, At: noon}, LineRequest{Item: "juice", Options: options(t, "apple:1")}, []string{"/lines/0/item"}},
		{"juice at two", View{Menu: out.Menu, At: noon.Add(2 * time.Hour)}, LineRequest{Item: "juice", Options: options(t, "apple:1")}, nil},
	}
	for _, tt := range tests {
		tt.line.Quantity = 1
		if _, faults := tt.view.Price(one(tt.line)); !slices.Equal(pointers(faults), tt.want) {
			t.Errorf("%s: %v", tt.name, faults)
		}
	}
}

func TestPriceOverlay(t *testing.T) {
	t.Parallel()
	v := View{Menu: cafeMenu(t), At: noon, Version: "7.1", Overlay: &Overlay{Prices: map[string]int64{
		"latte/large": 600, "latte/milk/oat/large": 120, "latte/milk/whole": 50, "latte/milk/oat": 1,
	}}}
	q, faults := v.Price(one(LineRequest{Item: "latte", Size: "large", Options: options(t, "oat:1"), Quantity: 1}))
	if faults != nil || q.Lines[0].UnitPrice != 600+120-50 || q.MenuVersion != "7.1" {
		t.Errorf("%v %+v", faults, q)
	}
}

// leaves is a menu with one item and any number of options at one price each, taxed as much again.
func leaves(t testing.TB, groups, options int, price int64) *Menu {
	t.Helper()
	item := Item{ID: "gold", Name: "Gold", BasePrice: &price, TaxRate: "1", Available: true}
	for g := range groups {
		group := OptionGroup{ID: fmt.Sprint("g", g), Name: "Leaf"}
		for o := range options {
			group.Options = append(group.Options, Option{
				ID: fmt.Sprintf("o%d-%d", g, o), Name: "Leaf", Price: &price, DefaultUnits: 0, MaxUnits: 99, Available: true,
			})
		}
		item.OptionGroups = append(item.OptionGroups, group)
	}
	data, err := json.Marshal(Menu{Currency: "USD", Categories: []Category{{Name: "Gold", Items: []Item{item}}}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseMenu(data)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func everything(m *Menu, item, size string, quantity int) LineRequest {
	line := LineRequest{Item: item, Size: size, Quantity: quantity}
	for _, g := range m.Item(item).OptionGroups {
		for _, o := range g.Options {
			line.Options = append(line.Options, OptionRequest{o.ID, o.MaxUnits})
		}
	}
	return line
}

func TestPriceOverflow(t *testing.T) {
	t.Parallel()
	small, huge := leaves(t, 1, 10, MaxPrice), leaves(t, 20, 50, MaxPrice)
	line := LineRequest{Item: "gold", Quantity: 99}
	full := everything(small, "gold", "", 99) // 991 × 990,000,000 = 981,090,000,000, below the bound; the same again in tax
	worst := everything(huge, "gold", "", 99)
	order := func(tip int64, lines ...LineRequest) QuoteRequest {
		return QuoteRequest{Fulfilment: "pickup", Lines: lines, Tip: tip}
	}
	tests := []struct {
		name string
		menu *Menu
		req  QuoteRequest
		want []string
	}{
		{"much, but within bounds", small, order(MaxTotal-2*990_000_000, line), nil},
		{"the tip brings it above", small, order(MaxTotal-2*990_000_000+1, line), []string{"/tip"}},
		{"a tip above everything", small, order(1<<63-1, line), []string{"/tip"}},
		{"the lines together", small, order(0, full), []string{"/lines"}},
		{"the lines together, and a tip", small, order(5, full, full), []string{"/lines"}},
		{"each line", huge, order(0, worst, line, worst), []string{"/lines/0", "/lines/2"}},
		{"as bad as it can be", huge, order(1<<63-1, slices.Repeat([]LineRequest{worst}, MaxLines)...), nil},
	}
	for _, tt := range tests {
		q, faults := View{Menu: tt.menu}.Price(tt.req)
		if tt.name == "as bad as it can be" {
			if len(faults) != MaxLines+1 {
				t.Errorf("%s: %v", tt.name, faults)
			}
			continue
		}
		if !slices.Equal(pointers(faults), tt.want) {
			t.Errorf("%s: %v", tt.name, faults)
		}
		if q != nil && (q.Total > MaxTotal || q.Total < q.Tip) {
			t.Errorf("%s: %d", tt.name, q.Total)
		}
	}
}

// Fifty lines that share one array of options must not see each other's.
func TestPriceLinesDoNotShareOptions(t *testing.T) {
	t.Parallel()
	v := View{Menu: cafeMenu(t), At: noon}
	oat := LineRequest{Item: "latte", Size: "small", Options: options(t, "oat:1"), Quantity: 1}
	plain := LineRequest{Item: "latte", Size: "small", Quantity: 1}
	q, faults := v.Price(QuoteRequest{Fulfilment: "pickup", Lines: []LineRequest{oat, plain}})
	if faults != nil {
		t.Fatal(faults)
	}
	before := slices.Clone(q.Lines[1].Options)
	q.Lines[0].Options = append(q.Lines[0].Options, PricedOption{ID: "sand"})
	if !reflect.DeepEqual(before, q.Lines[1].Options) {
		t.Error("one line writes on another's ticket")
	}
}

// BenchmarkPriceWorstCase prices fifty lines of 99 of the demo menu's largest drink, with something of every option group.
func BenchmarkPriceWorstCase(b *testing.B) {
	demo := demoMenu(b)
	overlay := &Overlay{
		Prices:  map[string]int64{"latte/large": 600, "latte/milk/oat/large": 90},
		SoldOut: map[string]time.Time{"option:soy": {}},
	}
	latte := LineRequest{Item: "latte", Size: "large", Quantity: MaxQuantity, Options: options(b,
		"oat:1 shot:4 whipped-cream:1 vanilla:4 maple:2 foam:2 cocoa-dust:1 cinnamon:1")}
	b.Run("chain", func(b *testing.B) { benchmarkPrice(b, View{Menu: demo, At: noon}, latte) })
	b.Run("overlay", func(b *testing.B) { benchmarkPrice(b, View{Menu: demo, At: noon, Overlay: overlay}, latte) })
}

// BenchmarkPriceThousandOptions prices an item with as many options as a menu may hold, of which a body of 64 KiB has
// room to name fifty a line.
func BenchmarkPriceThousandOptions(b *testing.B) {
	m := leaves(b, 20, 50, 100)
	gold := LineRequest{Item: "gold", Quantity: MaxQuantity, Options: everything(m, "gold", "", 1).Options[950:]}
	benchmarkPrice(b, View{Menu: m, At: noon}, gold)
}

func benchmarkPrice(b *testing.B, v View, line LineRequest) {
	req := QuoteRequest{Fulfilment: "pickup", Tip: 500, Lines: slices.Repeat([]LineRequest{line}, MaxLines)}
	if _, faults := v.Price(req); faults != nil {
		b.Fatal(faults)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = v.Price(req)
	}
}
