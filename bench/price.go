package main

import (
	"encoding/json"
	"math/big"

	"github.com/tidwall/gjson"
)

// menuItem is what the contract's price rules need of an item.
type menuItem struct {
	ID        string
	BasePrice int64  `json:"base_price"`
	TaxRate   string `json:"tax_rate"`
	Sizes     []struct {
		ID    string
		Price int64
	}
	Groups []menuGroup `json:"option_groups"`
}

type menuGroup struct {
	Substitution bool
	Free         int64 `json:"free_units"`
	Options      []menuOption
}

type menuOption struct {
	ID      string
	Price   int64
	BySize  map[string]int64 `json:"price_by_size"`
	Default int64            `json:"default_units"`
}

// priced is a line as the target must show it.
type priced struct {
	Item, Size           string
	Quantity, total, tax int64
}

// wanted is a line that a customer asks for, and what it costs by the menu.
type wanted struct {
	priced
	Options []struct {
		ID    string
		Units int64
	}
}

// priceAll reads what each basket must cost from a menu; the chain's stores have one price list.
func (l *Load) priceAll() error {
	c := l.Pool.Get()
	defer func() { l.Pool.Put(c) }()
	if _, err := l.menuOn(c, l.Stores[0], false); err != nil {
		return err
	}
	var menu struct{ Categories []struct{ Items []menuItem } }
	if err := json.Unmarshal(c.Answer(), &menu); err != nil {
		return faultf("answer", "a menu: %w", err)
	}
	items := map[string]menuItem{}
	for _, category := range menu.Categories {
		for _, item := range category.Items {
			items[item.ID] = item
		}
	}
	for _, basket := range l.Baskets {
		for i := range basket.lines {
			if err := basket.lines[i].price(items[basket.lines[i].Item]); err != nil {
				return err
			}
		}
	}
	return nil
}

// price applies the contract's price rules.
func (w *wanted) price(item menuItem) error {
	each, found := item.BasePrice, w.Size == "" && item.ID != ""
	for _, size := range item.Sizes {
		if size.ID == w.Size {
			each, found = size.Price, true
		}
	}
	units := map[string]int64{}
	for _, option := range w.Options {
		units[option.ID] = option.Units
	}
	for _, group := range item.Groups {
		each += group.charge(w.Size, units)
	}
	rate, ok := new(big.Rat).SetString(item.TaxRate)
	if !found || !ok || len(units) > 0 {
		return faultf("answer", "the menu has no price or tax for %+v", *w)
	}
	w.total = w.Quantity * each
	w.tax = halfEven(rate.Mul(rate, big.NewRat(w.total, 1)))
	return nil
}

// charge is what the units that are wanted of a group cost; those that it knows it takes out of them.
func (g *menuGroup) charge(size string, units map[string]int64) (total int64) {
	var usual int64 // price of what a substitution takes the place of
	for _, option := range g.Options {
		if g.Substitution && option.Default > 0 {
			usual = option.of(size)
		}
	}
	free := g.Free
	for _, option := range g.Options {
		above := max(units[option.ID]-option.Default, 0)
		delete(units, option.ID)
		charged := max(above-free, 0)
		free -= above - charged
		total += charged * max(option.of(size)-usual, 0)
	}
	return total
}

func (o *menuOption) of(size string) int64 {
	if price, ok := o.BySize[size]; ok {
		return price
	}
	return o.Price
}

// halfEven rounds what is not negative.
func halfEven(exact *big.Rat) int64 {
	whole, rest := new(big.Int).QuoRem(exact.Num(), exact.Denom(), new(big.Int))
	n := whole.Int64()
	switch rest.Lsh(rest, 1).Cmp(exact.Denom()) {
	case 1:
		n++
	case 0:
		n += n & 1
	}
	return n
}

// readPriced reads the total of a quote or an order of the basket, which must be right line by line and in sum.
func (b *Basket) readPriced(raw []byte) (total int64, err error) {
	var subtotal, discount, tax, tip, lines, taxes int64
	count := 0
	gjson.Parse(text(raw)).ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "subtotal":
			subtotal = value.Int()
		case "discount":
			discount = value.Int()
		case "tax":
			tax = value.Int()
		case "tip":
			tip = value.Int()
		case "total":
			total = value.Int()
		case "lines":
			value.ForEach(func(_, line gjson.Result) bool {
				got := readLine(line)
				if count < len(b.lines) && got != b.lines[count].priced && err == nil {
					err = faultf("total", "a line is %+v, not %+v", got, b.lines[count].priced)
				}
				count, lines, taxes = count+1, lines+got.total, taxes+got.tax
				return true
			})
		}
		return true
	})
	switch {
	case err != nil:
	case count != len(b.lines):
		err = faultf("total", "%d lines, not %d", count, len(b.lines))
	case tip != b.Tip:
		err = faultf("total", "a tip of %d, not %d", tip, b.Tip)
	case total <= 0 || subtotal != lines || tax != taxes || total != subtotal-discount+tax+tip:
		err = faultf("total", "it does not add up: %.300s", raw)
	}
	return total, err
}

func readLine(line gjson.Result) (p priced) {
	line.ForEach(func(name, value gjson.Result) bool {
		switch name.Str {
		case "item":
			p.Item = value.Str
		case "size":
			p.Size = value.Str
		case "quantity":
			p.Quantity = value.Int()
		case "total":
			p.total = value.Int()
		case "tax":
			p.tax = value.Int()
		}
		return true
	})
	return p
}
