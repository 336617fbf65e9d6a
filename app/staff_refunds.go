package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/labstack/echo/v4"

	"frenchpress/db"
)

const (
	refundsOnPage   = 50
	refundFormLimit = 16 << 10 // bytes of a form with every line of the largest order
	failedCountMost = 1000     // more than that are only "many"
)

// viewRefund is the form that gives back what is left of an order; without lines if that is nothing.
func viewRefund(o *db.Order, store *db.Store) refundForm {
	form := refundForm{Version: o.Version}
	form.Failed = slices.ContainsFunc(o.Refunds, func(r db.Refund) bool { return r.Status == db.RefundRefused })
	if form.Open = o.Payment.Status == db.RefundPending; form.Open || o.Payment.Captured == o.Payment.Refunded {
		return form
	}
	left, tip := o.Left()
	for i := range o.Snapshot.Lines {
		line := &o.Snapshot.Lines[i]
		name := line.Name
		if line.SizeName != "" {
			name += ", " + line.SizeName
		}
		form.Lines = append(form.Lines, refundLine{Name: name, Price: money(line.UnitPrice, store.Currency), Left: left[i], Quantity: line.Quantity})
	}
	if tip > 0 {
		form.Tip = money(tip, store.Currency)
	}
	return form
}

// staffRefund takes that form, and shows it again with what is wrong.
func (a *API) staffRefund(c echo.Context) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	form, err := readForm(c, refundFormLimit)
	if err != nil {
		return err
	}
	asked, err := refundAsked(form)
	if err == nil {
		seen := []string{`"` + form.Get("version") + `"`}
		_, err = a.orders.Advance(c.Request().Context(), ref, ifSeen(seen, db.GiveBack(asked, by(c))))
	}
	if err == nil {
		return c.Redirect(http.StatusSeeOther, "/staff/"+c.Param("store")+"/orders/"+ref.ID.String())
	}
	p := toProblem(err)
	if p.Status >= http.StatusInternalServerError || p.Status == http.StatusNotFound {
		return err
	}
	page, err := a.storyOf(c)
	if err != nil {
		return err
	}
	page.Refund.refused(p, asked)
	return writePage(c, p.Status, "story", page)
}

// refundAsked reads the form. A line that is left at nothing is not asked for.
func refundAsked(form url.Values) (db.RefundRequest, error) {
	asked := db.RefundRequest{Tip: form.Get("tip") != "", Reason: strings.TrimSpace(form.Get("reason"))}
	for i := range db.MaxLines {
		text := strings.TrimSpace(form.Get("line" + strconv.Itoa(i)))
		if text == "" || text == "0" {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 31)
		if err != nil {
			return asked, problem("invalid", "how many of a line must be a whole number")
		}
		asked.Lines = append(asked.Lines, db.LineUnits{Line: i, Quantity: int(n)})
	}
	return asked, checkReason(asked.Reason, 1)
}

func checkReason(reason string, least int) error {
	if fault := db.TextFault(reason, least, maxReason); fault != "" {
		return problem("invalid", "the reason "+fault)
	}
	return nil
}

// refused puts the reason to the form, with what had been filled in. It stays empty where the order has changed: that may
// have been this very refund, by a second press or with an answer that got lost, and one more press would give it back twice.
func (f *refundForm) refused(p *Problem, asked db.RefundRequest) {
	if p.Status == http.StatusPreconditionFailed {
		f.Faults = []string{"The order has changed meanwhile, perhaps by this very refund. Nothing more was given back now: look at what was, then fill in anew."}
		return
	}
	f.Reason, f.TipAsked = asked.Reason, asked.Tip
	if len(p.Errors) == 0 {
		f.Faults = []string{sentence(p.Detail)}
	}
	for _, fault := range p.Errors {
		f.Faults = append(f.Faults, f.words(fault, asked))
	}
	for _, part := range asked.Lines {
		if part.Line < len(f.Lines) {
			f.Lines[part.Line].Asked = part.Quantity
		}
	}
}

// words says a fault by the name of the line that it is about.
func (f *refundForm) words(fault db.Fault, asked db.RefundRequest) string {
	var at int
	if n, _ := fmt.Sscanf(fault.Pointer, "/lines/%d/", &at); n == 1 && asked.Lines[at].Line < len(f.Lines) {
		return f.Lines[asked.Lines[at].Line].Name + ": the number " + fault.Detail + "."
	}
	if fault.Pointer == "/tip" {
		return "The tip " + fault.Detail + "."
	}
	return "The refund " + fault.Detail + "."
}

// staffRefunds lists the refunds that the provider has refused for good, of all stores.
func (a *API) staffRefunds(c echo.Context) error { return a.showRefunds(c, http.StatusOK, "") }

// showRefunds is that list with what went wrong with the one just seen to, if something did.
func (a *API) showRefunds(c echo.Context, status int, fault string) error {
	q := readQuery(c)
	after, n, ok := refundPlace(q.cursor(refundList))
	if !ok {
		q.fault("cursor is not one of ours")
	}
	if q.err != nil {
		return q.err
	}
	failed, err := db.FailedRefunds(c.Request().Context(), a.pool, after, n, refundsOnPage+1)
	if err != nil {
		return err
	}
	page := refundsPage{
		head: head{Title: "Failed refunds"}, Fault: fault,
		pager: pager{Path: "/staff/refunds", More: "More refunds", After: after != uuid.Nil},
	}
	if len(failed) > refundsOnPage {
		failed = failed[:refundsOnPage]
		last := failed[refundsOnPage-1]
		page.Next = newCursor(refundList, fmt.Sprintf("%s %d", last.ID, last.N))
	}
	for _, f := range failed {
		page.Refunds = append(page.Refunds, a.viewFailed(f))
	}
	return writePage(c, status, "refunds", page)
}

const refundList = "refunds"

// refundPlace reads where a page of the worklist begins; the first begins at nothing.
func refundPlace(cursor string) (id uuid.UUID, n int, ok bool) {
	if cursor == "" {
		return uuid.Nil, 0, true
	}
	order, place, _ := strings.Cut(cursor, " ")
	id, known := parseUUID(order)
	number, err := strconv.ParseInt(place, 10, 32)
	return id, int(number), known && err == nil
}

func (a *API) viewFailed(f db.FailedRefund) failedRefund {
	v := failedRefund{
		Order: "/staff/" + f.Store + "/orders/" + f.ID.String(), Number: f.Number, Store: f.Store, N: f.N, Customer: f.Customer,
		Amount: money(f.Amount, f.Currency), Reason: f.Reason, By: f.By, Failure: f.Failure, Tries: f.Tries, Since: f.UpdatedAt,
	}
	if store, ok := a.catalog.Store(f.Store); ok {
		v.Store = store.Name
	}
	return v
}

// staffRefundAgain has the provider asked once more, under another key.
func (a *API) staffRefundAgain(c echo.Context) error {
	return a.seeToRefund(c, "refund.tried_again", 0, func(n int, _ string) db.Decision { return db.RefundAgain(n, by(c)) })
}

// staffRefundByHand notes that the money was handed over the counter, and why.
func (a *API) staffRefundByHand(c echo.Context) error {
	return a.seeToRefund(c, "refund.by_hand", 1, func(n int, reason string) db.Decision { return db.RefundByHand(n, by(c), reason) })
}

// seeToRefund settles a failed refund in one of the two ways, with a reason of at least so many characters, and leads
// back to the list, which also tells why it could not be.
func (a *API) seeToRefund(c echo.Context, action string, least int, how func(n int, reason string) db.Decision) error {
	err := a.settleRefund(c, action, least, how)
	if err == nil {
		return c.Redirect(http.StatusSeeOther, "/staff/refunds")
	}
	if p := toProblem(err); wantsPage(c.Request()) && (p.Status == http.StatusConflict || p.Status == http.StatusUnprocessableEntity) {
		return a.showRefunds(c, p.Status, sentence(p.Detail))
	}
	return err
}

func (a *API) settleRefund(c echo.Context, action string, least int, how func(n int, reason string) db.Decision) error {
	ref, err := a.orderRef(c)
	if err != nil {
		return err
	}
	form, err := readForm(c, doorLimit)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(c.Param("n"))
	if err != nil {
		return db.ErrNotFound
	}
	reason := strings.TrimSpace(form.Get("reason"))
	if err := checkReason(reason, least); err != nil {
		return err
	}
	detail := map[string]any{"order": ref.ID, "refund": n}
	if reason != "" {
		detail["reason"] = reason
	}
	_, err = a.orders.AdvanceAudited(c.Request().Context(), ref, how(n, reason), by(c), action, detail)
	return err
}

// readForm reads a form of at most limit bytes.
func readForm(c echo.Context, limit int64) (url.Values, error) {
	req := c.Request()
	if media, _, _ := strings.Cut(req.Header.Get(echo.HeaderContentType), ";"); strings.TrimSpace(media) != echo.MIMEApplicationForm {
		return nil, problem("unsupported_media_type", "the body must be a form")
	}
	req.Body = http.MaxBytesReader(c.Response().Writer, req.Body, limit)
	if err := req.ParseForm(); err != nil {
		var exceeded *http.MaxBytesError
		if errors.As(err, &exceeded) {
			return nil, tooLarge(int(limit))
		}
		return nil, problem("bad_query", "the form is malformed")
	}
	return req.PostForm, nil
}
