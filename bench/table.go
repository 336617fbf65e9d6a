package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// print writes the report for people.
func (r *Report) print(to io.Writer) {
	fmt.Fprintf(to, "%s: %d of %d finished in %.1f s, %.1f/s", r.Scenario, r.Finished, r.Started, r.Seconds, r.PerSecond)
	if r.Shed > 0 {
		fmt.Fprintf(to, ", %d shed", r.Shed)
	}
	fmt.Fprintf(to, "; generator late by p99 %.1f, at most %.1f ms", r.Lag.P99, r.Lag.Max)
	if r.Interrupted {
		fmt.Fprint(to, "; interrupted")
	}
	fmt.Fprint(to, "\n\n")
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	r.printSteps(table)
	r.printParts(table)
	r.printWatchers(table)
	r.printProcesses(table)
	_ = table.Flush()
	r.printChecks(to)
}

func (r *Report) printSteps(table io.Writer) {
	fmt.Fprint(table, "ms\tcount\tmean\tp50\tp90\tp99\tp99.9\tmax\t\n")
	for _, name := range stepNames {
		if s, ok := r.Steps[name]; ok {
			fmt.Fprintf(table, "%s\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t\n", name, s.Count, s.Mean, s.P50, s.P90, s.P99, s.P999, s.Max)
		}
	}
	fmt.Fprintln(table)
}

func (r *Report) printParts(table io.Writer) {
	if len(r.Parts) == 0 {
		return
	}
	fmt.Fprint(table, "part\toffered\taccepted\tshed\tgood/s\tplace p50\tp99\t503 p99\tof that waiting\trecovered s\t\n")
	for _, p := range r.Parts {
		recovered := "-"
		if p.Recovered != nil {
			recovered = fmt.Sprintf("%.2f", *p.Recovered)
		}
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%.1f\t%s\t\n", p.Name, p.Offered, p.Accepted, p.Shed, p.Goodput,
			p.Place.P50, p.Place.P99, p.Refuse.P99, p.Answer.P99, recovered)
	}
	fmt.Fprintln(table)
}

func (r *Report) printWatchers(table io.Writer) {
	w := r.Watchers
	if w == nil {
		return
	}
	fmt.Fprint(table, "open streams\tMiB before\tMiB with them\tKiB each\t\n")
	if w.Steady == 0 { // no process is named server
		fmt.Fprintf(table, "%d\t-\t-\t-\t\n\n", w.Open)
		return
	}
	fmt.Fprintf(table, "%d\t%.1f\t%.1f\t%.1f\t\n\n", w.Open, float64(w.Before)/(1<<20), float64(w.Steady)/(1<<20), w.PerWatcher/(1<<10))
}

func (r *Report) printProcesses(table io.Writer) {
	fmt.Fprint(table, "process\tCPU s\tCPU s per 1,000\tpeak MiB\t\n")
	var total Usage
	for _, u := range r.Processes {
		printUsage(table, u)
		total.CPU, total.PerThousand = total.CPU+u.CPU, total.PerThousand+u.PerThousand
		total.MemoryPeak += u.MemoryPeak
	}
	if total.Name = "together"; len(r.Processes) > 1 {
		printUsage(table, total)
	}
	printUsage(table, r.Generator)
	fmt.Fprintln(table)
}

func printUsage(table io.Writer, u Usage) {
	fmt.Fprintf(table, "%s\t%.2f\t%.3f\t%.1f\t\n", u.Name, u.CPU, u.PerThousand, float64(u.MemoryPeak)/(1<<20))
}

func (r *Report) printChecks(to io.Writer) {
	if r.ReadBack != nil {
		fmt.Fprintf(to, "read back: %d orders of %d stores, settled after %.1f s\n", r.ReadBack.Orders, r.ReadBack.Stores, r.ReadBack.Seconds)
	}
	switch {
	case len(r.Faults) > 0:
	case r.Interrupted:
		fmt.Fprintln(to, "every check passed until the interrupt")
		return
	default:
		fmt.Fprintln(to, "every check passed")
		return
	}
	kinds := make([]string, 0, len(r.Faults))
	for kind := range r.Faults {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	fmt.Fprintln(to, "FAULTS")
	for _, kind := range kinds {
		fmt.Fprintf(to, "  %d %s\n", r.Faults[kind], kind)
	}
	for _, example := range r.Examples {
		fmt.Fprintf(to, "    %s\n", example)
	}
}
