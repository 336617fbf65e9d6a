package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTableStandsBetweenItsMarks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("before\n"+benchMarks.begin+"\nold\n"+benchMarks.end+"\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // writing it again changes nothing
		if err := writeTable(path, benchMarks, "new\n"); err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := "before\n" + benchMarks.begin + "\nnew\n" + benchMarks.end + "\nafter\n"; string(raw) != want {
			t.Fatalf("got %q, want %q", raw, want)
		}
	}
}

func TestTableWantsItsMarks(t *testing.T) {
	t.Parallel()
	for _, content := range []string{"", benchMarks.begin, benchMarks.end, benchMarks.end + benchMarks.begin} {
		path := filepath.Join(t.TempDir(), "README.md")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeTable(path, benchMarks, "new\n"); err == nil {
			t.Errorf("a table was written to %q", content)
		}
		if raw, err := os.ReadFile(path); err != nil || string(raw) != content {
			t.Errorf("%q became %q (%v)", content, raw, err)
		}
	}
}

func TestTableHidesNothing(t *testing.T) {
	t.Parallel()
	r := &Results{Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Machine: "2 cores"}
	r.add(Row{What: "a|b", Target: "≥ 80 %", Figure: "90 %", Outcome: atLeast(0.9, 0.8)})
	if err := r.check(); err != nil {
		t.Error(err)
	}
	r.add(Row{What: "late", Target: "≤ 10 ms", Figure: "15 ms", Outcome: atMost(15, 10)})
	r.add(Row{What: "lost", Outcome: failure("3\n lost")})
	if err := r.check(); err == nil {
		t.Error("a failed run passed")
	}
	table := r.markdown()
	for _, want := range []string{
		"| a\\|b | ≥ 80 % | 90 % | met |\n", "| late | ≤ 10 ms | 15 ms | missed by 50 % |\n", "| lost |  |  | failed: 3 lost |\n",
		"2 January 2026; 2 cores.",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is not in\n%s", want, table)
		}
	}
}

func TestScenarioThatFailsStandsInTheTable(t *testing.T) {
	t.Parallel()
	b := &bench{results: &Results{}}
	b.run(t.Context(), "lifecycle", func(b *bench, _ context.Context) error {
		b.note("")
		b.add(Row{What: "orders", Outcome: "met"})
		return nil
	})
	b.run(t.Context(), "menu", func(b *bench, _ context.Context) error {
		b.note("2 lost")
		b.note("")
		b.add(Row{What: "reads", Outcome: "missed by 5 %"})
		b.add(Row{What: "CPU"})
		b.note("")
		b.add(Row{What: "304", Outcome: "met"})
		b.note("3 late")
		return errors.New("no route")
	})
	var got []string
	for _, row := range b.results.Rows {
		got = append(got, row.What+" "+row.Outcome)
	}
	if want := "orders met, reads failed, missed by 5 %: 2 lost, CPU failed, 304 met, menu failed: 3 late, menu failed: no route"; strings.Join(got, ", ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMiddleRunCounts(t *testing.T) {
	t.Parallel()
	run := func(p99, cpu float64) *Report {
		return &Report{Started: 60_000, Finished: 60_000, Seconds: 60.5, Steps: map[string]Latency{"place": {P99: p99}}, Processes: []Usage{{Name: "server", PerThousand: cpu}}}
	}
	b := &bench{results: &Results{}}
	b.tellLifecycle([]*Report{run(300, 3), run(80, 1), run(200, 2)}, time.Minute)
	var got []string
	for _, row := range b.results.Rows {
		got = append(got, row.Figure)
	}
	if want := "1,000/s, 200 ms, 2.00 (2.00 + 0.00), 0 MiB"; strings.Join(got, ", ") != want || !strings.Contains(b.results.Rows[1].What, "80 / 200 / 300 ms") {
		t.Errorf("got %q of %s, want %q", got, b.results.Rows[1].What, want)
	}
}

func TestTurnsAlternate(t *testing.T) {
	t.Parallel()
	said := ""
	say := func(name string) func() (string, error) {
		return func() (string, error) {
			said += name
			return name, nil
		}
	}
	ones, others, err := turns(say("a"), say("b"))
	if said != "abbaab" || strings.Join(ones, "") != "aaa" || strings.Join(others, "") != "bbb" || err != nil {
		t.Error(said, ones, others, err)
	}
}

func TestNumbersAreRead(t *testing.T) {
	t.Parallel()
	for value, want := range map[float64]string{0: "0", 1.234: "1.23", 12.34: "12.3", 123.4: "123", 1234.5: "1,234", 1234567: "1,234,567", -1234: "-1,234", 30: "30"} {
		if got := number(value); got != want {
			t.Errorf("%v is written %q, not %q", value, got, want)
		}
	}
	if got := percent(0.0456); got != "4.6 %" {
		t.Error(got)
	}
}

func TestPgbenchIsRead(t *testing.T) {
	t.Parallel()
	const said = `pgbench (15.18)
transaction type: group.sql
number of transactions actually processed: 2702
number of failed transactions: 0 (0.000%)
latency average = 7.404 ms
initial connection time = 2.345 ms
tps = 270.137654 (without initial connection time)
`
	if rate, err := parsePgbench(said); err != nil || rate != 270.137654 {
		t.Errorf("%v, %v", rate, err)
	}
	for _, bad := range []string{
		"", strings.Replace(said, "tps", "x", 1), strings.Replace(said, ": 0 (", ": 7 (", 1),
		said + "pgbench: error: Run was aborted; the above results are incomplete.\n",
	} {
		if rate, err := parsePgbench(bad); err == nil {
			t.Errorf("%v was read from %q", rate, bad)
		}
	}
}

func TestMiddle(t *testing.T) {
	t.Parallel()
	if got := []float64{middle(nil), middle([]float64{3, 1, 9}), middle([]float64{4, 2})}; got[0] != 0 || got[1] != 3 || got[2] != 3 {
		t.Error(got)
	}
}
