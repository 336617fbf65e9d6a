package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// someReport is one with everything in it.
func someReport(t *testing.T) *Report {
	t.Helper()
	m := NewMeter()
	for i := range 3 {
		for k := range 1000 {
			m.Record(stepPlace, time.Duration(k)*time.Millisecond)
			m.Record(stepWhole, time.Duration(k)*10*time.Millisecond)
		}
		m.Started.Add(1000)
		m.Finished.Add(999)
		m.Shed.Add(1)
		m.Tick(time.Duration(i+1)*time.Second, 0, map[string]int64{"server": 100 << 20, "a < b & c": 5 << 20})
	}
	l := &Load{Meter: m, Pool: &Pool{}, usages: []Usage{{Name: "server", CPU: 3}, {Name: "a < b & c"}}, Began: time.Now().UTC()}
	l.Ended = l.Began.Add(3 * time.Second)
	r := l.report("place")
	r.Settings, r.Faults, r.Examples = map[string]any{"Rate": 1000.0}, map[string]int{"lost": 1}, []string{"order 1"}
	recovered := 1.5
	r.Parts, r.Watchers = []Part{{Name: "burst", Recovered: &recovered}}, &Watchers{Open: 7}
	return r
}

func TestReportIsJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.json")
	r := someReport(t)
	if err := r.writeJSON(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var again Report
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(&again, r) {
		t.Errorf("%+v is not %+v", again, *r)
	}
}

func TestChartsAreWellFormed(t *testing.T) {
	t.Parallel()
	directory := filepath.Join(t.TempDir(), "charts")
	if err := someReport(t).writeCharts(directory); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"throughput", "latency", "percentiles", "memory"} {
		raw, err := os.ReadFile(filepath.Join(directory, "place-"+name+".svg"))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(raw), "NaN") || strings.Contains(string(raw), "Inf") {
			t.Errorf("%s has no place for a value", name)
		}
		for decoder := xml.NewDecoder(strings.NewReader(string(raw))); ; {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
}

// Where nothing was measured there is no line, and what stands alone is a dot.
func TestLineHasGaps(t *testing.T) {
	t.Parallel()
	r := &Report{Steps: map[string]Latency{"place": {}}}
	for second, count := range []int{2, 2, 0, 0, 2} {
		now := Second{At: float64(second + 1), Steps: map[string]Quantiles{}}
		if count > 0 {
			now.Steps["place"] = Quantiles{P50: 10, P99: 20}
		}
		r.Series = append(r.Series, now)
	}
	c := r.latencyOverTime()
	if pieces := c.pieces(c.Lines[0]); len(pieces) != 2 || strings.Count(pieces[1], ",") != 2 {
		t.Errorf("%q", pieces)
	}
	if c.Y.Min != 10 || c.Y.Max != 100 || strings.Contains(c.SVG(), "NaN") {
		t.Errorf("%+v %s", c.Y, c.SVG())
	}
}

func TestNoServerHasNoMemory(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	(&Report{Watchers: &Watchers{Open: 7}}).printWatchers(&b)
	if !strings.Contains(b.String(), "7\t-\t-\t-\t") {
		t.Error(b.String())
	}
}

func TestEmptyReport(t *testing.T) {
	t.Parallel()
	l := &Load{Meter: NewMeter(), Pool: &Pool{}}
	r := l.report("place")
	r.print(io.Discard)
	if err := r.writeCharts(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	if err := r.writeJSON(filepath.Join(t.TempDir(), "out.json")); err != nil {
		t.Fatal(err)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	l := someReport(t).Steps["place"]
	if l.Count != 3000 || l.P50 < 495 || l.P50 > 505 || l.P99 < 985 || l.P99 > 995 || l.Max < 998 {
		t.Errorf("%+v", l)
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	someReport(t).print(&b)
	for _, want := range []string{"place", "999", "burst", "server", "together", "FAULTS", "1 lost", "order 1"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestRoundAxes(t *testing.T) {
	t.Parallel()
	for most, want := range map[float64]float64{60: 60, 999: 1000, 1.2: 1.2, 0: 1, 833: 1000} {
		a := linear("", most)
		if a.Max < most || a.Max > want*1.21 || len(a.Ticks) < 3 || len(a.Ticks) > 8 {
			t.Errorf("an axis for %g ends at %g with %d ticks", most, a.Max, len(a.Ticks))
		}
	}
}
