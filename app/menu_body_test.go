package main

import (
	"testing"

	"frenchpress/db"
)

// TestMenuFaultsTogether puts a menu with what nobody knows and what no menu may be: all of it is told at once.
func TestMenuFaultsTogether(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var menu map[string]any
	got := s.call(t, "GET", testMenuPath, "", nil).wants(t, 200)
	got.into(t, &menu)
	category := menu["categories"].([]any)[0].(map[string]any)
	item := category["items"].([]any)[0].(map[string]any)
	next := category["items"].([]any)[1].(map[string]any)
	category["name"], item["id"], item["zzz"], menu["currency"] = "", "a b", true, "EUR"
	next["available"], next["base_price"] = "yes", nil
	at := "/categories/0/items/0"
	s.call(t, "PUT", testMenuPath, s.staff(t, "mia", db.Manager), menu, "If-Match: "+got.Header.Get("ETag")).
		wantsProblem(t, 422, "invalid", "/currency", "/categories/0/items/1/available", "/categories/0/items/1/base_price", at+"/zzz", "/categories/0/name", at+"/id")
}
