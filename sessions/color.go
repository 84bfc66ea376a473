package sessions

import (
	"fmt"
	"math"
)

// rgb is a color of the sRGB space, each part from 0 to 255.
type rgb [3]float64

// The cards that texts and buttons stand on, light and dark, and the texts that may stand on the accent; see style.css.
var (
	white     = rgb{255, 255, 255}
	black     = rgb{0, 0, 0}
	ink       = rgb{16, 20, 29}
	lightPage = rgb{244, 245, 248}
	darkCard  = rgb{27, 31, 40}
)

const (
	readable = 4.5 // WCAG 2.2 §1.4.3, of a text and its ground
	visible  = 3.0 // §1.4.11, of what is no text
)

// parseColor reads what conf has checked.
func parseColor(s string) (c rgb) {
	var n [3]uint8
	fmt.Sscanf(s, "#%02x%02x%02x", &n[0], &n[1], &n[2])
	for i, v := range n {
		c[i] = float64(v)
	}
	return c
}

func (c rgb) String() string {
	return fmt.Sprintf("#%02x%02x%02x", int(c[0]+.5), int(c[1]+.5), int(c[2]+.5))
}

// mixed is so much of the way, from 0 to 1, to another color.
func (c rgb) mixed(to rgb, share float64) rgb {
	for i := range c {
		c[i] += (to[i] - c[i]) * share
	}
	return c
}

// luminance and contrast are those of WCAG 2.2.
func (c rgb) luminance() float64 {
	var l [3]float64
	for i, v := range c {
		if v /= 255; v <= 0.04045 {
			l[i] = v / 12.92
		} else {
			l[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	return 0.2126*l[0] + 0.7152*l[1] + 0.0722*l[2]
}

func contrast(a, b rgb) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// until goes toward another color until c stands out from a ground.
func (c rgb) until(ground, toward rgb, want float64) rgb {
	for step := 0.0; step < 1; step += 0.02 {
		if m := parseColor(c.mixed(toward, step).String()); contrast(m, ground) >= want {
			return m
		}
	}
	return toward
}

// textOn is white where that can be read on c, else dark.
func (c rgb) textOn() rgb {
	if contrast(c, white) >= readable {
		return white
	}
	return ink.until(c, black, readable)
}

// hover is c under the mouse: further away from its text.
func (c rgb) hover() rgb {
	if c.textOn() == white {
		return c.mixed(black, 0.15)
	}
	return c.mixed(white, 0.15)
}

// accentStyle sets the accent in style.css's variables. A color is taken as it is for buttons, as far as they are seen at all, and in a
// shade that can be read for links.
func accentStyle(color string) string {
	c := parseColor(color)
	const vars = "--accent: %s; --accent-hover: %s; --on-accent: %s; --link: %s;"
	of := func(c, link rgb) string { return fmt.Sprintf(vars, c, c.hover(), c.textOn(), link) }
	dark := c.until(darkCard, white, visible)
	return fmt.Sprintf(":root { %s }\n@media (prefers-color-scheme: dark) { :root { %s } }\n",
		of(c, c.until(lightPage, black, readable)), of(dark, c.until(darkCard, white, readable)))
}
