package conf

func init() {
	good = append(good, goodTheme...)
}

var goodTheme = []goodFile{
	{"how the login pages look", https + login + `
title = "Example Ltd – Wörkshop"
logo = "pictures/logo.svg"
color = "#0A5"
templates = "/srv/pages"
`, func(c *Config) any {
		l := c.Login
		return []any{l.Title, l.Logo.Path, l.Color, l.Templates.Path}
	}, []any{"Example Ltd – Wörkshop", "/etc/edge/pictures/logo.svg", "#00aa55", "/srv/pages"}},
}
