package main

import (
	"fmt"
	"html"
	"html/template"
	"math"
	"strings"
)

// chart is a line chart as SVG. Its colours are variables of the page, so that it follows light and dark.
type chart struct {
	title  string
	note   string // what the axes are
	x, y   func(float64) string
	series []series
	xTicks []float64 // nil: chosen
	logY   bool
	phases []phase
}

// series is one line; its colour goes by its number.
type series struct {
	name  string
	color int
	dash  bool
	xs    []float64
	ys    []float64
}

// phase is a stretch of the x axis with a name.
type phase struct {
	name     string
	from, to float64
}

// The measures of a chart, in units of its view box.
const (
	chartWidth   = 640.0
	chartHeight  = 260.0
	marginLeft   = 62.0
	marginRight  = 14.0
	marginTop    = 14.0
	marginBottom = 30.0
	plotWidth    = chartWidth - marginLeft - marginRight
	plotHeight   = chartHeight - marginTop - marginBottom
)

// svg draws the chart; empty when there is nothing to draw.
func (c *chart) svg() template.HTML {
	minX, maxX, minY, maxY := c.bounds()
	if minX > maxX {
		return ""
	}
	ticks := niceTicks(minY, maxY, 5)
	if c.logY {
		ticks = logTicks(minY, maxY)
	}
	minY, maxY = min(minY, ticks[0]), max(maxY, ticks[len(ticks)-1])
	scaleX := func(x float64) float64 {
		if maxX == minX {
			return marginLeft
		}
		return marginLeft + (x-minX)/(maxX-minX)*plotWidth
	}
	scaleY := func(y float64) float64 {
		if c.logY {
			y, lo, hi := math.Log10(max(y, minY)), math.Log10(minY), math.Log10(maxY)
			return marginTop + (1-(y-lo)/max(hi-lo, 1e-9))*plotHeight
		}
		return marginTop + (1-(y-minY)/max(maxY-minY, 1e-9))*plotHeight
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, html.EscapeString(c.title))
	for i, p := range c.phases {
		from, to := scaleX(max(p.from, minX)), scaleX(min(p.to, maxX))
		if i%2 == 1 {
			fmt.Fprintf(&b, `<rect class="phase" x="%.1f" y="%g" width="%.1f" height="%g"/>`, from, marginTop, max(to-from, 0), plotHeight)
		}
		if to-from > 40 {
			fmt.Fprintf(&b, `<text class="phase-name" x="%.1f" y="%g">%s</text>`, from+4, marginTop+11, html.EscapeString(p.name))
		}
	}
	for _, t := range ticks {
		y := scaleY(t)
		fmt.Fprintf(&b, `<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1f"/>`, marginLeft, chartWidth-marginRight, y, y)
		fmt.Fprintf(&b, `<text class="tick" text-anchor="end" x="%g" y="%.1f">%s</text>`, marginLeft-8, y+3.5, html.EscapeString(c.y(t)))
	}
	xTicks := c.xTicks
	if xTicks == nil {
		xTicks = niceTicks(minX, maxX, 8)
	}
	for _, t := range xTicks {
		if t < minX || t > maxX {
			continue
		}
		fmt.Fprintf(&b, `<text class="tick" text-anchor="middle" x="%.1f" y="%g">%s</text>`, scaleX(t), chartHeight-marginBottom+17, html.EscapeString(c.x(t)))
	}
	for _, s := range c.series {
		s.draw(&b, c, scaleX, scaleY)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// draw draws a line, and a dot with its value for whoever points at it.
func (s *series) draw(b *strings.Builder, c *chart, scaleX, scaleY func(float64) float64) {
	dash := ""
	if s.dash {
		dash = ` stroke-dasharray="5 4"`
	}
	fmt.Fprintf(b, `<polyline class="line c%d"%s points="`, s.color%colors, dash)
	for i, x := range s.xs {
		fmt.Fprintf(b, "%.1f,%.1f ", scaleX(x), scaleY(s.ys[i]))
	}
	b.WriteString(`"/>`)
	for i, x := range s.xs {
		fmt.Fprintf(b, `<circle class="dot c%d" cx="%.1f" cy="%.1f" r="5"><title>%s: %s at %s</title></circle>`,
			s.color%colors, scaleX(x), scaleY(s.ys[i]), html.EscapeString(s.name), html.EscapeString(c.y(s.ys[i])), html.EscapeString(c.x(x)))
	}
}

// bounds are the least and the most of both axes. A linear y axis begins at 0.
func (c *chart) bounds() (minX, maxX, minY, maxY float64) {
	minX, maxX, minY, maxY = math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range c.series {
		for i, x := range s.xs {
			minX, maxX = min(minX, x), max(maxX, x)
			if y := s.ys[i]; !c.logY || y > 0 {
				minY, maxY = min(minY, y), max(maxY, y)
			}
		}
	}
	switch {
	case c.logY && minY > maxY:
		minY, maxY = 0.1, 1
	case !c.logY:
		minY = min(minY, 0)
		if maxY <= minY {
			maxY = minY + 1
		}
	}
	return minX, maxX, minY, maxY
}

// niceTicks are about n round numbers between two.
func niceTicks(from, to float64, n int) []float64 {
	if to <= from {
		to = from + 1
	}
	step := math.Pow(10, math.Floor(math.Log10((to-from)/float64(n))))
	for _, f := range []float64{1, 2, 5, 10} {
		if (to-from)/(step*f) <= float64(n) {
			step *= f
			break
		}
	}
	var ticks []float64
	for i := math.Floor(from / step); ; i++ {
		ticks = append(ticks, i*step)
		if i*step >= to {
			return ticks
		}
	}
}

// logTicks are the powers of ten around two numbers.
func logTicks(from, to float64) []float64 {
	var ticks []float64
	for e := math.Floor(math.Log10(from)); ; e++ {
		ticks = append(ticks, math.Pow(10, e))
		if math.Pow(10, e) >= to {
			return ticks
		}
	}
}

// colors is how many colours the page has for series.
const colors = 6
