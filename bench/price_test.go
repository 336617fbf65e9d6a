package main

import (
	"encoding/json"
	"math/big"
	"testing"
)

const richMenu = `{"id":"latte","tax_rate":"0.0875","sizes":[{"id":"small","price":475},{"id":"large","price":575}],"option_groups":[
	{"substitution":true,"options":[{"id":"whole","price":10,"default_units":1},{"id":"skim","price":5},{"id":"oat","price":1,"price_by_size":{"large":80}}]},
	{"free_units":2,"options":[{"id":"vanilla","price":40,"default_units":1},{"id":"maple","price":60}]}]}`

func TestMenuPrices(t *testing.T) {
	t.Parallel()
	var item menuItem
	if err := json.Unmarshal([]byte(richMenu), &item); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]int64{
		`{"size":"small","quantity":1}`:                                                                 475,
		`{"size":"large","quantity":3}`:                                                                 3 * 575,
		`{"size":"large","quantity":1,"options":[{"id":"oat","units":1}]}`:                              575 + 70,
		`{"size":"small","quantity":1,"options":[{"id":"skim","units":1}]}`:                             475,
		`{"size":"small","quantity":2,"options":[{"id":"maple","units":3},{"id":"vanilla","units":2}]}`: 2 * (475 + 2*60),
		`{"size":"small","quantity":1,"options":[{"id":"vanilla","units":0}]}`:                          475,
		`{"size":"small","quantity":1,"options":[{"id":"vanilla","units":4},{"id":"whole","units":1}]}`: 475 + 40,
		`{"size":"huge","quantity":1}`:                                                                  0,
		`{"size":"small","quantity":1,"options":[{"id":"gold","units":1}]}`:                             0,
	} {
		var w wanted
		if err := json.Unmarshal([]byte(line), &w); err != nil {
			t.Fatal(err)
		}
		if err := w.price(item); w.total != want || (err == nil) != (want > 0) {
			t.Errorf("%s costs %d, not %d: %v", line, w.total, want, err)
		}
	}
}

func TestTaxIsRoundedHalfEven(t *testing.T) {
	t.Parallel()
	for exact, want := range map[string]int64{"0": 0, "0.5": 0, "1.5": 2, "2.5": 2, "2.51": 3, "2.49": 2, "45.9375": 46} {
		n, _ := new(big.Rat).SetString(exact)
		if got := halfEven(n); got != want {
			t.Errorf("%s becomes %d, not %d", exact, got, want)
		}
	}
}
