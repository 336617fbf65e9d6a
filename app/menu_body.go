package main

import (
	"encoding/json"
	"errors"
	"math"
	"strings"

	"frenchpress/db"
)

// anyLength and anyInt leave bounds to the rules of a menu, which tell all that break them at once.
const anyLength, anyInt = bodyLimit, math.MaxInt32

// readMenu reads a menu for a store that sells in currency, and holds it to the rules of a menu.
func readMenu(f *fields, currency string) (*db.Menu, error) {
	f.optionalText("version", 0, anyLength)
	if f.has("currency") {
		f.oneOf("currency", currency)
	}
	m := &db.Menu{Currency: currency}
	for _, category := range f.list("categories", 0, anyLength) {
		c := db.Category{Name: category.text("name", 0, anyLength)}
		for _, item := range category.list("items", 0, anyLength) {
			c.Items = append(c.Items, readItem(item))
		}
		m.Categories = append(m.Categories, c)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	menu, err := db.ParseMenu(data)
	var broken db.Faults
	if errors.As(err, &broken) {
		err = broken.Apart(inItems(*f.faults)).Err()
	}
	if fault := f.errWith(err); fault != nil {
		return nil, fault
	}
	return menu, err
}

// inItems moves each fault up to the item that it is in: an item that could not be read whole may break the rules of a menu
// only for want of what is missing.
func inItems(faults db.Faults) db.Faults {
	items := make(db.Faults, len(faults))
	for i, fault := range faults {
		path := strings.Split(fault.Pointer, "/") // "", categories, n, items, n, and what is in it
		items[i].Pointer = strings.Join(path[:min(len(path), 5)], "/")
	}
	return items
}

func readItem(f *fields) db.Item {
	item := db.Item{
		ID: f.text("id", 0, anyLength), Name: f.text("name", 0, anyLength), Description: f.text("description", 0, anyLength), Image: f.optionalText("image", 0, anyLength),
		BasePrice: f.optionalInt64("base_price", -anyInt, anyInt), TaxRate: f.text("tax_rate", 0, anyLength),
		Available: f.bool("available"), AvailableFrom: f.optionalTime("available_from"),
	}
	for _, size := range f.list("sizes", 0, anyLength) {
		item.Sizes = append(item.Sizes, db.Size{ID: size.text("id", 0, anyLength), Name: size.text("name", 0, anyLength), Price: size.int64("price", -anyInt, anyInt)})
	}
	for _, group := range f.list("option_groups", 0, anyLength) {
		item.OptionGroups = append(item.OptionGroups, readGroup(group))
	}
	return item
}

func readGroup(f *fields) db.OptionGroup {
	group := db.OptionGroup{
		ID: f.text("id", 0, anyLength), Name: f.text("name", 0, anyLength), Substitution: f.bool("substitution"),
		MinUnits: f.int("min_units", -anyInt, anyInt), MaxUnits: f.optionalInt("max_units", -anyInt, anyInt),
		MinUnique: f.int("min_unique", -anyInt, anyInt), MaxUnique: f.optionalInt("max_unique", -anyInt, anyInt), FreeUnits: f.int("free_units", -anyInt, anyInt),
	}
	for _, option := range f.list("options", 0, anyLength) {
		group.Options = append(group.Options, db.Option{
			ID: option.text("id", 0, anyLength), Name: option.text("name", 0, anyLength), Price: option.optionalInt64("price", -anyInt, anyInt),
			PriceBySize: option.prices("price_by_size"), DefaultUnits: option.int("default_units", -anyInt, anyInt), MaxUnits: option.int("max_units", -anyInt, anyInt),
			Available: option.bool("available"), AvailableFrom: option.optionalTime("available_from"),
		})
	}
	return group
}

// bool is a required true or false.
func (f *fields) bool(name string) bool {
	v := f.look(name)
	switch {
	case f.object == nil:
	case v == nil:
		f.fault(name, "is required")
	case v.kind != 't' && v.kind != 'f':
		f.fault(name, "must be true or false")
	default:
		return v.kind == 't'
	}
	return false
}

// prices is an optional object of prices; nil where it is absent.
func (f *fields) prices(name string) map[string]int64 {
	if !f.has(name) {
		return nil
	}
	child := f.child(name)
	if child.object == nil {
		return nil
	}
	prices := map[string]int64{}
	for _, m := range child.object.members {
		prices[m.name] = child.int64(m.name, -anyInt, anyInt)
	}
	return prices
}
