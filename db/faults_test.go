package db

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestFaultPointer(t *testing.T) {
	t.Parallel()
	if got := Pointer("lines", 12, "options", 0, "id"); got != "/lines/12/options/0/id" {
		t.Error(got)
	}
	if got := Pointer("price_by_size", "a/b~c"); got != "/price_by_size/a~1b~0c" {
		t.Error("escapes of RFC 6901:", got)
	}
}

func TestFaultsAreBounded(t *testing.T) {
	t.Parallel()
	var f Faults
	for i := range 3 * MaxFaults {
		f.Add(Pointer(i), "wrong")
	}
	if len(f) != MaxFaults || f[MaxFaults-1].Pointer != "/99" {
		t.Errorf("%d faults, the last %v", len(f), f[len(f)-1])
	}
}

func TestFaultsAsError(t *testing.T) {
	t.Parallel()
	if err := (Faults{}).Err(); err != nil {
		t.Error("no faults are an error:", err)
	}
	f := Faults{{"/a", "wrong"}, {"/b", "wrong too"}}
	var found Faults
	if err := fmt.Errorf("menu: %w", f.Err()); !errors.As(err, &found) || len(found) != 2 {
		t.Errorf("%v holds %v", err, found)
	}
	if got := f.Under("/hours"); got[1].Pointer != "/hours/b" || f[1].Pointer != "/b" {
		t.Errorf("moved to %v, from %v", got, f)
	}
}

func TestFaultText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text        string
		least, most int
		fine        bool
	}{
		{"", 0, 5, true},
		{"", 1, 5, false},
		{" \u00a0 ", 1, 5, false},
		{"  ", 0, 5, true},
		{"Zoë 🥐", 1, 5, true},
		{"Zoë 🥐!", 1, 5, false},
		{"a\nb", 0, 5, false},
		{"a\x00b", 0, 5, false},
		{"a\u0085b", 0, 5, false},
		{"a\xffb", 0, 5, false},
		{"ab", 3, 5, false},
		{strings.Repeat("é", 200), 0, 200, true},
	}
	for _, tt := range tests {
		var f Faults
		f.Text("/note", tt.text, tt.least, tt.most)
		if (len(f) == 0) != tt.fine {
			t.Errorf("%q of %d to %d: %v", tt.text, tt.least, tt.most, f)
		}
	}
}
