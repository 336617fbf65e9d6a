package db

import (
	"regexp"
	"strconv"
	"strings"
)

const (
	// MaxPrice is the highest price of a size or of one unit of an option, in minor units of the currency.
	MaxPrice int64 = 10_000_000

	// MaxTotal is the highest amount of a line, of an order and of a tip, in minor units. It is far above what any shop
	// sells in one order and low enough that nothing here can overflow: a line's total times a tax rate in millionths
	// stays below 2^63, fifty lines of the most an item can cost do too, and a browser, whose numbers are exact up to
	// 2^53, shows every amount as it is.
	MaxTotal int64 = 1_000_000_000_000

	ratePlaces       = 6
	rateUnit   int64 = 1_000_000
)

var ratePattern = regexp.MustCompile(`^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$`)

// parseRate reads a tax rate ("0.0875", from 0 to 1, at most six decimals) as millionths.
func parseRate(s string) (millionths int64, ok bool) {
	if !ratePattern.MatchString(s) {
		return 0, false
	}
	whole, decimals, _ := strings.Cut(s, ".")
	n, err := strconv.ParseInt(whole+decimals+strings.Repeat("0", ratePlaces-len(decimals)), 10, 64)
	return n, err == nil
}

// taxOn is the tax on an amount between 0 and MaxTotal at a rate in millionths, rounded half to even.
func taxOn(amount, rate int64) int64 {
	product := amount * rate
	tax, rest := product/rateUnit, product%rateUnit
	if rest > rateUnit/2 || rest == rateUnit/2 && tax%2 == 1 {
		tax++
	}
	return tax
}
