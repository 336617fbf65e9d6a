package sandbox_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stripe/stripe-go/v85"

	"frenchpress/jobs/sandbox"
)

const (
	half   = `{"n":[7,99,0,0,0,2,575`
	whole  = `{"n":[7,0,0,0,0,2,575,0,0,0,0,0,0,0,0,0]}` + "\n"
	sector = 512
)

var room = strings.Repeat("\x00", 3<<20)

// toSector fills up to the end of a sector.
func toSector(end int, with string) string { return strings.Repeat(with, sector-end%sector) }

func TestReopenedBooksKnowEverything(t *testing.T) {
	t.Parallel()
	for what, left := range map[string]func(end int) string{
		"half a line":          func(int) string { return half },
		"zeros":                func(int) string { return room },
		"half a line in zeros": func(end int) string { return half + toSector(end+len(half), " ") + room },
		"a line behind missing sectors": func(end int) string {
			return toSector(end, "\x00") + strings.Repeat("\x00", 8*sector) + whole + room
		},
		"a missing sector in a line": func(end int) string {
			return half + toSector(end+len(half), " ") + strings.Repeat("\x00", sector) + whole + room
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			survives(t, left)
		})
	}
}

// survives opens books again that a crash left with something behind their end.
func survives(t *testing.T, left func(end int) string) {
	t.Helper()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{})
	paid, declined := s.charge(575, "tok_visa", "paid"), s.create(300, "tok_declined", "declined")
	_, err := s.confirm(t.Context(), declined.ID, "declined-confirm")
	refusal(t, err, http.StatusPaymentRequired, "card_declined")
	refund, err := s.refund(paid.ID, 100, "refund")
	if err != nil {
		t.Fatal(err)
	}
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	text := readBooks(t, dir)
	torn := left(len(text))
	writeBooks(t, dir, string(text)+torn)
	s, books = open(t, dir, sandbox.Options{})
	equal(t, "kept", readTorn(t, dir), strings.TrimRight(torn, "\x00")) // nothing of zeros alone
	equal(t, "paid", s.get(paid.ID).AmountReceived, 575)
	equal(t, "refunded", s.get(paid.ID).LatestCharge.AmountRefunded, 100)
	equal(t, "declined", s.get(declined.ID).Status, stripe.PaymentIntentStatusRequiresPaymentMethod)
	again, err := s.refund(paid.ID, 100, "refund")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "replayed refund", again.ID, refund.ID)
	next := s.charge(1, "tok_visa", "next")
	if next.ID == paid.ID || next.ID == declined.ID {
		t.Fatal("an id was given twice")
	}
	equal(t, "captures", s.count("captured"), 2)
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, sandbox.Options{})
	equal(t, "next", s.get(next.ID).AmountReceived, 1)
	equal(t, "captures in the end", s.count("captured"), 2)
}

// closedBooks makes books with some charges, and says what is in them.
func closedBooks(t *testing.T, dir string, charges int) []byte {
	t.Helper()
	s, books := open(t, dir, sandbox.Options{})
	for n := range charges {
		s.charge(575, "tok_visa", strconv.Itoa(n))
	}
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	return readBooks(t, dir)
}

func readBooks(t *testing.T, dir string) []byte {
	t.Helper()
	return readFile(t, filepath.Join(dir, "books.jsonl"))
}

// readTorn is what was cut off the books.
func readTorn(t *testing.T, dir string) (text string) {
	t.Helper()
	parts, _ := filepath.Glob(filepath.Join(dir, "books.jsonl.torn-*")) // fails for a bad pattern only
	for _, path := range parts {
		text += string(readFile(t, path))
	}
	return text
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func writeBooks(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "books.jsonl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamageIsNotCutOff opens books to which something happened that no crash does.
func TestDamageIsNotCutOff(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func(text []byte) []byte{
		"another name":      func(text []byte) []byte { return bytes.Replace(text, []byte(`{"n":[2`), []byte(`{"?":[2`), 1) },
		"a missing line":    func(text []byte) []byte { return slices.Concat(lines(text)[0], lines(text)[4]) },
		"a byte of zero":    func(text []byte) []byte { text[len(text)/2] = 0; return text },
		"a line of zero":    func(text []byte) []byte { clear(lines(text)[2]); return append(text, whole...) },
		"no beginning":      func(text []byte) []byte { clear(text[:sector]); return text },
		"another file":      func([]byte) []byte { return []byte("a word") },
		"an unknown intent": func(text []byte) []byte { return append(text, `{"n":[3,0,0,0,0,-1,575,0,0,0,0,0]}`+"\n"...) },
		"an unknown refund": func(text []byte) []byte { return append(text, `{"n":[3,0,0,0,0,0,575,0,0,9,0,0]}`+"\n"...) },
		"an unknown status": func(text []byte) []byte { return append(text, `{"n":[3,0,0,0,0,0,575,0,99,-1,0,0]}`+"\n"...) },
		"many missing sectors": func(text []byte) []byte {
			return fmt.Appendf(text, "%s%s%s", toSector(len(text), "\x00"), strings.Repeat("\x00", 16<<20), whole)
		},
		"a hole within a sector": func(text []byte) []byte {
			return fmt.Appendf(text, "%s%s%s", half, toSector(len(text)+len(half), "\x00"), whole)
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			damaged := string(damage(closedBooks(t, dir, 1)))
			writeBooks(t, dir, damaged)
			if _, err := sandbox.Open(dir, sandbox.Options{}); err == nil {
				t.Fatal("damaged books were opened")
			}
			if string(readBooks(t, dir)) != damaged {
				t.Fatal("damaged books were changed")
			}
		})
	}
}

// TestAMissingSectorIsDamage takes sectors from closed books, which all had come to disk.
func TestAMissingSectorIsDamage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	text := closedBooks(t, dir, 10)
	if len(text) < 10*sector {
		t.Fatalf("the books have %d bytes only", len(text))
	}
	for at := 0; at+sector < len(text); at += sector {
		damaged := bytes.Clone(text)
		clear(damaged[at : at+sector])
		writeBooks(t, dir, string(damaged))
		if _, err := sandbox.Open(dir, sandbox.Options{}); err == nil {
			t.Fatalf("books without the sector at %d of %d were opened", at, len(text))
		}
		if !bytes.Equal(readBooks(t, dir), damaged) {
			t.Fatalf("books without the sector at %d were changed", at)
		}
	}
	writeBooks(t, dir, string(text))
	s, _ := open(t, dir, sandbox.Options{})
	equal(t, "captures", s.count("captured"), 10)
}

// TestMissingEndsAreMadeUp opens books whose last batch had come to disk without its end, with lines of before that had ends.
func TestMissingEndsAreMadeUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeBooks(t, dir, strings.TrimRight(string(closedBooks(t, dir, 1)), "\n")+"\n"+room)
	s, books := open(t, dir, sandbox.Options{})
	equal(t, "captures", s.count("captured"), 1)
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	if text := string(readBooks(t, dir)); !strings.HasSuffix(text, "}\n\n\n") || strings.HasSuffix(text, "}\n\n\n\n") {
		t.Fatalf("closed books end with %q", text[len(text)-10:])
	}
}

func lines(text []byte) [][]byte { return bytes.SplitAfter(text, []byte("\n")) }

// TestTheLongestLine makes lines of the longest parameters that are taken, which have to be read again.
func TestTheLongestLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{})
	var metadata strings.Builder
	for n := range 50 {
		fmt.Fprintf(&metadata, "&metadata%%5B%02d%s%%5D=%s", n, strings.Repeat("<", 38), strings.Repeat("<", 500))
	}
	charge := visa + "&confirm=true&description=" + strings.Repeat("<", 1000) + metadata.String()
	_, text := s.must("POST", "/v1/payment_intents", "k", charge, http.StatusOK)
	id := firstID(text)
	s.must("POST", "/v1/refunds", "r", "amount=100&payment_intent="+id+metadata.String(), http.StatusOK)
	for name, more := range map[string]string{
		"description":          "&description=" + strings.Repeat("<", 1001),
		"payment_method_types": "&payment_method_types[]=card&payment_method_types[]=" + strings.Repeat("<", 1000),
		"metadata[a]":          "&metadata[a]=" + strings.Repeat("<", 501),
	} {
		_, refusal := s.must("POST", "/v1/payment_intents?"+visa+more, "", "", http.StatusBadRequest)
		contains(t, refusal, name)
	}
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, sandbox.Options{})
	equal(t, "refunded", s.get(id).LatestCharge.AmountRefunded, 100)
	equal(t, "lines", len(s.ledger()), 2)
}

// TestNamesThatAreNoText has names of metadata that are different bytes and one text.
func TestNamesThatAreNoText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{})
	_, text := s.must("POST", "/v1/payment_intents", "k", visa+"&metadata%5B%FE%5D=a&metadata%5B%FF%5D=b", http.StatusOK)
	id := firstID(text)
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	s, _ = open(t, dir, sandbox.Options{})
	equal(t, "amount", s.get(id).Amount, 575)
	equal(t, "metadata", s.get(id).Metadata["\uFFFD"], "b")
}

// TestMoreRoomIsMade goes through several steps of zeros, none of which closed books have.
func TestMoreRoomIsMade(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, books := open(t, dir, sandbox.Options{})
	metadata := ""
	for n := range 50 {
		metadata += fmt.Sprintf("&metadata%%5B%d%%5D=%s", n, strings.Repeat("a", 500))
	}
	const charges = 30
	for range charges {
		s.must("POST", "/v1/payment_intents", "", visa+"&confirm=true"+metadata, http.StatusOK)
	}
	if text := readBooks(t, dir); text[len(text)-1] != 0 {
		t.Fatal("no room was made")
	}
	if err := books.Close(); err != nil {
		t.Fatal(err)
	}
	if text := readBooks(t, dir); len(text) < charges*25_000 || bytes.IndexByte(text, 0) >= 0 {
		t.Fatalf("closed books have %d bytes, zeros among them", len(text))
	}
	s, _ = open(t, dir, sandbox.Options{})
	equal(t, "captures", s.count("captured"), charges)
}

func TestBooksAreOpenOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open(t, dir, sandbox.Options{})
	if _, err := sandbox.Open(dir, sandbox.Options{}); err == nil {
		t.Fatal("the same books were opened twice")
	}
}
