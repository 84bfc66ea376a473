package conf

func init() { allBad = append(allBad, badThemes) }

// badThemes are mistakes in how the login pages are to look.
var badThemes = []badFile{
	{"how the login pages look", `
[login]
host = "login.localhost"
title = "two\nlines"
logo = ""
color = "red"
templates = 1
` + https, `
f.toml:4:9: title must be one line of at most 60 characters
f.toml:5:8: logo must not be empty
f.toml:6:9: color must be "#rrggbb" or "#rgb", is "red"
f.toml:7:13: templates must be a string, is an integer`},
	{"a long title and half a color", `
[login]
host = "login.localhost"
title = "0123456789012345678901234567890123456789012345678901234567890"
color = "#12345"
` + https, `
f.toml:4:9: title must be one line of at most 60 characters
f.toml:5:9: color must be "#rrggbb" or "#rgb", is "#12345"`},
}
