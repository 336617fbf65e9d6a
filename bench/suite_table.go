package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Results are what a suite found out.
type Results struct {
	Began    time.Time `json:"began"`
	Machine  string    `json:"machine"`
	Short    bool      `json:"short,omitempty"` // for trying out
	Settings *suiteRun `json:"settings"`
	Rows     []Row     `json:"rows"`
	Trials   []*Trial  `json:"runs"`
}

// Row is a line of the table.
type Row struct {
	What    string `json:"what"`
	Target  string `json:"target,omitempty"`
	Figure  string `json:"figure,omitempty"`
	Outcome string `json:"outcome,omitempty"` // "met", by how much it was missed, or "failed: " and why
}

func (r *Results) add(row Row) { r.Rows = append(r.Rows, row) }

// check fails if a run failed its checks.
func (r *Results) check() error {
	failed := 0
	for _, row := range r.Rows {
		if strings.HasPrefix(row.Outcome, "failed") {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d lines of the table failed", failed, len(r.Rows))
	}
	return nil
}

// write keeps every figure. The charts show what happened second by second; the file holds their sums, and nothing of
// where on this machine it was done.
func (r *Results) write(directory string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	for _, trial := range r.Trials {
		if trial.Report == nil {
			continue
		}
		trial.Report.Series = nil
		for name, step := range trial.Report.Steps {
			step.Percentiles = nil
			trial.Report.Steps[name] = step
		}
		trial.Report.Lag.Percentiles = nil
		for _, path := range []string{"Devices", "JSON", "Charts", "Pid", "Target", "Database"} {
			delete(trial.Report.Settings, path)
		}
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(directory, "results.json"), append(raw, '\n'), 0o644)
}

func (r *Results) print(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nWHAT\tTARGET\tFIGURE\t")
	for _, row := range r.Rows {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", row.What, row.Target, row.Figure, row.Outcome)
	}
	_ = table.Flush()
}

// markdown is the table with a line on where and when.
func (r *Results) markdown() string {
	var b strings.Builder
	fmt.Fprintln(&b, "| what | wanted | measured | |\n| --- | --- | --- | --- |")
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", cell(row.What), cell(row.Target), cell(row.Figure), cell(row.Outcome))
	}
	fmt.Fprintf(&b, "\n%s; %s. Generator, server and PostgreSQL together, durability on.\n", r.Began.Format("2 January 2006"), r.Machine)
	return b.String()
}

func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(text)
}

// marks are what a table stands between in the README.
type marks struct{ begin, end string }

var benchMarks = marks{"<!-- bench:begin -->", "<!-- bench:end -->"}

// readTable splits a file at its marks.
func readTable(path string, m marks) (parts [2]string, err error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return parts, err
	}
	before, rest, begins := strings.Cut(string(raw), m.begin)
	_, after, ends := strings.Cut(rest, m.end)
	if !begins || !ends {
		return parts, errors.New(path + " lacks the marks " + m.begin + " and " + m.end)
	}
	return [2]string{before + m.begin, m.end + after}, nil
}

// writeTable puts a table between the marks of a file.
func writeTable(path string, m marks, table string) error {
	parts, err := readTable(path, m)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(parts[0]+"\n"+table+parts[1]), 0o644)
}

// atLeast and atMost compare a figure with its target.
func atLeast(figure, target float64) string { return outcome(figure >= target, figure, target) }
func atMost(figure, target float64) string  { return outcome(figure <= target, figure, target) }

func outcome(met bool, figure, target float64) string {
	if met {
		return "met"
	}
	return "missed by " + percent(math.Abs(figure-target)/target)
}

// number has three digits that count, or more before the point.
func number(value float64) string {
	digits := 0
	switch {
	case math.IsNaN(value) || math.IsInf(value, 0):
		return "-"
	case math.Abs(value) < 10 && value != math.Trunc(value):
		digits = 2
	case math.Abs(value) < 100 && value != math.Trunc(value):
		digits = 1
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	for at := len(text) - 3; digits == 0 && at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1000)/10, 'f', -1, 64) + " %"
}

func mebibytes(count int64) string { return number(float64(count)/(1<<20)) + " MiB" }

func seconds(d time.Duration) string { return number(d.Seconds()) + " s" }

func text64(value float64) string { return strconv.FormatFloat(value, 'f', -1, 64) }
