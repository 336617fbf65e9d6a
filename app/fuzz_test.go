package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/uuid"

	"frenchpress/db"
)

// serve hands a request to the handlers without a network in between, which would refuse much before them, and holds
// the answer against the contract: no fault of ours, no panic, a problem or what the route promises.
func serve(t *testing.T, handler http.Handler, req *http.Request, body string) answer {
	t.Helper()
	req.Body, req.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, req)
	resp := recorder.Result()
	resp.Request = req
	got := answer{resp, recorder.Body.Bytes()}
	if got.StatusCode >= 500 {
		t.Errorf("%d %s", got.StatusCode, got.body)
	}
	checkContract(t, req, []byte(body), resp, got.body, false)
	return got.tellsNothing(t)
}

func asking(method, path, credential string) *http.Request {
	req := httptest.NewRequestWithContext(context.Background(), method, path, nil)
	req.Header.Set("Content-Type", "application/json")
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	return req
}

// FuzzOrderBody places whatever it can. What is accepted is there, and the sums are right.
func FuzzOrderBody(f *testing.F) {
	s := openShop(f)
	handler := s.api.newEcho()
	for _, seed := range []string{
		`{"fulfilment":"pickup","customer":{"name":"Ada"},"lines":[{"item":"latte","size":"small","quantity":1}],"payment":{"method":"card","token":"tok_visa"}}`,
		`{"fulfilment":"in_store","customer":{"name":"Zoë"},"lines":[{"item":"croissant","quantity":99,"note":"warm"}],"payment":{"method":"counter"},"tip":9000000000000000}`,
		`{"fulfilment":"pickup","pickup_at":"2026-12-01T09:00:00+01:00","customer":{"name":"A","email":"a@b.c","phone":"+1 415 555 0100","push":"x"},"lines":[{"item":"latte","size":"large","quantity":2,"options":[{"id":"oat","units":1},{"id":"shot","units":4},{"id":"shot","units":0}]}],"payment":{"method":"card","token":"tok_declined"},"expected_total":0}`,
		`{"fulfilment":"pickup","customer":{"name":"\u0000"},"lines":[{"item":"latte","quantity":1e2,"options":[{"id":"","units":-1}]}],"payment":{"method":"card","token":""},"tip":-0}`,
		`{"lines":[{},{"item":null},[],{"item":"latte","item":"latte"}],"payment":{"method":"cash","token":1},"extra":{"a":[1,{"b":[]}]}}`,
		`{"fulfilment":"pickup","customer":{"name":"Ada"},"lines":[],"payment":{"method":"counter"},"tip":99999999999999999999}`,
		`[]`, `null`, ``, `{"`, `{"a":"\ud800"}`, "\xff", `{} {}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		req := asking("POST", testOrdersPath, "")
		req.Header.Set("Idempotency-Key", uuid.NewString())
		got := serve(t, handler, req, body)
		switch got.StatusCode {
		case 201, 202:
			o := got.order(t)
			if o.Total != o.Subtotal+o.Tax+o.Tip || o.Subtotal < 0 || o.Tax < 0 || o.Tip < 0 {
				t.Errorf("%d + %d + %d is not %d", o.Subtotal, o.Tax, o.Tip, o.Total)
			}
			serve(t, handler, asking("GET", o.path(), o.Token), "").wants(t, 200)
		case 400, 409, 413, 422:
		default:
			t.Errorf("%d %s", got.StatusCode, got.body)
		}
	})
}

// FuzzCommandsBody taps whatever it can; $order is an order, and $id a command that nobody knows yet. A call that is
// repeated gets the same results.
func FuzzCommandsBody(f *testing.F) {
	s := openShop(f)
	handler := s.api.newEcho()
	device := s.device(f, testStore)
	order := s.place(f, atCounter()).order(f).ID
	for _, seed := range []string{
		`{"commands":[{"id":"$id","device_seq":1,"type":"start","order":"$order","occurred_at":"2026-11-23T09:00:00Z"}]}`,
		`{"commands":[{"id":"$id","device_seq":0,"type":"ready","order":"$order","occurred_at":"2026-11-23T09:00:00.123456789+14:00","base_version":1},{"id":"$id","device_seq":0,"type":"ready","order":"$order","occurred_at":"2026-11-23T09:00:00.123456789+14:00","base_version":1}]}`,
		`{"commands":[{"id":"$id","device_seq":9007199254740992,"type":"undo","order":"$order","base_version":1073741824,"occurred_at":"0001-01-01T00:00:00Z"},{"id":"$id","device_seq":2,"type":"seen","order":"$order","occurred_at":"9999-12-31T23:59:59Z"}]}`,
		`{"commands":[{"id":"$id","device_seq":1,"type":"pause","until":"9999-12-31T23:59:59-12:00","occurred_at":"0000-01-01T00:00:00+12:00"},{"id":"00000000-0000-0000-0000-000000000000","device_seq":1,"type":"resume","occurred_at":"2026-11-23T09:00:00Z"}]}`,
		`{"commands":[{"id":"$id","device_seq":1,"type":"pause","until":"9999-12-31T23:59:59Z","occurred_at":"2026-11-23T09:00:00Z"}]}`,
		`{"commands":[{"id":"$id","device_seq":1,"type":"sold_out","item":"latte","until":"2026-11-23T09:00:00Z","occurred_at":"2026-11-23T09:00:00Z"},{"id":"$order","device_seq":1,"type":"available","option":"oat","occurred_at":"2026-11-23T09:00:00Z"}]}`,
		`{"commands":[{"id":"$id","device_seq":1,"type":"cancel","order":"$id","reason":"spilt","occurred_at":"2026-11-23T09:00:00Z"},{"id":"$id","type":"take_payment","order":"$order"}]}`,
		`{"commands":[{"id":"$id","device_seq":1.0,"type":"dance","order":5,"occurred_at":null},{"type":"sold_out","item":"a","option":"b"},5,{}]}`,
		`{"commands":[]}`, `{"commands":{}}`, `{"commands":null}`, `[]`, ``, "\x00",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		body = strings.NewReplacer("$order", order, "$id", uuid.NewString()).Replace(body)
		var first, again struct{ Results []result }
		for _, results := range []any{&first, &again} {
			got := serve(t, handler, asking("POST", "/v1/stores/"+testStore+"/commands", device), body)
			switch got.StatusCode {
			case 200:
				got.into(t, results)
			case 400, 413, 422:
				return
			default:
				t.Fatalf("%d %s", got.StatusCode, got.body)
			}
		}
		for i, r := range again.Results {
			if was := first.Results[i]; r.ID != was.ID || r.Result != was.Result || r.Reason != was.Reason || r.Holder != was.Holder {
				t.Errorf("command %d was %v, and sent again is %v", i, was, r)
			}
		}
		serve(t, handler, asking("GET", "/v1/stores/"+testStore, ""), "").wants(t, 200) // whatever was done to it
		serve(t, handler, asking("GET", "/v1/stores/"+testStore+"/board", device), "").wants(t, 200)
	})
}

// FuzzListQuery asks for lists with whatever query.
func FuzzListQuery(f *testing.F) {
	s := openShop(f)
	handler := s.api.newEcho()
	staff := s.staff(f, "fuzz", db.Support)
	o := s.place(f, atCounter()).order(f)
	for _, seed := range []string{
		"", "limit=1", "limit=1&cursor=" + newCursor(storeList, "dumbo"), "cursor=" + newCursor(testOrderList, o.ID), "cursor=" + newCursor(testOrderList, uuid.Max.String()), "limit=200&q=ferry&near=37.7,-122.4",
		"status=placed&from=2026-01-01T00:00:00Z&to=2027-01-01T00:00:00%2B14:00", "date=2026-11-23", "date=9999-12-31", "from=9999-12-31T23:59:59Z", "limit=0", "cursor=%00", "near=1,2&cursor=YQ", "near=-90,180", "a;b", "%zz", "q=%ff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"/v1/stores", testOrdersPath, testStorePath + "/slots"} {
			req := asking("GET", path, staff)
			req.URL.RawQuery = query
			got := serve(t, handler, req, "")
			if got.StatusCode != 400 {
				got.wants(t, 200)
			}
			var page struct {
				NextCursor string `json:"next_cursor"`
			}
			if got.into(t, &page); page.NextCursor == "" {
				continue
			}
			values, err := url.ParseQuery(query)
			if err != nil {
				t.Fatalf("%v, and yet it was answered", err)
			}
			values.Set("cursor", page.NextCursor)
			req = asking("GET", path+"?"+values.Encode(), staff)
			serve(t, handler, req, "").wants(t, 200) // a cursor that was given out can be used
		}
	})
}

// FuzzKeyHeader places an order under whatever key, twice. A key is refused or does what it is for.
func FuzzKeyHeader(f *testing.F) {
	s := openShop(f)
	handler := s.api.newEcho()
	body, err := json.Marshal(atCounter())
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{"", " ", "a", "a b", "\x00", "\t", "é", "\xff", "~!\"#$%&'()*+,-./", strings.Repeat("k", 255), strings.Repeat("k", 256), "a,b", "'; drop table orders; --", "\u2028", "%00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, key string) {
		place := func(body string) answer {
			req := asking("POST", testOrdersPath, "")
			req.Header["Idempotency-Key"] = []string{key}
			return serve(t, handler, req, body)
		}
		usable := len(key) >= 1 && len(key) <= 255
		for _, b := range []byte(key) {
			usable = usable && b > ' ' && b < 0x7f
		}
		first := place(string(body))
		if !usable {
			first.wants(t, 400)
			return
		}
		first.wants(t, 201)
		place(string(body)).wantsSame(t, first)
		place(string(body)+" ").wantsProblem(t, 422, "idempotency_key_reused")
	})
}

// wantsSame fails the test unless the answer repeats an answer that may have been a repeat itself.
func (a answer) wantsSame(t *testing.T, first answer) {
	t.Helper()
	if a.StatusCode != first.StatusCode || string(a.body) != string(first.body) || a.Header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("first %d %s, then %d %s, replayed %q", first.StatusCode, first.body, a.StatusCode, a.body, a.Header.Get("Idempotency-Replayed"))
	}
}
