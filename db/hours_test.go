package db

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var weekdayHours = Hours{
	{"mon", "07:00", "12:00"}, {"mon", "13:00", "19:00"}, {"fri", "18:00", "02:00"}, {"sun", "22:00", "24:00"},
}

func zone(t rapid.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func clock(t rapid.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func TestHoursOpen(t *testing.T) {
	t.Parallel()
	ny := zone(t, "America/New_York")
	tests := []struct {
		at   string
		open bool
		next string
	}{
		{"2026-11-23T06:59:59-05:00", false, "2026-11-23T07:00:00-05:00"},
		{"2026-11-23T07:00:00-05:00", true, "2026-11-23T07:00:00-05:00"},
		{"2026-11-23T11:59:59-05:00", true, "2026-11-23T11:59:59-05:00"},
		{"2026-11-23T12:00:00-05:00", false, "2026-11-23T13:00:00-05:00"},
		{"2026-11-23T19:00:00-05:00", false, "2026-11-27T18:00:00-05:00"},
		{"2026-11-28T01:59:59-05:00", true, "2026-11-28T01:59:59-05:00"}, // Friday's night, on Saturday
		{"2026-11-28T02:00:00-05:00", false, "2026-11-29T22:00:00-05:00"},
		{"2026-11-29T23:59:59-05:00", true, "2026-11-29T23:59:59-05:00"},
		{"2026-11-30T00:00:00-05:00", false, "2026-11-30T07:00:00-05:00"},
	}
	for _, tt := range tests {
		at := clock(t, tt.at)
		if got := weekdayHours.Open(at, ny); got != tt.open {
			t.Errorf("open at %s: %v", tt.at, got)
		}
		next, ok := weekdayHours.NextOpen(at, ny)
		if !ok || !next.Equal(clock(t, tt.next)) {
			t.Errorf("after %s it opens %v, want %s", tt.at, next.In(ny), tt.next)
		}
	}
	if _, ok := (Hours{}).NextOpen(clock(t, "2026-11-23T07:00:00Z"), ny); ok {
		t.Error("a store without hours opens")
	}
}

func TestHoursFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		hours Hours
		want  []string
	}{
		{"fine", weekdayHours, nil},
		{"around the clock", AroundTheClock(), nil},
		{"midnight to midnight is the whole day", Hours{{"mon", "00:00", "00:00"}, {"tue", "00:00", "01:00"}}, nil},
		{"back to back", Hours{{"mon", "08:00", "12:00"}, {"mon", "12:00", "13:00"}}, nil},
		{"everything at once", Hours{{"Mon", "7:00", "25:00"}, {"tue", "24:00", "12:60"}},
			[]string{"/0/day", "/0/opens", "/0/closes", "/1/opens", "/1/closes"}},
		{"overlap", Hours{{"mon", "08:00", "12:00"}, {"mon", "11:59", "13:00"}}, []string{"/1"}},
		{"the same twice", Hours{{"mon", "08:00", "12:00"}, {"mon", "08:00", "12:00"}}, []string{"/1"}},
		{"night into the next week", Hours{{"mon", "01:00", "05:00"}, {"sat", "22:00", "02:00"}, {"sun", "22:00", "01:01"}},
			[]string{"/2"}},
		{"too many", slices.Repeat(Hours{{"mon", "08:00", "12:00"}}, 22), []string{""}},
	}
	for _, tt := range tests {
		if got := pointers(tt.hours.Validate()); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestHoursSlots(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, zone, date string
		hours            Hours
		minutes          int
		want             int
		first, last      string // start of the first, end of the last
	}{
		{"a morning", "America/New_York", "2026-11-24", Hours{{"tue", "07:00", "09:00"}}, 15, 8,
			"2026-11-24T12:00:00Z", "2026-11-24T14:00:00Z"},
		{"a last slot cut short", "America/New_York", "2026-11-24", Hours{{"tue", "07:00", "08:10"}}, 30, 3,
			"2026-11-24T12:00:00Z", "2026-11-24T13:10:00Z"},
		{"yesterday's night belongs to the date it falls on", "America/New_York", "2026-11-28", weekdayHours, 60, 2,
			"2026-11-28T05:00:00Z", "2026-11-28T07:00:00Z"},
		{"closed", "America/New_York", "2026-11-25", weekdayHours, 15, 0, "", ""},
		{"23 hours in spring", "America/New_York", "2026-03-08", AroundTheClock(), 60, 23,
			"2026-03-08T05:00:00Z", "2026-03-09T04:00:00Z"},
		{"25 hours in autumn", "America/New_York", "2026-11-01", AroundTheClock(), 60, 25,
			"2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"opening in the hour that is skipped", "Europe/Berlin", "2026-03-29", Hours{{"sun", "02:30", "04:00"}}, 30, 2,
			"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"},
		{"opening wholly in it", "Europe/Berlin", "2026-03-29", Hours{{"sun", "02:15", "02:45"}}, 15, 0, "", ""},
		{"closing in the hour that comes twice", "Europe/Berlin", "2026-10-25", Hours{{"sun", "01:00", "02:30"}}, 30, 3,
			"2026-10-24T23:00:00Z", "2026-10-25T00:30:00Z"},
		{"a midnight that is skipped", "Africa/Cairo", "2026-04-24", AroundTheClock(), 60, 23,
			"2026-04-23T22:00:00Z", "2026-04-24T21:00:00Z"},
		{"nonsense is bounded", "UTC", "2026-11-24", AroundTheClock(), 0, 288,
			"2026-11-24T00:00:00Z", "2026-11-25T00:00:00Z"},
	}
	for _, tt := range tests {
		date, err := time.Parse(time.DateOnly, tt.date)
		if err != nil {
			t.Fatal(err)
		}
		slots := tt.hours.Slots(date, zone(t, tt.zone), tt.minutes)
		if len(slots) != tt.want {
			t.Errorf("%s: %d slots, want %d: %v", tt.name, len(slots), tt.want, slots)
			continue
		}
		if tt.want > 0 && (!slots[0].StartsAt.Equal(clock(t, tt.first)) || !slots[len(slots)-1].EndsAt.Equal(clock(t, tt.last))) {
			t.Errorf("%s: from %v to %v", tt.name, slots[0].StartsAt, slots[len(slots)-1].EndsAt)
		}
	}
}

// TestDayBounds has every moment lie on the day whose bounds it is within.
func TestDayBounds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		at := drawMoment(t, zone(t, rapid.SampledFrom(someZones).Draw(t, "zone")))
		from, to := DayBounds(at, at.Location())
		if at.Before(from) || !at.Before(to) {
			t.Fatalf("%v is not from %v to %v", at, from, to)
		}
		for _, other := range []time.Time{from, to.Add(-1)} {
			if other.In(at.Location()).Format(time.DateOnly) != at.Format(time.DateOnly) {
				t.Fatalf("%v is not on %v", other, at)
			}
		}
	})
}

var someZones = []string{
	"UTC", "America/New_York", "America/Los_Angeles", "America/Havana", "America/Santiago", "Europe/Berlin", "Europe/London",
	"Africa/Cairo", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland", "Pacific/Chatham", "Atlantic/Azores",
}

// drawMoment prefers the days around a change of the clocks.
func drawMoment(t *rapid.T, loc *time.Location) time.Time {
	at := time.Unix(rapid.Int64Range(1_767_225_600, 1_830_297_600).Draw(t, "unix"), 0).In(loc)
	if _, end := at.ZoneBounds(); !end.IsZero() && rapid.Bool().Draw(t, "near a change") {
		at = end.Add(time.Duration(rapid.Int64Range(-30*3600, 30*3600).Draw(t, "seconds from it")) * time.Second)
	}
	return at
}

func drawHours(t *rapid.T) Hours {
	if rapid.IntRange(0, 4).Draw(t, "around the clock") == 0 {
		return AroundTheClock()
	}
	minute := rapid.Custom(func(t *rapid.T) string {
		at := rapid.SampledFrom([]int{0, 30, 60, 90, 120, 150, 180, 420, 720, 1380, 1425, 1439}).Draw(t, "minute")
		return time.Unix(int64(at)*60, 0).UTC().Format("15:04")
	})
	var h Hours
	for range rapid.IntRange(0, 9).Draw(t, "spans") {
		span := DayHours{rapid.SampledFrom(weekdays).Draw(t, "day"), minute.Draw(t, "opens"), minute.Draw(t, "closes")}
		if longer := append(slices.Clone(h), span); len(longer.Validate()) == 0 {
			h = longer
		}
	}
	return h
}

func TestHoursSlotsAreTheOpeningHours(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		hours := drawHours(t)
		minutes := rapid.SampledFrom([]int{5, 10, 15, 37, 60, 240}).Draw(t, "minutes")
		at := drawMoment(t, loc)
		slots := hours.Slots(at, loc, minutes)
		if len(slots) > 300 {
			t.Fatalf("%d slots", len(slots))
		}
		inSlots := 0
		for i, s := range slots {
			if i > 0 && s.StartsAt.Before(slots[i-1].EndsAt) {
				t.Fatalf("%v overlaps %v", s, slots[i-1])
			}
			if length := s.EndsAt.Sub(s.StartsAt); length <= 0 || length > time.Duration(minutes)*time.Minute {
				t.Fatalf("%v lasts %v", s, length)
			}
			if s.StartsAt.In(loc).Format(time.DateOnly) != at.Format(time.DateOnly) {
				t.Fatalf("%v is not on %v", s, at)
			}
			if last := s.EndsAt.Add(-1); !hours.Open(s.StartsAt, loc) || !hours.Open(last, loc) {
				t.Fatalf("closed during %v", s)
			}
			if !at.Before(s.StartsAt) && at.Before(s.EndsAt) {
				inSlots++
			}
		}
		slot, open := hours.SlotAt(at, loc, minutes)
		if open != hours.Open(at, loc) || open && (at.Before(slot.StartsAt) || !at.Before(slot.EndsAt)) {
			t.Fatalf("at %v: open %v, slot %v", at, open, slot)
		}
		if open && slices.Contains(slots, slot) != (slot.StartsAt.In(loc).Format(time.DateOnly) == at.Format(time.DateOnly)) {
			t.Fatalf("%v is not one of %v", slot, slots)
		}
		if !open && inSlots > 0 {
			t.Fatalf("closed at %v, which is in a slot", at)
		}
	})
}

func TestHoursAroundTheClockNeverCloses(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		at := drawMoment(t, loc)
		if !AroundTheClock().Open(at, loc) {
			t.Fatalf("closed at %v", at)
		}
		year, month, day := at.Date()
		today := AroundTheClock().Slots(at, loc, 15)
		tomorrow := AroundTheClock().Slots(time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC), loc, 15)
		for i, s := range today {
			if i > 0 && !s.StartsAt.Equal(today[i-1].EndsAt) {
				t.Fatalf("a gap before %v", s)
			}
		}
		if !today[len(today)-1].EndsAt.Equal(tomorrow[0].StartsAt) {
			t.Fatalf("a gap at midnight after %v", today[len(today)-1])
		}
	})
}

func TestHoursNextOpenIsTheNext(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		loc := zone(t, rapid.SampledFrom(someZones).Draw(t, "zone"))
		hours := drawHours(t)
		at := drawMoment(t, loc)
		next, ok := hours.NextOpen(at, loc)
		if !ok {
			if len(hours) > 0 {
				t.Fatalf("%v never opens after %v", hours, at)
			}
			return
		}
		if next.Before(at) || !hours.Open(next, loc) {
			t.Fatalf("not open at %v, after %v", next, at)
		}
		between := at.Add(time.Duration(rapid.Float64Range(0, 1).Draw(t, "part") * float64(next.Sub(at))))
		if between.Before(next) && hours.Open(between, loc) {
			t.Fatalf("open at %v already, before %v", between, next)
		}
	})
}
