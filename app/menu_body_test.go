package main

import (
	"testing"

	"frenchpress/db"
)

// TestMenuFaultsTogether puts a menu that breaks rules of every kind: what cannot be read, what nobody knows, and what no
// menu may be are told at once, and nothing of it twice.
func TestMenuFaultsTogether(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	var menu map[string]any
	got := s.call(t, "GET", testMenuPath, "", nil).wants(t, 200)
	got.into(t, &menu)
	category := menu["categories"].([]any)[0].(map[string]any)
	item := category["items"].([]any)[0].(map[string]any)
	category["name"], item["id"], item["tax_rate"], item["zzz"] = "", "a b", 0.08, true
	at := "/categories/0/items/0"
	s.call(t, "PUT", testMenuPath, s.staff(t, "mia", db.Manager), menu, "If-Match: "+got.Header.Get("ETag")).
		wantsProblem(t, 422, "invalid", at+"/tax_rate", at+"/zzz", "/categories/0/name", at+"/id")
}
