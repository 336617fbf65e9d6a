package sandbox

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// create opens an intent, and confirms it at once if asked to.
func (s *Sandbox) create(c *call) (*line, error) {
	in, err := readIntent(c.form)
	if err != nil {
		return nil, err
	}
	in.Index = s.intents.len()
	if c.form.get("confirm") == "true" {
		return s.decide(c, in)
	}
	l := c.answered(&line{Kind: created, Status: http.StatusOK, Intent: in})
	return l, s.record(l)
}

func readIntent(f form) (*intentState, error) {
	in := &intentState{Currency: strings.ToLower(f.get("currency")), Status: statuses[requiresMethod]}
	var err error
	if in.Amount, err = f.amount("amount"); err != nil {
		return nil, err
	}
	if in.Currency == "" {
		return nil, invalid("parameter_missing", "currency", "Missing required param: currency.")
	}
	if len(in.Currency) != 3 || strings.Trim(in.Currency, "abcdefghijklmnopqrstuvwxyz") != "" {
		return nil, invalid("parameter_invalid_string", "currency", "Invalid currency: "+in.Currency)
	}
	if method := f.get("capture_method"); method != "" && !strings.HasPrefix(method, "automatic") {
		return nil, invalid("parameter_unknown", "capture_method", "The sandbox captures automatically.")
	}
	in.Types = f.all("payment_method_types")
	if len(in.Types) == 0 {
		in.Types = []string{"card"}
	}
	if len(strings.Join(in.Types, "")) > typesMax {
		return nil, invalid("", "payment_method_types", "Too many payment method types.")
	}
	if !slices.Contains(in.Types, "card") {
		return nil, invalid("payment_method_unactivated", "payment_method_types", "The sandbox knows cards only.")
	}
	if in.Description = f.get("description"); len(in.Description) > descriptionMax {
		return nil, invalid("", "description", "A description has at most 1,000 characters.")
	}
	if in.Metadata, err = f.metadata(); err != nil {
		return nil, err
	}
	return in, in.readMethod(f)
}

// readMethod takes the card of a call, if it brings one.
func (in *intentState) readMethod(f form) error {
	token := f.get(cardToken)
	if name, ok := strings.CutPrefix(f.get("payment_method"), "pm_card_"); ok && token == "" {
		token = "tok_" + name
	}
	switch {
	case token == "" && f.get("payment_method") != "":
		return missing("PaymentMethod", "payment_method", f.get("payment_method"))
	case token == "":
		return nil
	}
	if kind := f.get("payment_method_data[type]"); kind != "" && kind != "card" {
		return invalid("parameter_unknown", "payment_method_data[type]", "The sandbox knows cards only.")
	}
	if _, _, known := readToken(token); !known {
		return unknownToken(token)
	}
	in.Token = token
	if in.Status == statuses[requiresMethod] {
		in.Status = statuses[requiresConfirmation]
	}
	return nil
}

// confirm charges the card of an intent.
func (s *Sandbox) confirm(c *call) (*line, error) {
	before, err := s.intentOf(c.r.PathValue("id"), "intent")
	if err != nil {
		return nil, err
	}
	in := *before
	if slices.Contains([]string{statuses[succeeded], statuses[isCanceled], statuses[inProcess]}, in.Status) {
		return s.refuse(c, before, unexpectedState("confirm", in.Status))
	}
	if err := in.readMethod(c.form); err != nil {
		return nil, err
	}
	if in.Token == "" {
		return s.refuse(c, before, invalid("payment_intent_unexpected_state", "payment_method",
			"You cannot confirm this PaymentIntent because it's missing a payment method."))
	}
	return s.decide(c, &in)
}

var cancelReasons = []string{"", "abandoned", "duplicate", "fraudulent", "requested_by_customer"}

// cancel ends an intent that has not been charged.
func (s *Sandbox) cancel(c *call) (*line, error) {
	before, err := s.intentOf(c.r.PathValue("id"), "intent")
	if err != nil {
		return nil, err
	}
	reason := c.form.get("cancellation_reason")
	if !slices.Contains(cancelReasons, reason) {
		return nil, invalid("", "cancellation_reason", "Invalid cancellation_reason.")
	}
	switch before.Status {
	case statuses[succeeded], statuses[isCanceled], statuses[inProcess]:
		return s.refuse(c, before, unexpectedState("cancel", before.Status))
	}
	in := *before
	in.Status, in.Reason, in.CanceledAt = statuses[isCanceled], reason, time.Now().UnixMicro()
	l := c.answered(&line{Kind: canceled, Status: http.StatusOK, Intent: &in})
	return l, s.record(l)
}

// intentOf is the present state of an intent; s.mu is held.
func (s *Sandbox) intentOf(id, param string) (*intentState, error) {
	index, ok := s.index("pi", id, s.intents.len())
	if !ok {
		return nil, missing("payment_intent", param, id)
	}
	l, err := s.lastLine(index)
	if err != nil {
		return nil, err
	}
	return l.Intent, nil
}

func (s *Sandbox) getIntent(c *call) (any, error) {
	s.mu.Lock()
	index, ok := s.index("pi", c.r.PathValue("id"), s.intents.len())
	s.mu.Unlock()
	if !ok {
		return nil, missing("payment_intent", "intent", c.r.PathValue("id"))
	}
	return s.seenIntent(index, c.expand)
}

// seenIntent is an intent as it stands on disk: what is seen is never taken back by a crash.
func (s *Sandbox) seenIntent(index int, expand bool) (*intentShape, error) {
	s.mu.Lock()
	l, at := s.recent[index%recentMax], s.intents.get(index).at
	s.mu.Unlock()
	if l == nil || l.Intent.Index != index {
		read, err := s.books.read(at)
		if err != nil {
			return nil, err
		}
		l = read
	} else if err := s.books.durable(at); err != nil {
		return nil, err
	}
	return s.shapeIntent(l.Intent, expand), nil
}

func (s *Sandbox) listIntents(c *call) (any, error) {
	page, err := s.readPage(c.form)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	from := s.intents.len()
	if after := c.form.get("starting_after"); after != "" {
		index, ok := s.index("pi", after, from)
		if !ok {
			s.mu.Unlock()
			return nil, missing("payment_intent", "starting_after", after)
		}
		from = index
	}
	found := page.pick(from, func(i int) int64 { return s.intents.get(i).created })
	s.mu.Unlock()
	list := &listShape{Object: "list", URL: "/v1/payment_intents", HasMore: len(found) > page.limit, Data: []any{}}
	for _, index := range found[:min(len(found), page.limit)] {
		in, err := s.seenIntent(index, c.expand)
		if err != nil {
			return nil, err
		}
		list.Data = append(list.Data, in)
	}
	return list, nil
}
