package conf

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DefaultColor is the accent where [login] says none.
const DefaultColor = "#3557d4"

const maxTitle = 60

func (lg *Login) theme(t *table) {
	title := t.get("title")
	lg.Title, lg.Logo, lg.Color, lg.Templates = title.text(), t.get("logo").path(), color(t.get("color")), t.get("templates").path()
	if utf8.RuneCountInString(lg.Title) > maxTitle || strings.ContainsFunc(lg.Title, func(c rune) bool { return !unicode.IsPrint(c) }) {
		title.mistake("title must be one line of at most %d characters", maxTitle)
	}
}

var hexColor = regexp.MustCompile(`^#([0-9a-f]{3}|[0-9a-f]{6})$`)

func color(v value) string {
	s := strings.ToLower(v.str())
	switch {
	case s == "":
		return DefaultColor
	case !hexColor.MatchString(s):
		v.mistake(`color must be "#rrggbb" or "#rgb", is %q`, v.raw)
	case len(s) == 4:
		return "#" + strings.Repeat(s[1:2], 2) + strings.Repeat(s[2:3], 2) + strings.Repeat(s[3:4], 2)
	}
	return s
}
