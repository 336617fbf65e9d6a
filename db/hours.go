package db

import (
	"fmt"
	"slices"
	"time"
)

// Hours are a store's weekly opening hours by the clock on its wall. A day may be named more than once (a break at
// noon) or not at all (closed). The zero value is never open.
type Hours []DayHours

// DayHours is one span of opening: it begins on Day ("mon" to "sun") at Opens ("07:00") and ends at Closes, which may
// be "24:00". A Closes that is not after Opens runs past midnight into the next day.
type DayHours struct {
	Day    string `json:"day"`
	Opens  string `json:"opens"`
	Closes string `json:"closes"`
}

// Slot is a span of time from StartsAt up to but not including EndsAt, both in UTC.
type Slot struct {
	StartsAt time.Time `json:"starts_at"`
	EndsAt   time.Time `json:"ends_at"`
}

const (
	// MinSlotMinutes and MaxSlotMinutes bound the length of a slot: a local day of 25 hours has at most 300.
	MinSlotMinutes = 5
	MaxSlotMinutes = 240

	maxHours      = 21
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay
)

// weekdays are the names of days in the order of time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// AroundTheClock is open every minute of the week.
func AroundTheClock() Hours {
	var h Hours
	for _, day := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		h = append(h, DayHours{Day: day, Opens: "00:00", Closes: "24:00"})
	}
	return h
}

// Validate reports everything wrong with the hours, with pointers below the list itself ("/0/opens").
func (h Hours) Validate() Faults {
	var f Faults
	if len(h) > maxHours {
		f.Add("", fmt.Sprintf("at most %d spans of opening, these are %d", maxHours, len(h)))
		return f
	}
	for i, d := range h {
		if !slices.Contains(weekdays, d.Day) {
			f.Add(Pointer(i, "day"), "must be one of mon, tue, wed, thu, fri, sat, sun")
		}
		if _, ok := wallMinutes(d.Opens); !ok || d.Opens == "24:00" {
			f.Add(Pointer(i, "opens"), "must be a time from 00:00 to 23:59")
		}
		if _, ok := wallMinutes(d.Closes); !ok {
			f.Add(Pointer(i, "closes"), "must be a time from 00:00 to 24:00")
		}
	}
	if len(f) > 0 {
		return f
	}
	for i := range h {
		for j := range i {
			if h[i].overlaps(h[j]) {
				f.Add(Pointer(i), fmt.Sprintf("overlaps %s %s-%s", h[j].Day, h[j].Opens, h[j].Closes))
			}
		}
	}
	return f
}

// Open says whether the store is open at t.
func (h Hours) Open(t time.Time, loc *time.Location) bool {
	_, open := h.spanAt(t, loc)
	return open
}

// NextOpen is the first moment from t on at which the store is open, t itself if it is open now; false if it never
// opens.
func (h Hours) NextOpen(t time.Time, loc *time.Location) (time.Time, bool) {
	if h.Open(t, loc) {
		return t, true
	}
	// Two weeks, not one: the only opening of a week can lie in the hour that daylight saving skips.
	year, month, day := t.In(loc).Date()
	for ahead := range 15 {
		var next time.Time
		for _, s := range h.spansFrom(year, month, day+ahead, loc) {
			if s.StartsAt.After(t) && (next.IsZero() || s.StartsAt.Before(next)) {
				next = s.StartsAt
			}
		}
		if !next.IsZero() {
			return next, true
		}
	}
	return time.Time{}, false
}

// Slots are the slots that start on a local date (the year, month and day of date as it stands), in order. Each opening
// is cut into slots of the given minutes from its start; its last one ends when the store closes. Together they cover
// the opening hours without gap or overlap, also on days that daylight saving makes longer or shorter. Lengths outside
// MinSlotMinutes to MaxSlotMinutes count as the nearer bound.
func (h Hours) Slots(date time.Time, loc *time.Location, minutes int) []Slot {
	year, month, day := date.Date()
	from, to := DayBounds(date, loc)
	slots := []Slot{}
	for _, d := range []int{day - 1, day} {
		for _, span := range h.spansFrom(year, month, d, loc) {
			for at := span.StartsAt; at.Before(span.EndsAt) && at.Before(to); {
				slot := span.slot(at, minutes)
				if !slot.StartsAt.Before(from) {
					slots = append(slots, slot)
				}
				at = slot.EndsAt
			}
		}
	}
	slices.SortFunc(slots, func(a, b Slot) int { return a.StartsAt.Compare(b.StartsAt) })
	return slots
}

// SlotAt is the slot that contains t, one of those that Slots lists; false if the store is closed then.
func (h Hours) SlotAt(t time.Time, loc *time.Location, minutes int) (Slot, bool) {
	span, open := h.spanAt(t, loc)
	if !open {
		return Slot{}, false
	}
	return span.slot(t, minutes), true
}

// slot is the slot containing t of an opening that contains t.
func (s Slot) slot(t time.Time, minutes int) Slot {
	length := time.Duration(min(max(minutes, MinSlotMinutes), MaxSlotMinutes)) * time.Minute
	start := s.StartsAt.Add(t.Sub(s.StartsAt) / length * length)
	end := start.Add(length)
	if end.After(s.EndsAt) {
		end = s.EndsAt
	}
	return Slot{StartsAt: start, EndsAt: end}
}

// spanAt is the opening that contains t. It began today or, running past midnight, yesterday.
func (h Hours) spanAt(t time.Time, loc *time.Location) (Slot, bool) {
	year, month, day := t.In(loc).Date()
	for _, d := range []int{day, day - 1} {
		for _, s := range h.spansFrom(year, month, d, loc) {
			if !t.Before(s.StartsAt) && t.Before(s.EndsAt) {
				return s, true
			}
		}
	}
	return Slot{}, false
}

// spansFrom are the openings that begin on a local date. One that lies wholly in a skipped hour does not happen.
func (h Hours) spansFrom(year int, month time.Month, day int, loc *time.Location) []Slot {
	weekday := weekdays[time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Weekday()]
	var spans []Slot
	for _, d := range h {
		if d.Day != weekday {
			continue
		}
		opens, length := d.minutes()
		s := Slot{
			StartsAt: wallTime(year, month, day, opens, loc),
			EndsAt:   wallTime(year, month, day, opens+length, loc),
		}
		if s.StartsAt.Before(s.EndsAt) {
			spans = append(spans, s)
		}
	}
	return spans
}

// minutes are the opening time in minutes after midnight and the length of the span by the clock on the wall.
func (d DayHours) minutes() (opens, length int) {
	opens, _ = wallMinutes(d.Opens)
	closes, _ := wallMinutes(d.Closes)
	if closes <= opens {
		closes += minutesOfDay
	}
	return opens, closes - opens
}

// overlaps compares two spans on the circle of the week, so that Sunday night meets Monday morning.
func (d DayHours) overlaps(other DayHours) bool {
	a, aLength := d.minutes()
	b, bLength := other.minutes()
	a += slices.Index(weekdays, d.Day) * minutesOfDay
	b += slices.Index(weekdays, other.Day) * minutesOfDay
	return (b-a+minutesOfWeek)%minutesOfWeek < aLength || (a-b+minutesOfWeek)%minutesOfWeek < bLength
}

// wallMinutes reads "HH:MM", from 00:00 to 24:00, as minutes after midnight.
func wallMinutes(s string) (minutes int, ok bool) {
	if len(s) != 5 || s[2] != ':' {
		return 0, false
	}
	for _, i := range []int{0, 1, 3, 4} {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	hour, minute := int(s[0]-'0')*10+int(s[1]-'0'), int(s[3]-'0')*10+int(s[4]-'0')
	minutes = hour*60 + minute
	return minutes, minute < 60 && minutes <= minutesOfDay
}

// DayBounds are the first moment of a local date (the year, month and day of date as it stands) and that of the next one.
func DayBounds(date time.Time, loc *time.Location) (from, to time.Time) {
	year, month, day := date.Date()
	return wallTime(year, month, day, 0, loc), wallTime(year, month, day+1, 0, loc)
}

// wallTime is the moment, in UTC, at which a clock in loc shows the given minutes after midnight of a date. Of a time
// that daylight saving repeats it is the first, and for one that it skips the moment of the skip: so later minutes are
// never an earlier moment, and one day's 24:00 is always the next day's 00:00. (time.Date promises neither.)
func wallTime(year int, month time.Month, day, minutes int, loc *time.Location) time.Time {
	t := time.Date(year, month, day, 0, minutes, 0, 0, loc)
	wanted := time.Date(year, month, day, 0, minutes, 0, 0, time.UTC).Unix()
	start, end := t.ZoneBounds()
	_, offset := t.Zone()
	switch shown := t.Unix() + int64(offset); {
	case shown < wanted:
		return end.UTC()
	case shown > wanted:
		return start.UTC()
	}
	if !start.IsZero() {
		_, before := start.Add(-time.Second).Zone()
		first := t.Add(time.Duration(offset-before) * time.Second)
		if before > offset && first.Before(start) {
			return first.UTC()
		}
	}
	return t.UTC()
}
