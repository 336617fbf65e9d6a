package db

import (
	"fmt"
	"slices"
)

const (
	// MaxLines and MaxQuantity bound an order.
	MaxLines    = 50
	MaxQuantity = 99

	maxNote = 200
)

// QuoteRequest is what somebody wants to order. Tip is in minor units.
type QuoteRequest struct {
	Fulfilment string        `json:"fulfilment"`
	Lines      []LineRequest `json:"lines"`
	Tip        int64         `json:"tip,omitempty"`
}

// LineRequest is one line: an item, its size if it has sizes, and the options that are to differ from the defaults.
type LineRequest struct {
	Item     string          `json:"item"`
	Size     string          `json:"size,omitempty"`
	Options  []OptionRequest `json:"options,omitempty"`
	Quantity int             `json:"quantity"`
	Note     string          `json:"note,omitempty"`
}

// OptionRequest names an option of the item; 0 units take a default away.
type OptionRequest struct {
	ID    string `json:"id"`
	Units int    `json:"units"`
}

// Quote is a priced order, and the part of an order's snapshot that prices rest on. Amounts are in minor units of
// Currency: Subtotal and Tax are the sums of the lines', Total is Subtotal - Discount + Tax + Tip.
type Quote struct {
	Lines       []PricedLine `json:"lines"`
	Subtotal    int64        `json:"subtotal"`
	Discount    int64        `json:"discount"`
	Tax         int64        `json:"tax"`
	Tip         int64        `json:"tip"`
	Total       int64        `json:"total"`
	Currency    string       `json:"currency"`
	MenuVersion string       `json:"menu_version"`
}

// PricedLine is a line with its names and prices. Total is Quantity times UnitPrice, without Tax.
type PricedLine struct {
	Item      string         `json:"item"`
	Name      string         `json:"name"`
	Size      string         `json:"size,omitempty"`
	SizeName  string         `json:"size_name,omitempty"`
	Options   []PricedOption `json:"options"`
	Quantity  int            `json:"quantity"`
	UnitPrice int64          `json:"unit_price"`
	Total     int64          `json:"total"`
	Tax       int64          `json:"tax"`
	TaxRate   string         `json:"tax_rate"`
	Note      string         `json:"note,omitempty"`
}

// PricedOption is an option of one unit of a line, in which it costs ChargedUnits times UnitPrice. In a substitution
// group UnitPrice is what it costs more than the default. No units is a default that was taken away ("no foam").
type PricedOption struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	Units        int    `json:"units"`
	ChargedUnits int    `json:"charged_units"`
	UnitPrice    int64  `json:"unit_price"`
}

// Price is the price rules of the shop: what the request costs, or everything that is wrong with it (and then no quote).
// It depends on nothing but the view and the request, so quote, placing and page cannot disagree. The view's menu must
// be valid.
//
// Where the rules leave a choice:
//   - An option that is listed with units 0 is not chosen, so in a substitution group it replaces nothing: "no oat"
//     leaves the whole milk in. "No whole milk" takes it away, and then the group's limits say whether that is allowed.
//   - Prices in a substitution group are those above the default option's, even if that option is not in the result;
//     more units of the default itself cost nothing. A group without a default charges full prices.
//   - A default that is sold out is a fault unless it is taken away or replaced: the drink is never changed silently.
//   - A default that was replaced is not on the ticket, its replacement is; one that was only taken away is, with units 0.
//   - An option with impossible units still counts (as at most its maximum), so one mistake is not reported twice.
func (v View) Price(req QuoteRequest) (*Quote, Faults) {
	p := pricer{view: v, index: v.Menu.lookup()}
	if req.Fulfilment != "pickup" && req.Fulfilment != "in_store" {
		p.faults.Add("/fulfilment", `must be "pickup" or "in_store"`)
	}
	switch {
	case len(req.Lines) == 0:
		p.faults.Add("/lines", "must not be empty")
	case len(req.Lines) > MaxLines:
		p.faults.Add("/lines", fmt.Sprintf("must be at most %d lines, these are %d", MaxLines, len(req.Lines)))
		req.Lines = req.Lines[:MaxLines]
	}
	q := &Quote{
		Lines:       make([]PricedLine, len(req.Lines)),
		Currency:    v.Menu.Currency,
		MenuVersion: v.version(),
	}
	p.reserve(req.Lines)
	for i := range req.Lines {
		q.Lines[i] = p.line(i, &req.Lines[i])
		q.Subtotal += q.Lines[i].Total
		q.Tax += q.Lines[i].Tax
	}
	p.total(q, req.Tip)
	if len(p.faults) > 0 {
		return nil, p.faults
	}
	return q, nil
}

// pricer prices one request.
type pricer struct {
	view    View
	index   *menuIndex
	faults  Faults
	options []PricedOption // of all lines, each line has a part of it
	choices []choice       // of the line at hand, one for each option of its item
}

// choice is what a line has of one option. Listed without named is an option with units that cannot be.
type choice struct {
	units         int
	listed, named bool
}

// reserve makes room for every option of every line at once.
func (p *pricer) reserve(lines []LineRequest) {
	priced, most := 0, 0
	for i := range lines {
		if at := p.index.items[lines[i].Item]; at != nil {
			priced += at.defaults + min(len(lines[i].Options), len(at.options))
			most = max(most, len(at.options))
		}
	}
	p.options = make([]PricedOption, 0, priced)
	p.choices = make([]choice, most)
}

func (p *pricer) line(i int, req *LineRequest) PricedLine {
	quantity := req.Quantity
	if quantity < 1 || quantity > MaxQuantity {
		p.faults.Add(Pointer("lines", i, "quantity"), fmt.Sprintf("must be from 1 to %d", MaxQuantity))
		quantity = 1
	}
	if detail := TextFault(req.Note, 0, maxNote); detail != "" {
		p.faults.Add(Pointer("lines", i, "note"), detail)
	}
	at := p.index.items[req.Item]
	if at == nil {
		p.faults.Add(Pointer("lines", i, "item"), "is not on the menu")
		return PricedLine{}
	}
	item := &p.view.Menu.Categories[at.category].Items[at.item]
	if p.view.itemOutage(item).now {
		p.faults.Add(Pointer("lines", i, "item"), item.Name+" is sold out")
	}
	line := PricedLine{
		Item: item.ID, Name: item.Name, Quantity: quantity, TaxRate: item.TaxRate, Note: req.Note,
	}
	line.UnitPrice = p.size(i, req.Size, item, at, &line)
	p.choose(i, req.Options, item, at)
	first, position := len(p.options), 0
	for g := range item.OptionGroups {
		group := &item.OptionGroups[g]
		choices := p.choices[position : position+len(group.Options)]
		position += len(group.Options)
		replaced := p.settle(i, group, choices)
		line.UnitPrice += p.charge(item, group, line.Size, choices, replaced)
	}
	line.Options = p.options[first:len(p.options):len(p.options)]
	line.Total = int64(quantity) * line.UnitPrice
	if line.Total > MaxTotal {
		p.faults.Add(Pointer("lines", i), fmt.Sprintf("comes to more than %d", MaxTotal))
		return PricedLine{}
	}
	line.Tax = taxOn(line.Total, at.rate)
	return line
}

// size sets the line's size and returns the item's price in it.
func (p *pricer) size(i int, id string, item *Item, at *itemIndex, line *PricedLine) int64 {
	if item.BasePrice != nil {
		if id != "" {
			p.faults.Add(Pointer("lines", i, "size"), item.Name+" has no sizes")
		}
		return p.view.Overlay.price(*item.BasePrice, item.ID)
	}
	s, ok := at.sizes[id]
	if !ok {
		detail := "is not a size of " + item.Name
		if id == "" {
			detail = "must be given: " + item.Name + " has sizes"
		}
		p.faults.Add(Pointer("lines", i, "size"), detail)
		return 0
	}
	size := &item.Sizes[s]
	line.Size, line.SizeName = size.ID, size.Name
	return p.view.Overlay.price(size.Price, item.ID, size.ID)
}

// choose notes the options that the line names.
func (p *pricer) choose(i int, named []OptionRequest, item *Item, at *itemIndex) {
	clear(p.choices)
	for j, req := range named {
		where, ok := at.options[req.ID]
		if !ok {
			p.faults.Add(Pointer("lines", i, "options", j, "id"), "is not an option of "+item.Name)
			continue
		}
		option := &item.OptionGroups[where.group].Options[where.option]
		c := &p.choices[where.position]
		if c.listed {
			p.faults.Add(Pointer("lines", i, "options", j, "id"), option.Name+" is in this line twice")
			continue
		}
		*c = choice{units: min(req.Units, option.MaxUnits), listed: true, named: req.Units >= 0}
		if req.Units != c.units || req.Units < 0 {
			p.faults.Add(Pointer("lines", i, "options", j, "units"),
				fmt.Sprintf("must be 0 to %d units of %s", option.MaxUnits, option.Name))
		}
		if c.units > 0 && p.view.optionOutage(option).now {
			p.faults.Add(Pointer("lines", i, "options", j, "id"), option.Name+" is sold out")
		}
	}
}

// settle gives the options of a group that were not named their default units, unless one that was named replaces the
// default, and holds the result against the group's limits.
func (p *pricer) settle(i int, group *OptionGroup, choices []choice) (replaced bool) {
	replaced = group.Substitution && slices.ContainsFunc(choices, func(c choice) bool { return c.named && c.units > 0 })
	units, unique := 0, 0
	for o := range choices {
		c := &choices[o]
		if !c.named {
			c.units = 0
			if !replaced {
				c.units = group.Options[o].DefaultUnits
			}
			if c.units > 0 && p.view.optionOutage(&group.Options[o]).now {
				p.faults.Add(Pointer("lines", i, "options"), group.Options[o].Name+" is sold out: choose without it")
			}
		}
		units += c.units
		if c.units > 0 {
			unique++
		}
	}
	p.limits(i, group, units, group.MinUnits, group.MaxUnits, "")
	p.limits(i, group, unique, group.MinUnique, group.MaxUnique, "different ")
	return replaced
}

func (p *pricer) limits(i int, group *OptionGroup, n, least int, most *int, what string) {
	if n < least {
		p.faults.Add(Pointer("lines", i, "options"),
			fmt.Sprintf("%s: choose at least %d %s(%d chosen)", group.Name, least, what, n))
	}
	if most != nil && n > *most {
		p.faults.Add(Pointer("lines", i, "options"),
			fmt.Sprintf("%s: choose at most %d %s(%d chosen)", group.Name, *most, what, n))
	}
}

// charge puts the options of a group on the ticket and returns what they add to the price of one unit of the line.
func (p *pricer) charge(item *Item, group *OptionGroup, size string, choices []choice, replaced bool) int64 {
	var sum, included int64
	if group.Substitution {
		included = p.included(item, group, size)
	}
	free := group.FreeUnits
	for o, c := range choices {
		option := &group.Options[o]
		if c.units == 0 && (option.DefaultUnits == 0 || replaced) {
			continue
		}
		above := max(0, c.units-option.DefaultUnits)
		charged := max(0, above-free)
		free -= above - charged
		price := max(0, p.unitPrice(item, group, option, size)-included)
		sum += int64(charged) * price
		p.options = append(p.options, PricedOption{
			ID: option.ID, Name: option.Name, Units: c.units, ChargedUnits: charged, UnitPrice: price,
		})
	}
	return sum
}

// included is the price of a substitution group's default option, which the item's own price contains.
func (p *pricer) included(item *Item, group *OptionGroup, size string) int64 {
	for o := range group.Options {
		if group.Options[o].DefaultUnits > 0 {
			return p.unitPrice(item, group, &group.Options[o], size)
		}
	}
	return 0
}

// unitPrice is what a unit of an option costs in a size: the price for that size, else the flat price.
func (p *pricer) unitPrice(item *Item, group *OptionGroup, option *Option, size string) int64 {
	if price, ok := option.PriceBySize[size]; ok {
		return p.view.Overlay.price(price, item.ID, group.ID, option.ID, size)
	}
	if option.Price == nil {
		return 0
	}
	return p.view.Overlay.price(*option.Price, item.ID, group.ID, option.ID)
}

// total adds the tip and closes the sums. A line is at most MaxTotal, so what the goods come to cannot overflow; what a
// tip beyond all bounds makes of the total is refused with it.
func (p *pricer) total(q *Quote, tip int64) {
	goods := q.Subtotal - q.Discount + q.Tax
	if goods > MaxTotal {
		p.faults.Add("/lines", fmt.Sprintf("come to more than %d", MaxTotal))
	}
	switch {
	case tip < 0 || tip > MaxTotal:
		p.faults.Add("/tip", fmt.Sprintf("must be from 0 to %d", MaxTotal))
	case goods <= MaxTotal && goods+tip > MaxTotal:
		p.faults.Add("/tip", fmt.Sprintf("brings the total to more than %d", MaxTotal))
	}
	q.Tip, q.Total = tip, goods+tip
}
