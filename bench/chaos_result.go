package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
)

// chaosMarks are those in the README that the table stands between.
var chaosMarks = marks{"<!-- chaos:begin -->", "<!-- chaos:end -->"}

// examplesOf bounds the violations of a check that are told in full.
const examplesOf = 10

// chaosResult is what a run found out.
type chaosResult struct {
	Began    time.Time    `json:"began"`
	Seconds  float64      `json:"seconds"`
	Settings *chaosRun    `json:"settings"`
	Provider string       `json:"provider"`
	Faults   []brokeRow   `json:"faults"`
	Rounds   []chaosRound `json:"rounds"`
	Checks   []checkRow   `json:"checks"`

	Orders     int            `json:"orders"`
	Acks       int            `json:"acknowledgements"`
	Screens    int            `json:"streams_watched"`
	Reconnects int64          `json:"reconnects"`
	Broken     int64          `json:"requests_broken_off"`
	Later      int64          `json:"answers_503_or_429"`
	Internal   int64          `json:"other_5xx"`
	GaveUp     int64          `json:"requests_given_up"`
	Answers    map[string]int `json:"wrong_answers"`
	Examples   []string       `json:"wrong_answers_told"`
}

// brokeRow is one kind of fault.
type brokeRow struct {
	Name    string  `json:"name"`
	Times   int     `json:"times"`
	Slowest float64 `json:"slowest_recovery_seconds"`
}

// chaosRound is one stretch of faults and the quiet after it.
type chaosRound struct {
	Processes int     `json:"processes"`
	Faults    int     `json:"faults"` // since the beginning
	Settled   float64 `json:"settled_after_seconds"`
	Last      string  `json:"last_unfinished"` // what was waited for longest
	Orders    int     `json:"orders"`          // since the beginning
}

// checkRow is one check over all rounds.
type checkRow struct {
	Name       string   `json:"name"`
	Violations int      `json:"violations"`
	Examples   []string `json:"examples,omitempty"`
}

func newChaosResult(s *chaosRun) *chaosResult {
	r := &chaosResult{Began: time.Now().UTC(), Settings: s, Provider: "the sandbox in a process of its own, with its ledger on its own disk"}
	for _, check := range chaosChecks {
		r.Checks = append(r.Checks, checkRow{Name: check.name})
	}
	return r
}

// met notes that something broke and how long it took to serve again.
func (r *chaosResult) met(name string, recovery time.Duration) {
	for i := range r.Faults {
		if row := &r.Faults[i]; row.Name == name {
			row.Times, row.Slowest = row.Times+1, max(row.Slowest, recovery.Seconds())
			return
		}
	}
	r.Faults = append(r.Faults, brokeRow{name, 1, recovery.Seconds()})
}

// broken is how often anything broke.
func (r *chaosResult) broken() (n int) {
	for _, row := range r.Faults {
		n += row.Times
	}
	return n
}

// note runs the checks over the records of a round. What was wrong before is counted again, as it still is.
func (r *chaosResult) note(found *records, round chaosRound) {
	for i, check := range chaosChecks {
		row, faults := &r.Checks[i], check.run(found)
		row.Violations = max(row.Violations, len(faults))
		for _, fault := range faults {
			if len(row.Examples) < examplesOf {
				row.Examples = append(row.Examples, fault)
			}
		}
	}
	r.Rounds = append(r.Rounds, round)
	r.Orders, r.Acks, r.Screens = len(found.Orders), len(found.Acks), len(found.Screens)
}

func (r *chaosResult) violations() (n int) {
	for _, row := range r.Checks {
		n += row.Violations
	}
	return n
}

func (c *chaos) sumUp() {
	r := c.result
	r.Seconds = time.Since(c.begun).Seconds()
	r.Reconnects, r.Broken, r.Later = c.reconnects.Load(), c.broken.Load(), c.later.Load()
	r.Internal, r.GaveUp = c.internal.Load(), c.gaveUp.Load()
	r.Answers, r.Examples = c.faults.Told()
}

func (r *chaosResult) failure() error {
	wrong := 0
	for _, n := range r.Answers {
		wrong += n
	}
	switch {
	case len(r.Rounds) == 0:
		return fmt.Errorf("nothing was checked (seed %d)", r.Settings.Seed)
	case r.Orders == 0 || r.GaveUp > 0:
		return fmt.Errorf("%d orders, and %d requests that nobody answered in %s (seed %d)", r.Orders, r.GaveUp, insistFor, r.Settings.Seed)
	case r.violations() > 0 || wrong > 0:
		return fmt.Errorf("%d violations, %d wrong answers (seed %d)", r.violations(), wrong, r.Settings.Seed)
	}
	return nil
}

func (r *chaosResult) print(to io.Writer) {
	fmt.Fprintf(to, "\nchaos, seed %d: %d orders, %d acknowledgements, %d streams in %.0f s\n", r.Settings.Seed, r.Orders, r.Acks, r.Screens, r.Seconds)
	fmt.Fprintf(to, "%d requests broken off, %d answered 503 or 429, %d other 5xx, %d given up, %d streams opened again\n\n", r.Broken, r.Later, r.Internal, r.GaveUp, r.Reconnects)
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, row := range r.Faults {
		fmt.Fprintf(table, "%s\t%d times\tsays it is ready again after %.2f s at most\n", row.Name, row.Times, row.Slowest)
	}
	fmt.Fprintln(table)
	for _, row := range r.Checks {
		fmt.Fprintf(table, "%s\t%s\t\n", row.Name, row.outcome())
	}
	_ = table.Flush()
	for _, row := range r.Checks {
		for _, example := range row.Examples {
			fmt.Fprintf(to, "  %s\n", example)
		}
	}
	for kind, n := range r.Answers {
		fmt.Fprintf(to, "  wrong answers: %d %s\n", n, kind)
	}
	for _, example := range r.Examples {
		fmt.Fprintf(to, "    %s\n", example)
	}
}

func (row checkRow) outcome() string {
	if row.Violations > 0 {
		return fmt.Sprintf("%d violations", row.Violations)
	}
	return "held"
}

// write keeps the result where it is wanted.
func (r *chaosResult) write(s *chaosRun) error {
	if s.JSON != "" {
		raw, err := json.MarshalIndent(r, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(s.JSON, append(raw, '\n'), 0o644); err != nil {
			return err
		}
	}
	if s.Readme == "" || s.Short || len(r.Rounds) == 0 {
		return nil
	}
	return writeTable(s.Readme, chaosMarks, r.markdown())
}

// markdown is the table of what was broken and what held.
func (r *chaosResult) markdown() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| broken | times | says it is ready again after at most |\n| --- | --- | --- |")
	for _, row := range r.Faults {
		fmt.Fprintf(&b, "| %s | %d | %.1f s |\n", cell(row.Name), row.Times, row.Slowest)
	}
	fmt.Fprintln(&b, "\n| what must hold | |\n| --- | --- |")
	for _, row := range r.Checks {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(row.Name), row.outcome())
	}
	settled := 0.0
	for _, round := range r.Rounds {
		settled = max(settled, round.Settled)
	}
	fmt.Fprintf(&b, "\n%s; seed %d; %s orders, %s acknowledgements, %s live streams; %d %% of the cards misbehave; everything was finished at most %.0f s after the last fault of a round. Provider: %s.\n",
		r.Began.Format("2 January 2006"), r.Settings.Seed, number(float64(r.Orders)), number(float64(r.Acks)), number(float64(r.Screens)), faultyCards, settled, r.Provider)
	return b.String()
}
