package db

import (
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is the contract's price rules once more, written from their text alone, slowly and with big numbers: no index,
// no scratch space, no shared sums. It prices a menu without an overlay.
type naive struct {
	menu     *Menu
	pointers map[string]int
}

func (n *naive) fault(format string, args ...any) { n.pointers[fmt.Sprintf(format, args...)]++ }

func (n *naive) price(req QuoteRequest) (lines []PricedLine, total *big.Int) {
	total = big.NewInt(req.Tip)
	goods := new(big.Int)
	if len(req.Lines) == 0 {
		n.fault("/lines")
	}
	for i, l := range req.Lines {
		line, sum, tax := n.line(i, l)
		lines = append(lines, line)
		goods.Add(goods, sum).Add(goods, tax)
	}
	bound := big.NewInt(MaxTotal)
	if goods.Cmp(bound) > 0 {
		n.fault("/lines")
	}
	total.Add(total, goods)
	if req.Tip < 0 || req.Tip > MaxTotal || goods.Cmp(bound) <= 0 && total.Cmp(bound) > 0 {
		n.fault("/tip")
	}
	return lines, total
}

func (n *naive) line(i int, l LineRequest) (line PricedLine, sum, tax *big.Int) {
	nothing := new(big.Int)
	quantity := int64(l.Quantity)
	if quantity < 1 || quantity > 99 {
		n.fault("/lines/%d/quantity", i)
		quantity = 1
	}
	if l.Note != "" {
		n.fault("/lines/%d/note", i) // the only note that is drawn is a wrong one
	}
	var item *Item
	for _, c := range n.menu.Categories {
		for j := range c.Items {
			if c.Items[j].ID == l.Item {
				item = &c.Items[j]
			}
		}
	}
	if item == nil {
		n.fault("/lines/%d/item", i)
		return line, nothing, nothing
	}
	if !item.Available {
		n.fault("/lines/%d/item", i)
	}
	unit := new(big.Int)
	if item.BasePrice != nil {
		unit.SetInt64(*item.BasePrice)
	}
	known := l.Size == "" && len(item.Sizes) == 0
	for _, s := range item.Sizes {
		if s.ID == l.Size {
			known = true
			unit.SetInt64(s.Price)
		}
	}
	if !known {
		n.fault("/lines/%d/size", i)
	}
	named := n.named(i, l, item)
	line.Options = []PricedOption{}
	for _, g := range item.OptionGroups {
		for _, o := range n.group(i, g, l.Size, named) {
			line.Options = append(line.Options, o)
			unit.Add(unit, new(big.Int).Mul(big.NewInt(int64(o.ChargedUnits)), big.NewInt(o.UnitPrice)))
		}
	}
	sum = new(big.Int).Mul(unit, big.NewInt(quantity))
	if sum.Cmp(big.NewInt(MaxTotal)) > 0 {
		n.fault("/lines/%d", i)
		return line, nothing, nothing
	}
	line.UnitPrice, line.Total = unit.Int64(), sum.Int64()
	tax = halfEven(sum, item.TaxRate)
	line.Tax = tax.Int64()
	return line, sum, tax
}

// named is what the line asks for of each option it names rightly, -1 for too little.
func (n *naive) named(i int, l LineRequest, item *Item) map[string]int {
	named := map[string]int{}
	for j, r := range l.Options {
		var option *Option
		for _, g := range item.OptionGroups {
			for k := range g.Options {
				if g.Options[k].ID == r.ID {
					option = &g.Options[k]
				}
			}
		}
		if _, twice := named[r.ID]; option == nil || twice {
			n.fault("/lines/%d/options/%d/id", i, j)
			continue
		}
		if r.Units < 0 || r.Units > option.MaxUnits {
			n.fault("/lines/%d/options/%d/units", i, j)
		}
		if r.Units > 0 && !option.Available {
			n.fault("/lines/%d/options/%d/id", i, j)
		}
		named[r.ID] = max(-1, min(r.Units, option.MaxUnits))
	}
	return named
}

func (n *naive) group(i int, g OptionGroup, size string, named map[string]int) (priced []PricedOption) {
	somethingElse := false
	for _, o := range g.Options {
		somethingElse = somethingElse || g.Substitution && named[o.ID] > 0
	}
	cost := func(o Option) int64 {
		if p, ok := o.PriceBySize[size]; ok {
			return p
		}
		if o.Price != nil {
			return *o.Price
		}
		return 0
	}
	var defaults int64
	for _, o := range g.Options {
		if g.Substitution && o.DefaultUnits > 0 {
			defaults = cost(o)
		}
	}
	sum, unique, free := 0, 0, g.FreeUnits
	for _, o := range g.Options {
		units, ok := named[o.ID]
		if !ok || units < 0 {
			units = o.DefaultUnits
			if somethingElse {
				units = 0
			}
			if units > 0 && !o.Available {
				n.fault("/lines/%d/options", i)
			}
		}
		sum += units
		if units > 0 {
			unique++
		}
		// One unit after the other: the first ones are the default's, then come the free ones.
		charged := 0
		for u := 1; u <= units; u++ {
			switch {
			case u <= o.DefaultUnits:
			case free > 0:
				free--
			default:
				charged++
			}
		}
		takenAway := units == 0 && o.DefaultUnits > 0 && !somethingElse
		if units > 0 || takenAway {
			priced = append(priced, PricedOption{ID: o.ID, Name: o.Name, Units: units, ChargedUnits: charged, UnitPrice: max(0, cost(o)-defaults)})
		}
	}
	for _, broken := range []bool{
		sum < g.MinUnits, g.MaxUnits != nil && sum > *g.MaxUnits, unique < g.MinUnique, g.MaxUnique != nil && unique > *g.MaxUnique,
	} {
		if broken {
			n.fault("/lines/%d/options", i)
		}
	}
	return priced
}

func halfEven(amount *big.Int, rate string) *big.Int {
	r, _ := new(big.Rat).SetString(rate)
	exact := r.Mul(r, new(big.Rat).SetInt(amount))
	floor := new(big.Int).Div(exact.Num(), exact.Denom())
	rest := new(big.Rat).Sub(exact, new(big.Rat).SetInt(floor))
	if c := rest.Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && floor.Bit(0) == 1 {
		floor.Add(floor, big.NewInt(1))
	}
	return floor
}

func TestPriceAgreesWithNaive(t *testing.T) {
	t.Parallel()
	quoted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		req := drawRequest(t, v.Menu)
		n := naive{menu: v.Resolve(), pointers: map[string]int{}}
		lines, total := n.price(req)
		q, faults := v.Price(req)
		found := map[string]int{}
		for _, f := range faults {
			found[f.Pointer]++
		}
		if !reflect.DeepEqual(found, n.pointers) {
			t.Fatalf("faults %v, naively %v", faults, n.pointers)
		}
		if len(faults) > 0 {
			refused++
			if q != nil {
				t.Fatal("a quote with faults")
			}
			return
		}
		quoted++
		for i, line := range q.Lines {
			want := lines[i]
			if line.UnitPrice != want.UnitPrice || line.Total != want.Total || line.Tax != want.Tax || !slices.Equal(line.Options, want.Options) {
				t.Fatalf("line %d: %+v, naively %+v", i, line, want)
			}
		}
		if total.Cmp(big.NewInt(q.Total)) != 0 {
			t.Fatalf("total %d, naively %s", q.Total, total)
		}
	})
	if quoted < 10 || refused < 10 {
		t.Errorf("too few of each to mean anything: %d quoted, %d refused", quoted, refused)
	}
}

// accepted is an order with its price.
type accepted struct {
	view  View
	req   QuoteRequest
	quote *Quote
}

// acceptedOrders are orders without a fault, from menus with everything in stock and few limits.
var acceptedOrders = rapid.Custom(func(t *rapid.T) accepted {
	v := drawView(t)
	for _, c := range v.Menu.Categories {
		for i := range c.Items {
			c.Items[i].Available, c.Items[i].AvailableFrom = true, nil
			for g := range c.Items[i].OptionGroups {
				group := &c.Items[i].OptionGroups[g]
				group.MaxUnits, group.MaxUnique = nil, nil
				for o := range group.Options {
					group.Options[o].Available, group.Options[o].AvailableFrom = true, nil
				}
			}
		}
	}
	v.Menu.index = newMenuIndex(v.Menu)
	if v.Overlay != nil {
		v.Overlay.SoldOut = nil
	}
	req := drawRequest(t, v.Menu)
	q, _ := v.Price(req)
	return accepted{v, req, q}
}).Filter(func(a accepted) bool { return a.quote != nil })

func drawQuote(t *rapid.T) (View, QuoteRequest, *Quote) {
	a := acceptedOrders.Draw(t, "order")
	return a.view, a.req, a.quote
}

func TestPriceLinesSumToTotal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v, _, q := drawQuote(t)
		var subtotal, tax int64
		for _, line := range q.Lines {
			item := v.Resolve().Item(line.Item)
			unit := int64(0)
			if item.BasePrice != nil {
				unit = *item.BasePrice
			}
			for _, s := range item.Sizes {
				if s.ID == line.Size {
					unit = s.Price
				}
			}
			for _, o := range line.Options {
				if o.UnitPrice < 0 || o.ChargedUnits < 0 || o.ChargedUnits > o.Units {
					t.Fatalf("%+v", o)
				}
				unit += int64(o.ChargedUnits) * o.UnitPrice
			}
			if line.UnitPrice != unit || line.Total != unit*int64(line.Quantity) || line.Tax < 0 || line.Tax > line.Total {
				t.Fatalf("%d each: %+v", unit, line)
			}
			subtotal += line.Total
			tax += line.Tax
		}
		if q.Subtotal != subtotal || q.Tax != tax || q.Discount != 0 || q.Total != subtotal+tax+q.Tip || q.Tip < 0 {
			t.Fatalf("%+v", q)
		}
	})
}

func TestPriceOrderOfOptionsIsIrrelevant(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v, req, q := drawQuote(t)
		for i := range req.Lines {
			if len(req.Lines[i].Options) > 1 {
				req.Lines[i].Options = rapid.Permutation(req.Lines[i].Options).Draw(t, "another order")
			}
		}
		again, faults := v.Price(req)
		if faults != nil || !reflect.DeepEqual(q, again) {
			t.Fatalf("%v %+v, before %+v", faults, again, q)
		}
	})
}

// Naming a default with its own units changes nothing, unless something else takes its place.
func TestPriceDefaultsMayBeNamed(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v, req, q := drawQuote(t)
		for i := range req.Lines {
			line := &req.Lines[i]
			units := map[string]int{}
			for _, o := range line.Options {
				units[o.ID] = o.Units
			}
			for _, g := range v.Menu.Item(line.Item).OptionGroups {
				replaced := g.Substitution && slices.ContainsFunc(g.Options, func(o Option) bool { return units[o.ID] > 0 })
				for _, o := range g.Options {
					if _, named := units[o.ID]; !named && !replaced {
						line.Options = append(line.Options, OptionRequest{o.ID, o.DefaultUnits})
					}
				}
			}
		}
		again, faults := v.Price(req)
		if faults != nil || !reflect.DeepEqual(q, again) {
			t.Fatalf("%v %+v, before %+v", faults, again, q)
		}
	})
}

// A store's customers pay what its menu shows them.
func TestPriceIsThatOfTheMenuShown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		req := drawRequest(t, v.Menu)
		q, faults := v.Price(req)
		again, faultsAgain := View{Menu: v.Resolve(), At: noon}.Price(req)
		if !reflect.DeepEqual(q, again) || !reflect.DeepEqual(faults, faultsAgain) {
			t.Fatalf("%+v %v, on the menu shown %+v %v", q, faults, again, faultsAgain)
		}
	})
}

func TestPriceFaultsAreThoseOfEachLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := drawView(t)
		req := drawRequest(t, v.Menu)
		req.Tip = 0
		_, faults := v.Price(req)
		var alone Faults
		for i, line := range req.Lines {
			_, f := v.Price(one(line))
			for _, fault := range f {
				if fault.Pointer == "/lines" {
					return // too dear all in all is not a line's fault
				}
				alone.Add("/lines/"+fmt.Sprint(i)+fault.Pointer[len("/lines/0"):], fault.Detail)
			}
		}
		kept := slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool { return f.Pointer == "/lines" })
		if len(kept) != len(alone) || len(kept) > 0 && !reflect.DeepEqual(kept, alone) {
			t.Fatalf("%v together, %v alone", faults, alone)
		}
	})
}
