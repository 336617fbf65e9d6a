package main

import (
	"encoding/json"
	"fmt"
)

// Basket is what a customer wants, as the bytes that are sent for it. There are few, made before the run.
type Basket struct {
	Quote   []byte // a whole request
	Place   []byte // a request up to the expected total, which number and End complete
	End     []byte
	Counter bool  // paid at the till
	Total   int64 // as quoted before the run, for placing without a quote
	Tip     int64
	lines   []wanted
}

// wants are the lines of the baskets, made of what the contract says every demo menu has.
var wants = []string{
	`[{"item":"latte","size":"small","quantity":1}]`,
	`[{"item":"latte","size":"medium","options":[{"id":"oat","units":1}],"quantity":1}]`,
	`[{"item":"latte","size":"large","options":[{"id":"oat","units":1},{"id":"shot","units":2}],"quantity":1},{"item":"croissant","quantity":1}]`,
	`[{"item":"latte","size":"medium","options":[{"id":"shot","units":1}],"quantity":2}]`,
	`[{"item":"croissant","quantity":2},{"item":"latte","size":"small","quantity":1,"note":"extra hot"}]`,
	`[{"item":"croissant","quantity":1}]`,
}

var customers = []string{"Ada", "Grace", "Edsger", "Barbara", "Donald", "Radia", "Tony"}

// Payment is how orders of a run are paid.
type Payment string

const (
	byCard    Payment = "card"    // by a card that is good
	byCounter Payment = "counter" // at the till
	byBoth    Payment = "both"    // every second order
)

// makeBaskets makes every combination of wants and ways to pay. The mark is part of each customer's name, and tells
// the orders of this run from others.
func makeBaskets(payment Payment, mark string, emails bool) []*Basket {
	methods := map[Payment][]bool{byCard: {false}, byCounter: {true}, byBoth: {false, true}}[payment]
	var baskets []*Basket
	for i, lines := range wants {
		for _, counter := range methods {
			baskets = append(baskets, makeBasket(i, lines, counter, customers[i%len(customers)]+" "+mark, emails))
		}
	}
	return baskets
}

func makeBasket(i int, lines string, counter bool, name string, emails bool) *Basket {
	fulfilment, tip := "pickup", int64(i%2*100)
	pay := `{"method":"card","token":"tok_visa"}`
	if counter {
		pay = `{"method":"counter"}`
	}
	if counter || i%2 == 1 {
		fulfilment = "in_store"
	}
	customer := map[string]string{"name": name}
	if emails {
		customer["email"] = "ada@example.com"
	}
	who, err := json.Marshal(customer)
	if err != nil {
		panic(err) // strings always marshal
	}
	var asked []wanted
	if err := json.Unmarshal([]byte(lines), &asked); err != nil {
		panic(err) // they are ours
	}
	what := fmt.Sprintf(`{"fulfilment":%q,"lines":%s,"tip":%d`, fulfilment, lines, tip)
	return &Basket{
		Quote:   []byte(what + "}"),
		Place:   fmt.Appendf(nil, `%s,"customer":%s,"payment":%s,"expected_total":`, what, who, pay),
		End:     []byte("}"),
		Counter: counter,
		Tip:     tip,
		lines:   asked,
	}
}
