package db_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"pgregory.net/rapid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// paidOrder is an order of any lines with any tax, paid in one of the two ways.
func paidOrder(t *rapid.T, method string) *db.Order {
	quote := db.Quote{Currency: "USD", Tip: rapid.Int64Range(0, 500).Draw(t, "tip")}
	for i := range rapid.IntRange(1, 4).Draw(t, "lines") {
		line := db.PricedLine{Item: "latte", Name: "Latte", Quantity: rapid.IntRange(1, 99).Draw(t, fmt.Sprintf("quantity %d", i)),
			UnitPrice: rapid.Int64Range(0, 2000).Draw(t, "price"), Options: []db.PricedOption{}}
		line.Total = int64(line.Quantity) * line.UnitPrice
		line.Tax = rapid.Int64Range(0, line.Total/4).Draw(t, "tax")
		quote.Lines, quote.Subtotal, quote.Tax = append(quote.Lines, line), quote.Subtotal+line.Total, quote.Tax+line.Tax
	}
	quote.Total = quote.Subtotal + quote.Tax + quote.Tip
	if quote.Total == 0 {
		quote.Tip, quote.Total = 1, 1
	}
	o := db.NewOrder(&db.Store{ID: 1, Slug: "shop"}, "in_store", db.Customer{Name: "Ada"}, &quote, method, "tok_visa", nil, nil)
	var err error
	if method == "card" {
		err = db.Settle(db.Charged{Attempt: 1, Status: db.Captured})(o, time.Now())
	} else {
		o.Payment.Captured, o.Payment.Status = quote.Total, db.Captured // as take_payment does
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// checkRefunds fails unless the order's refunds and what it says of its money agree.
func checkRefunds(t *rapid.T, o *db.Order) {
	var given, begun, tax, tip int64
	open := false
	units := make([]int, len(o.Snapshot.Lines))
	for i, r := range o.Refunds {
		if r.N != i+1 || r.Amount <= 0 || r.Sales < 0 || r.Tax < 0 || r.Tip < 0 || r.Amount != r.Sales+r.Tax+r.Tip {
			t.Fatalf("refund %d is %+v", i, r)
		}
		begun, tax, tip = begun+r.Amount, tax+r.Tax, tip+r.Tip
		if r.Status == db.RefundGiven {
			given += r.Amount
		} else {
			open = true
		}
		for _, part := range r.Lines {
			units[part.Line] += part.Quantity
		}
	}
	whole := tip == o.Snapshot.Tip
	for i, n := range units {
		if n > o.Snapshot.Lines[i].Quantity {
			t.Fatalf("%d of %d units of line %d went back", n, o.Snapshot.Lines[i].Quantity, i)
		}
		whole = whole && n == o.Snapshot.Lines[i].Quantity
	}
	switch p := o.Payment; {
	case given != p.Refunded || begun > p.Captured || tax > o.Snapshot.Tax || tip > o.Snapshot.Tip:
		t.Fatalf("given %d, begun %d, tax %d, tip %d of %+v: payment %+v", given, begun, tax, tip, o.Snapshot.Quote, p)
	case whole && (begun != o.Snapshot.Total || tax != o.Snapshot.Tax):
		t.Fatalf("all units are %d of %d, their tax %d of %d", begun, o.Snapshot.Total, tax, o.Snapshot.Tax)
	case open != (p.Status == db.RefundPending),
		!open && (p.Refunded == p.Captured) != (p.Status == db.Refunded),
		!open && (p.Refunded > 0 && p.Refunded < p.Captured) != (p.Status == db.PartiallyRefunded):
		t.Fatalf("payment %+v with refunds %+v", p, o.Refunds)
	}
}

// TestRefundsSumToWhatWasPaid gives orders back in any pieces, with a provider that refuses now and then and people who
// cancel in between.
func TestRefundsSumToWhatWasPaid(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := paidOrder(t, rapid.SampledFrom([]string{"card", "counter"}).Draw(t, "method"))
		decide := func(decision db.Decision) error {
			version := o.Version
			err := decision(o, time.Now())
			if err != nil && o.Version != version {
				t.Fatalf("refused with %v, and yet version %d became %d", err, version, o.Version)
			}
			checkRefunds(t, o)
			return err
		}
		ask := func(asked db.RefundRequest) {
			var faults db.Faults
			if err := decide(db.GiveBack(asked, "staff:mia")); err != nil && !errors.As(err, &faults) &&
				!errors.Is(err, db.ErrRefundPending) && !errors.Is(err, db.ErrNotRefundable) {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"refund": func(t *rapid.T) {
				asked := db.RefundRequest{Tip: rapid.Bool().Draw(t, "tip"), Reason: "cold"}
				for range rapid.IntRange(0, 3).Draw(t, "parts") {
					asked.Lines = append(asked.Lines, db.LineUnits{Line: rapid.IntRange(-1, 4).Draw(t, "line"), Quantity: rapid.IntRange(-1, 40).Draw(t, "units")})
				}
				ask(asked)
			},
			"provider": func(t *rapid.T) {
				n, try := rapid.IntRange(0, len(o.Refunds)+1).Draw(t, "n"), rapid.IntRange(1, 3).Draw(t, "try")
				answer := rapid.SampledFrom([]db.Decision{db.RefundDone(n, "re_1"), db.RefundFailed(n, try, "expired_card")}).Draw(t, "says")
				if err := decide(answer); err != nil {
					t.Fatal(err)
				}
			},
			"staff": func(t *rapid.T) {
				n := rapid.IntRange(0, len(o.Refunds)+1).Draw(t, "n")
				how := rapid.SampledFrom([]db.Decision{db.RefundAgain(n, "staff:mia"), db.RefundByHand(n, "staff:mia", "cash")}).Draw(t, "how")
				if err := decide(how); err != nil && !errors.Is(err, db.ErrNotRefused) {
					t.Fatal(err)
				}
			},
			"cancel": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "now") > 0 {
					return
				}
				if err := decide(db.CancelByCustomer("customer", "")); err != nil {
					t.Fatal(err)
				}
			},
		})
		finishRefunds(t, o, decide, ask)
	})
}

// finishRefunds gives back all that is left, unit by unit.
func finishRefunds(t *rapid.T, o *db.Order, decide func(db.Decision) error, ask func(db.RefundRequest)) {
	settle := func() {
		for n := range o.Refunds {
			if err := decide(db.RefundDone(n+1, "re_1")); err != nil {
				t.Fatal(err)
			}
		}
	}
	settle()
	for {
		left, tip := o.Left()
		asked := db.RefundRequest{Tip: tip > 0, Reason: "cold"}
		for i, n := range left {
			if n > 0 && (o.Snapshot.Lines[i].UnitPrice > 0 || asked.Tip) {
				asked.Lines = append(asked.Lines, db.LineUnits{Line: i, Quantity: 1})
			}
		}
		if len(asked.Lines) == 0 && !asked.Tip {
			break
		}
		ask(asked)
		settle()
	}
	if o.Payment.Status != db.Refunded || o.Payment.Refunded != o.Snapshot.Total {
		t.Fatalf("all went back, and the payment is %+v of %d", o.Payment, o.Snapshot.Total)
	}
	if err := decide(db.GiveBack(db.RefundRequest{Reason: "again"}, "staff:mia")); !errors.Is(err, db.ErrNotRefundable) {
		t.Fatalf("and yet more can be given back: %v", err)
	}
}

func TestTheLedgerRefusesWhatDoesNotBalance(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	for name, row := range map[string]string{
		"one cent missing":        `'capture', 100, 0, -90, -9, 0`,
		"card and till":           `'capture', 50, 50, -100, 0, 0`,
		"a capture that gives":    `'capture', -100, 0, 90, 10, 0`,
		"a refund that takes":     `'refund', 100, 0, -90, -10, 0`,
		"a refund of nothing":     `'refund', 0, 0, 0, 0, 0`,
		"tax that goes elsewhere": `'capture', 100, 0, -110, 10, 0`,
	} {
		_, err := pool.Exec(t.Context(), `
    insert into ledger (store_id, order_id, version, kind, card, till, sales, tax, tips, at)
    values (1, uuid_floor(now()), 1, `+row+`, now())`)
		if !refusedWith(err, "23514") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMigratingOldRefunds brings a database of before there were refunds up to date, and back.
func TestMigratingOldRefunds(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	database := stdlib.OpenDB(*pool.Config().ConnConfig)
	t.Cleanup(func() { _ = database.Close() })
	provider, err := goose.NewProvider(goose.DialectPostgres, database, os.DirFS("migrations"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.DownTo(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	const quote = `{"lines": [{"quantity": 2}, {"quantity": 1}], "subtotal": 900, "tax": 90, "tip": 10, "total": 1000}`
	for i, x := range []struct{ method, payment, steps string }{
		{"card", "captured", "pending captured captured"}, {"card", "refund_pending", "pending captured refund_pending"},
		{"card", "refunded", "pending refund_pending refunded"}, {"counter", "refunded", "due captured refunded"}, {"counter", "void", "due void"},
	} {
		if _, err := pool.Exec(t.Context(), `
    with made as (
        insert into orders (store_id, id, number, status, version, fulfilment, snapshot, total, payment_method, payment_status, captured, refunded, updated_at)
        select 1, $1, $2, 'cancelled', 3, 'pickup', $3, 1000, $4, $5, case $5 when 'void' then 0 else 1000 end, case $5 when 'refunded' then 1000 else 0 end, now()
    )
    insert into order_history (store_id, order_id, version, status, payment_status, by, at, origin)
    select 1, $1, place, 'cancelled', step, 'customer', now(), 0 from unnest(string_to_array($6, ' ')) with ordinality as v (step, place)`,
			uuid.Must(uuid.NewV7()), i+1, quote, x.method, x.payment, x.steps); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := provider.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := texts(t, pool, `
    select concat_ws(' ', o.number, r.amount, r.sales, r.tax, r.tip, r.method, r.status, r.lines)
    from refunds r join orders o on o.id = r.order_id
    union all
    select concat_ws(' ', o.number, l.kind, l.version, l.card, l.till, l.sales, l.tax, l.tips)
    from ledger l join orders o on o.id = l.order_id
    order by 1`)
	lines := `[{"line": 0, "quantity": 2}, {"line": 1, "quantity": 1}]`
	want := []string{
		"1 capture 2 1000 0 -900 -90 -10",
		"2 1000 900 90 10 card pending " + lines, "2 capture 2 1000 0 -900 -90 -10",
		"3 1000 900 90 10 card done " + lines, "3 capture 2 1000 0 -900 -90 -10", "3 refund 3 -1000 0 900 90 10",
		"4 1000 900 90 10 till done " + lines, "4 capture 2 0 1000 -900 -90 -10", "4 refund 3 0 -1000 900 90 10",
	}
	if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
		t.Errorf("got\n%q, want\n%q", got, want)
	}
}

// TestRefundsInTheDatabase moves one order's refunds through the write path, and finds them again as they were.
func TestRefundsInTheDatabase(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	w := openTill(t, pool, 0)
	placed, err := w.Place(t.Context(), w.latte(t, "card", "k"))
	if err != nil {
		t.Fatal(err)
	}
	ref := placed.Order.Ref()
	asked := db.RefundRequest{Lines: []db.LineUnits{{Line: 0, Quantity: 1}}, Reason: "cold"}
	for _, decide := range []db.Decision{
		db.Settle(db.Charged{Attempt: 1, Status: db.Captured, Ref: "ch_1"}), db.GiveBack(asked, "staff:mia"), db.RefundFailed(1, 1, "expired_card"),
		db.RefundAgain(1, "staff:mia"), db.RefundFailed(1, 1, "late"), db.RefundDone(1, "re_1"), db.RefundFailed(1, 2, "never mind"),
	} {
		now, err := w.Settle(t.Context(), ref, decide)
		if err != nil {
			t.Fatal(err)
		}
		read, err := db.OrderByID(t.Context(), pool, ref)
		if err != nil || string(read.JSON()) != string(now.JSON()) || fmt.Sprint(read.Refunds) != fmt.Sprint(now.Refunds) {
			t.Fatalf("written is\n%s %+v, read\n%s %+v, %v", now.JSON(), now.Refunds, read.JSON(), read.Refunds, err)
		}
		stuck, err := db.StuckRefunds(t.Context(), pool, time.Now().Add(time.Minute), 10)
		if open := len(now.Refunds) > 0 && now.Refunds[0].Status == db.RefundAsked; err != nil || (len(stuck) > 0) != open {
			t.Errorf("with refunds %+v stuck are %v, %v", now.Refunds, stuck, err)
		}
	}
	read, err := db.OrderByID(t.Context(), pool, ref)
	if err != nil || read.Version != 6 || read.Refunds[0].Key(ref) != fmt.Sprintf("refund-%d-%s-1-2", ref.StoreID, ref.ID) || read.Refunds[0].Ref != "re_1" {
		t.Errorf("version %d, %+v, %v", read.Version, read.Refunds, err)
	}
	var nothing bool
	err = pool.QueryRow(t.Context(), `select (sum(card), sum(till), sum(sales), sum(tax), sum(tips)) = (0, 0, 0, 0, 0) from ledger`).Scan(&nothing)
	if err != nil || !nothing {
		t.Errorf("all went back, and the ledger has something, %v", err)
	}
	err = pgx.BeginFunc(context.WithoutCancel(t.Context()), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `update orders set refunded = captured + 1 where id = $1`, ref.ID)
		return err
	})
	if !refusedWith(err, "23514") {
		t.Errorf("more is refunded than was captured: %v", err)
	}
}
