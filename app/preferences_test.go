package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

// reachable is an order of somebody with addresses.
func (s *shop) reachable(t *testing.T, customer object) order {
	t.Helper()
	body := atCounter()
	body["customer"] = customer
	return s.place(t, body).wants(t, 201).order(t)
}

var ada = object{"name": "Ada", "email": "ada@example.com", "phone": "+1 415 555 0100"}

func preference(kind, channel string, allowed bool) object {
	return object{"kind": kind, "channel": channel, "allowed": allowed}
}

func (s *shop) prefer(t *testing.T, o order, preferences ...object) answer {
	t.Helper()
	return s.call(t, "PUT", o.path()+"/preferences", o.Token, object{"preferences": append([]object{}, preferences...)})
}

// preferences are all that an order's customer has, and how many of them are allowed.
func (a answer) preferences(t *testing.T) (all []db.Preference, allowed int) {
	t.Helper()
	var body preferencesAnswer
	a.wants(t, 200).into(t, &body)
	for _, p := range body.Preferences {
		if p.Allowed {
			allowed++
		}
	}
	return body.Preferences, allowed
}

func TestPreferences(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o := s.reachable(t, ada)
	all, allowed := s.call(t, "GET", o.path()+"/preferences", o.Token, nil).preferences(t)
	if len(all) != 10 || allowed != 8 || slices.ContainsFunc(all, func(p db.Preference) bool { return p.Allowed == (p.Kind == "marketing") }) {
		t.Errorf("before anything was said: %+v", all)
	}
	all, _ = s.prefer(t, o, preference("order_ready", "email", false), preference("marketing", "sms", true)).preferences(t)
	for _, want := range []db.Preference{{Kind: "order_ready", Channel: "email"}, {Kind: "order_ready", Channel: "sms", Allowed: true}, {Kind: "marketing", Channel: "sms", Allowed: true}, {Kind: "marketing", Channel: "email"}} {
		if !slices.Contains(all, want) {
			t.Errorf("%+v is not among %+v", want, all)
		}
	}
	if same, _ := s.prefer(t, o).preferences(t); !slices.Equal(same, all) {
		t.Errorf("saying nothing changes %+v to %+v", all, same)
	}
	later := s.reachable(t, object{"name": "Ada", "email": "ada@example.com"})
	if again, allowed := s.call(t, "GET", later.path()+"/preferences", later.Token, nil).preferences(t); len(again) != 5 || allowed != 3 {
		t.Errorf("of another order with the address: %+v", again)
	}
	shouted := s.reachable(t, object{"name": "Ada", "email": "ADA@Example.com", "phone": "+1 (415) 555-0100"})
	if spelt, _ := s.call(t, "GET", shouted.path()+"/preferences", shouted.Token, nil).preferences(t); !slices.Equal(spelt, all) {
		t.Errorf("the same addresses, spelt otherwise: %+v", spelt)
	}
	nobody := s.place(t, atCounter()).order(t)
	if none := s.call(t, "GET", nobody.path()+"/preferences", nobody.Token, nil).wants(t, 200); string(none.body) != "{\"preferences\":[]}\n" {
		t.Errorf("without an address: %s", none.body)
	}
}

func TestPreferencesAreRefused(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	o, other := s.reachable(t, object{"name": "Ada", "email": "ada@example.com"}), s.reachable(t, ada)
	s.prefer(t, o, preference("order_ready", "sms", true)).wantsProblem(t, 422, "invalid", "/preferences/0/channel")
	s.prefer(t, o, preference("order_ready", "email", true), preference("refund_issued", "email", true), preference("order_ready", "email", false)).
		wantsProblem(t, 422, "invalid", "/preferences/2/kind")
	s.prefer(t, o, preference("password_reset", "email", true), preference("order_ready", "pigeon", true),
		object{"kind": "order_ready", "channel": "email"}, object{"kind": "marketing", "channel": "email", "allowed": "yes", "x": 1}).
		wantsProblem(t, 422, "invalid", "/preferences/0/kind", "/preferences/1/channel", "/preferences/2/allowed", "/preferences/3/allowed", "/preferences/3/x")
	s.call(t, "PUT", o.path()+"/preferences", o.Token, object{}).wantsProblem(t, 422, "invalid", "/preferences")
	s.call(t, "PUT", o.path()+"/preferences", o.Token, object{"preferences": make([]object, 16)}).wantsProblem(t, 422, "invalid", "/preferences")
	s.call(t, "PUT", o.path()+"/preferences", o.Token, "{").wantsProblem(t, 400, "malformed_json")
	for _, token := range []string{other.Token, s.device(t, testStore), s.staff(t, "mia", db.Admin)} {
		s.call(t, "GET", o.path()+"/preferences", token, nil).wantsProblem(t, 403, "forbidden")
		s.call(t, "PUT", o.path()+"/preferences", token, object{"preferences": []object{}}).wantsProblem(t, 403, "forbidden")
	}
	s.call(t, "GET", "/v1/stores/"+testStore+"/orders/"+uuid.NewString()+"/preferences", o.Token, nil).wantsProblem(t, 403, "forbidden")
	if _, allowed := s.call(t, "GET", o.path()+"/preferences", o.Token, nil).preferences(t); allowed != 4 {
		t.Errorf("something was kept of what was refused: %d", allowed)
	}
}

// TestLongestAddress has addresses of the greatest length that is accepted, each a key of its preferences.
func TestLongestAddress(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	push := make([]byte, maxAddress)
	for i := range push {
		push[i] = byte('!' + rand.IntN('~'-'!'+1))
	}
	o := s.reachable(t, object{"name": "Ada", "push": string(push)})
	if _, allowed := s.prefer(t, o, preference("marketing", "push", true)).preferences(t); allowed != 5 {
		t.Errorf("%d kinds are allowed", allowed)
	}
	body := atCounter()
	for _, wrong := range []string{string(push) + "x", "ünï", "a b"} {
		body["customer"] = object{"name": "Ada", "push": wrong}
		s.place(t, body).wantsProblem(t, 422, "invalid", "/customer/push")
	}
}

// TestPreferencesAreHonoured goes from the customer's no to the log of what was not sent.
func TestPreferencesAreHonoured(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	device := s.device(t, testStore)
	o := s.reachable(t, ada)
	s.prefer(t, o, preference("order_ready", "email", false)).wants(t, 200)
	s.do(t, device, "ready", o, "applied")
	want := []string{"order_ready email ada@example.com suppressed", "order_ready sms +14155550100 sent"}
	dbtest.Becomes(t, 10*time.Second, "it is logged that one was not sent", func() bool {
		said := slices.DeleteFunc(s.outcomes(t, o.ID), func(line string) bool { return line[:11] != "order_ready" })
		slices.Sort(said)
		return slices.Equal(said, want)
	})
}
