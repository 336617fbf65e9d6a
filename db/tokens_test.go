package db_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/uuid"

	"frenchpress/db"
	"frenchpress/db/dbtest"
)

var secret = []byte(strings.Repeat("s", 32))

func TestOrderTokenNamesItsOrder(t *testing.T) {
	t.Parallel()
	ref := db.OrderRef{StoreID: 31_048, ID: uuid.New()}
	token := db.OrderToken(secret, ref)
	if got, ok := db.ParseOrderToken(secret, token); !ok || got != ref || !strings.HasPrefix(token, "fpo_") {
		t.Fatalf("%s names %v, %v", token, got, ok)
	}
	if _, ok := db.ParseOrderToken([]byte(strings.Repeat("t", 32)), token); ok {
		t.Error("another secret opens it")
	}
}

func TestOrderTokenHasOneSpelling(t *testing.T) {
	t.Parallel()
	token := db.OrderToken(secret, db.OrderRef{StoreID: 1, ID: uuid.New()})
	forged := []string{"", "fpo_", token[4:], token + "=", token + "A", token[:len(token)-1], "fpd_" + token[4:], " " + token, token + "\n"}
	for i := 4; i < len(token); i++ {
		for _, b := range []byte("AB_9\x00\n") {
			if other := token[:i] + string(b) + token[i+1:]; other != token {
				forged = append(forged, other)
			}
		}
	}
	for _, other := range forged {
		if ref, ok := db.ParseOrderToken(secret, other); ok {
			t.Errorf("%q instead of %q opens %v", other, token, ref)
		}
	}
}

func FuzzParseOrderToken(f *testing.F) {
	f.Add(db.OrderToken(secret, db.OrderRef{StoreID: 1, ID: uuid.New()}))
	f.Fuzz(func(t *testing.T, token string) {
		if ref, ok := db.ParseOrderToken(secret, token); ok && db.OrderToken(secret, ref) != token {
			t.Errorf("%q is not the token of %v", token, ref)
		}
	})
}

func TestSecretIsSharedAndKept(t *testing.T) {
	t.Parallel()
	pool := dbtest.Database(t)
	first, err := db.Secret(t.Context(), pool, "")
	if err != nil {
		t.Fatal(err)
	}
	again, err := db.Secret(t.Context(), pool, "")
	if err != nil || len(first) < 32 || !bytes.Equal(first, again) {
		t.Errorf("%x, then %x: %v", first, again, err)
	}
	given := strings.Repeat("k", 32)
	for i, key := range []string{"one", "one", "another", "one"} {
		changed, err := db.MarkSecret(t.Context(), pool, []byte(key))
		if err != nil || changed != (i > 1) {
			t.Errorf("key %d, %s, is another: %v, %v", i, key, changed, err)
		}
	}
	if own, err := db.Secret(t.Context(), pool, given); err != nil || string(own) != given {
		t.Errorf("%q, %v", own, err)
	}
	if _, err := db.Secret(t.Context(), pool, "short"); err == nil || strings.Contains(err.Error(), "short") {
		t.Errorf("a short key: %v", err)
	}
}
