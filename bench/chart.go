package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The size of a chart and of the margins around its plot, in pixels.
const (
	chartWidth, chartHeight  = 880, 400
	left, right, top, bottom = 72, 150, 48, 52
)

// inks are the colours of the lines, readable on paper.
var inks = []string{"#c8641b", "#3d2b1f", "#5b7f5a", "#7a5c99", "#b03a48", "#3f7a8c", "#9a7b2f", "#808080"}

// Chart is a drawing of lines over two axes.
type Chart struct {
	Title string
	X, Y  Axis
	Lines []Line
}

// Axis says what is counted and how it is laid out.
type Axis struct {
	Label    string
	Min, Max float64
	Log      bool // Min must be above 0
	Ticks    []Tick
}

// Tick is a labelled place on an axis.
type Tick struct {
	At    float64
	Label string
}

// Line is one row of values, with gaps where Y is no number.
type Line struct {
	Name string
	X, Y []float64
}

// SVG draws the chart.
func (c *Chart) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#3d2b1f">`+"\n",
		chartWidth, chartHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#faf6ee"/>`+"\n", chartWidth, chartHeight)
	fmt.Fprintf(&b, `<text x="%d" y="28" font-family="Georgia, serif" font-size="17">%s</text>`+"\n", left, html.EscapeString(c.Title))
	c.drawAxes(&b)
	for i, line := range c.Lines {
		c.drawLine(&b, i, line)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func (c *Chart) drawAxes(b *strings.Builder) {
	for _, tick := range c.Y.Ticks {
		y := c.y(tick.At)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#e4d9c8"/>`, left, chartWidth-right, y, y)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", left-8, y+4, html.EscapeString(tick.Label))
	}
	for _, tick := range c.X.Ticks {
		x := c.x(tick.At)
		fmt.Fprintf(b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#e4d9c8"/>`, x, x, top, chartHeight-bottom)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n", x, chartHeight-bottom+18, html.EscapeString(tick.Label))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle" fill="#8a7560">%s</text>`+"\n", (left+chartWidth-right)/2, chartHeight-12,
		html.EscapeString(c.X.Label))
	fmt.Fprintf(b, `<text transform="translate(18 %d) rotate(-90)" text-anchor="middle" fill="#8a7560">%s</text>`+"\n",
		(top+chartHeight-bottom)/2, html.EscapeString(c.Y.Label))
}

func (c *Chart) drawLine(b *strings.Builder, i int, line Line) {
	ink := inks[i%len(inks)]
	for _, points := range c.pieces(line) {
		fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.6" stroke-linejoin="round" stroke-linecap="round" points="%s"/>`+"\n", ink, points)
	}
	y := top + 12 + 20*i
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="12" height="3" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n",
		chartWidth-right+14, y-5, ink, chartWidth-right+32, y, html.EscapeString(line.Name))
}

// pieces are the points of a line between its gaps. The first of each stands twice, so that one alone is a dot.
func (c *Chart) pieces(line Line) (pieces []string) {
	var points []string
	for k, y := range line.Y {
		gap := math.IsNaN(y)
		if !gap {
			point := fmt.Sprintf("%.1f,%.1f", c.x(line.X[k]), c.y(y))
			if len(points) == 0 {
				points = append(points, point)
			}
			points = append(points, point)
		}
		if (gap || k == len(line.Y)-1) && len(points) > 0 {
			pieces, points = append(pieces, strings.Join(points, " ")), nil
		}
	}
	return pieces
}

func (c *Chart) x(v float64) float64 { return left + c.X.share(v)*float64(chartWidth-left-right) }

func (c *Chart) y(v float64) float64 {
	return float64(chartHeight-bottom) - c.Y.share(v)*float64(chartHeight-top-bottom)
}

// share is where a value stands between the ends of the axis, 0 to 1.
func (a *Axis) share(v float64) float64 {
	from, to := a.Min, a.Max
	if a.Log {
		v, from, to = math.Log(max(v, a.Min)), math.Log(from), math.Log(to)
	}
	return min(max((v-from)/(to-from), 0), 1)
}

// linear is an axis from 0 with about five round ticks.
func linear(label string, most float64) Axis {
	if most <= 0 {
		most = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(most/5)))
	for _, by := range []float64{2, 2.5, 2} { // 1, 2, 5, 10 of the power
		if most/step > 6 {
			step *= by
		}
	}
	a := Axis{Label: label, Max: math.Ceil(most/step) * step}
	for at := 0.0; at <= a.Max+step/2; at += step {
		a.Ticks = append(a.Ticks, Tick{at, fmt.Sprintf("%g", math.Round(at*1e6)/1e6)})
	}
	return a
}

// logarithmic is an axis over whole powers of ten.
func logarithmic(label string, least, most float64) Axis {
	from := math.Floor(math.Log10(max(least, 1e-3)))
	to := max(math.Ceil(math.Log10(max(most, 1e-3))), from+1)
	a := Axis{Label: label, Min: math.Pow(10, from), Max: math.Pow(10, to), Log: true}
	for power := from; power <= to; power++ {
		a.Ticks = append(a.Ticks, Tick{math.Pow(10, power), fmt.Sprintf("%g", math.Pow(10, power))})
	}
	return a
}
