package db

import "testing"

func TestPriceTaxRate(t *testing.T) {
	t.Parallel()
	good := map[string]int64{
		"0": 0, "0.0": 0, "0.0875": 87_500, "0.2": 200_000, "0.000001": 1, "0.999999": 999_999, "1": 1_000_000, "1.000": 1_000_000,
	}
	for s, want := range good {
		if got, ok := parseRate(s); !ok || got != want {
			t.Errorf("%q is %d, %v; want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"", ".5", "0.", "00.5", "-0.1", "+0.1", "1.1", "1.000001", "2", "0.0000001", "8.75%", "1e-2", " 0", "0\n"} {
		if got, ok := parseRate(s); ok {
			t.Errorf("%q is taken for %d", s, got)
		}
	}
}

func TestPriceTaxRoundsHalfToEven(t *testing.T) {
	t.Parallel()
	tests := []struct{ amount, rate, want int64 }{
		{575, 87_500, 50}, // 50.3125
		{100, 85_000, 8},  // 8.5 to the even 8
		{300, 85_000, 26}, // 25.5 to the even 26
		{100, 85_001, 9},  // just above the half
		{100, 84_999, 8},  // just below
		{1, 500_000, 0},   // 0.5
		{3, 500_000, 2},   // 1.5
		{0, 1_000_000, 0},
		{500_001, 1, 1}, // 0.500001
		{499_999, 1, 0}, // 0.499999
		{MaxTotal, 1_000_000, MaxTotal},
		{MaxTotal, 999_999, 999_999_000_000},
	}
	for _, tt := range tests {
		if got := taxOn(tt.amount, tt.rate); got != tt.want {
			t.Errorf("tax on %d at %d millionths is %d, want %d", tt.amount, tt.rate, got, tt.want)
		}
	}
}
