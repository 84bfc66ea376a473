package conf

import (
	"slices"
	"testing"
)

func TestFilesOptions(t *testing.T) {
	c := parse(t, `
[[vhost]]
hosts = "a"
files = "a"
compress = true
	[[vhost.route]]
	path = "/plain/"
	files = "b"
	[[vhost.route]]
	path = "/list/"
	files = "c"
	browse = true
	compress = false
`+https)
	var got []Files
	for _, r := range c.Vhosts[0].Routes {
		got = append(got, Files{Compress: r.Files.Compress, Browse: r.Files.Browse})
	}
	if want := []Files{{Compress: true}, {}, {Browse: true}}; !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
