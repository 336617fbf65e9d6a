package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
)

// writeCharts draws the report into a directory.
func (r *Report) writeCharts(directory string) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	charts := map[string]*Chart{
		"throughput": r.throughput(), "latency": r.latencyOverTime(), "percentiles": r.percentiles(), "memory": r.memory(),
	}
	for name, chart := range charts {
		if len(chart.Lines) == 0 {
			continue
		}
		path := filepath.Join(directory, r.Scenario+"-"+name+".svg")
		if err := os.WriteFile(path, []byte(chart.SVG()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// overTime makes a line of what each second says.
func (r *Report) overTime(name string, value func(before, now Second) float64) Line {
	line := Line{Name: name}
	var before Second
	for _, now := range r.Series {
		line.X, line.Y = append(line.X, now.At), append(line.Y, value(before, now))
		before = now
	}
	return line
}

func (r *Report) throughput() *Chart {
	c := &Chart{Title: r.Scenario + ": throughput", X: r.timeAxis(), Lines: []Line{
		r.overTime("finished", func(before, now Second) float64 { return float64(now.Finished-before.Finished) / (now.At - before.At) }),
		r.overTime("arrived", func(before, now Second) float64 { return float64(now.Started-before.Started) / (now.At - before.At) }),
	}}
	if r.Shed > 0 {
		c.Lines = append(c.Lines, r.overTime("refused (503)", func(before, now Second) float64 {
			return float64(now.Shed-before.Shed) / (now.At - before.At)
		}))
	}
	c.Y = linear("a second", most(c.Lines))
	return c
}

func (r *Report) latencyOverTime() *Chart {
	c := &Chart{Title: r.Scenario + ": latency", X: r.timeAxis()}
	for _, step := range stepNames {
		if _, ok := r.Steps[step]; !ok || !slices.Contains([]string{"menu", "place", "whole", "screen", "shed"}, step) {
			continue
		}
		measured := func(figure func(Quantiles) float64) func(_, now Second) float64 {
			return func(_, now Second) float64 {
				if q, ok := now.Steps[step]; ok {
					return figure(q)
				}
				return math.NaN()
			}
		}
		c.Lines = append(c.Lines,
			r.overTime(step+" p50", measured(func(q Quantiles) float64 { return q.P50 })),
			r.overTime(step+" p99", measured(func(q Quantiles) float64 { return q.P99 })))
	}
	c.Y = logarithmic("ms", least(c.Lines), most(c.Lines))
	return c
}

// percentiles draws latencies as an HdrHistogram's plot does: each step to the right is a tenth of the requests.
func (r *Report) percentiles() *Chart {
	c := &Chart{Title: r.Scenario + ": latency by percentile", X: Axis{Label: "percentile", Min: 1, Max: 10, Log: true}}
	for _, step := range stepNames {
		line := Line{Name: step}
		for _, p := range r.Steps[step].Percentiles {
			if p.Percent < 100 {
				line.X, line.Y = append(line.X, 100/(100-p.Percent)), append(line.Y, p.At)
				c.X.Max = max(c.X.Max, 100/(100-p.Percent))
			}
		}
		if len(line.X) > 1 {
			c.Lines = append(c.Lines, line)
		}
	}
	for _, tick := range []Tick{{1, "0"}, {2, "50"}, {10, "90"}, {1e2, "99"}, {1e3, "99.9"}, {1e4, "99.99"}, {1e5, "99.999"}, {1e6, "99.9999"}} {
		if tick.At <= c.X.Max {
			c.X.Ticks = append(c.X.Ticks, tick)
		}
	}
	c.Y = logarithmic("ms", least(c.Lines), most(c.Lines))
	return c
}

func (r *Report) memory() *Chart {
	c := &Chart{Title: r.Scenario + ": memory", X: r.timeAxis()}
	for _, process := range r.Processes {
		c.Lines = append(c.Lines, r.overTime(process.Name, func(_, now Second) float64 {
			return float64(now.Memory[process.Name]) / (1 << 20)
		}))
	}
	c.Y = linear("MiB", most(c.Lines))
	return c
}

func (r *Report) timeAxis() Axis {
	end := 1.0
	if len(r.Series) > 0 {
		end = r.Series[len(r.Series)-1].At
	}
	return linear("seconds", end)
}

func most(lines []Line) (value float64) {
	for _, line := range lines {
		for _, y := range line.Y {
			if y > value { // never so of a gap
				value = y
			}
		}
	}
	return value
}

// least is the smallest value above 0.
func least(lines []Line) float64 {
	value := most(lines)
	for _, line := range lines {
		for _, y := range line.Y {
			if y > 0 {
				value = min(value, y)
			}
		}
	}
	return value
}
