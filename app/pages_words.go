package main

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

type currency struct {
	symbol string
	digits int
}

var currencies = map[string]currency{
	"USD": {"$", 2}, "CAD": {"CA$", 2}, "AUD": {"A$", 2}, "NZD": {"NZ$", 2}, "SGD": {"S$", 2},
	"EUR": {"€", 2}, "GBP": {"£", 2}, "CNY": {"CN¥", 2}, "INR": {"₹", 2}, "MXN": {"MX$", 2},
	"JPY": {"¥", 0}, "KRW": {"₩", 0}, "VND": {"₫", 0}, "CLP": {"CLP\u00a0", 0}, "ISK": {"ISK\u00a0", 0},
	"KWD": {"KWD\u00a0", 3}, "BHD": {"BHD\u00a0", 3}, "OMR": {"OMR\u00a0", 3}, "JOD": {"JOD\u00a0", 3},
}

func currencyOf(code string) currency {
	if c, known := currencies[code]; known {
		return c
	}
	return currency{code + "\u00a0", 2}
}

// money writes an amount in minor units: $1,234.50, ¥500. static/money.js writes the same.
func money(minor int64, code string) string {
	c := currencyOf(code)
	sign, digits := "", strconv.FormatInt(minor, 10)
	if minor < 0 {
		sign, digits = "−", digits[1:]
	}
	if len(digits) <= c.digits {
		digits = strings.Repeat("0", c.digits-len(digits)+1) + digits
	}
	whole, rest := digits[:len(digits)-c.digits], digits[len(digits)-c.digits:]
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	if rest != "" {
		rest = "." + rest
	}
	return sign + c.symbol + whole + rest
}

// clock is a time of day at a store: 3:15 pm.
func clock(at time.Time, zone *time.Location) string {
	return at.In(zone).Format("3:04 pm")
}

// day is how the day of a moment is said before its time: nothing for today, tomorrow, Mon; and Mar 1, where a weekday
// would mean one that is nearer. static/times.js says the same.
func day(at, now time.Time, zone *time.Location) string {
	at, now = at.In(zone), now.In(zone)
	switch ahead := date(at).Sub(date(now)) / (24 * time.Hour); {
	case ahead == 0:
		return ""
	case ahead == 1:
		return "tomorrow "
	case ahead > 1 && ahead < 7:
		return at.Format("Mon ")
	case at.Year() == now.Year():
		return at.Format("Jan 2, ")
	}
	return at.Format("Jan 2, 2006, ")
}

// date is a moment's date alone, in UTC, where every day has 24 hours.
func date(at time.Time) time.Time {
	return time.Date(at.Year(), at.Month(), at.Day(), 0, 0, 0, 0, time.UTC)
}

// moment is a clock time with as much of the date as is needed: 3:15 pm, tomorrow 7:00 am, Mon 7:00 am.
func moment(at, now time.Time, zone *time.Location) string {
	return day(at, now, zone) + clock(at, zone)
}

// when is a moment in the midst of a sentence: at 3:15 pm, tomorrow at 7:00 am.
func when(at, now time.Time, zone *time.Location) string {
	return day(at, now, zone) + "at " + clock(at, zone)
}

// back says when something sold out can be had again; empty when nobody knows.
func back(at, now time.Time, zone *time.Location) string {
	if at.IsZero() {
		return ""
	}
	return "back " + cmp.Or(day(at, now, zone), "at ") + clock(at, zone)
}
