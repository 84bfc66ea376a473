package static

import (
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"edge/edge/wire"
)

var listed = regexp.MustCompile(`<li><a href="([^"]*)">([^<]*)</a>`)

// names gives what a list shows, and checks that each link leads to what its text says.
func names(t *testing.T, g got) (list []string) {
	t.Helper()
	for _, m := range listed.FindAllStringSubmatch(g.body, -1) {
		link, err := (&url.URL{Scheme: "https", Host: "site.example", Path: "/folder/"}).Parse(html.UnescapeString(m[1]))
		name := html.UnescapeString(m[2])
		want := "/folder/" + name
		if name == "../" {
			want = "/"
		}
		if err != nil || link.Host != "site.example" || link.Path != want || link.RawQuery != "" || link.Fragment != "" {
			t.Errorf("%q leads to %v, %v", name, link, err)
		}
		list = append(list, name)
	}
	return list
}

func TestBrowse(t *testing.T) { walled(t, testBrowse) }

func testBrowse(t *testing.T) {
	root := site(t)
	odd := []string{`<b>&"'`, "a b", "c:d", "100%", "é", "j?k", "l#m", "javascript:alert(1)", "%2e%2e", "x;y"}
	for _, name := range odd {
		put(t, filepath.Join(root, "bare", name), nil, changed)
	}
	put(t, filepath.Join(root, "bare", `back\slash`), nil, changed) // no request may say these
	put(t, filepath.Join(root, "bare", "new\nline"), nil, changed)
	put(t, filepath.Join(root, "bare", ".env"), nil, changed)
	for _, name := range []string{"Sub", ".git", "zoo"} {
		if err := os.Mkdir(filepath.Join(root, "bare", name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"in": "../a.txt", "infolder": "../folder", "out": "../../secret.txt", "abs": "/etc/passwd", "broken": "nothing", "loop": "loop", "topipe": "../pipe"} {
		if err := os.Symlink(target, filepath.Join(root, "bare", link)); err != nil {
			t.Fatal(err)
		}
	}
	want := append([]string{"x.txt", "in"}, odd...)
	slices.Sort(want)
	want = append([]string{"../", "Sub/", "infolder/", "zoo/"}, want...)
	for _, mode := range modes {
		ask := client(t, &Files{Root: root, Prefix: "/", Browse: true}, mode)
		g := ask("GET", "/bare/")
		if list := names(t, g); g.StatusCode != 200 || !slices.Equal(list, want) {
			t.Errorf("%s: %d\n%q, want\n%q", mode, g.StatusCode, list, want)
		}
		if strings.Contains(g.body, "<b>") || strings.Contains(g.body, "secret") {
			t.Errorf("%s: %s", mode, g.body)
		}
		for name, want := range map[string]string{
			"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff", "Etag": "", "Last-Modified": "",
			"Content-Security-Policy": string(listPolicy), "Content-Length": fmt.Sprint(len(g.body)),
		} {
			if g.field(name) != want {
				t.Errorf("%s: %s is %q", mode, name, g.field(name))
			}
		}
		if head := ask("HEAD", "/bare/"); head.StatusCode != 200 || head.field("Content-Length") != g.field("Content-Length") || head.body != "" {
			t.Errorf("%s: HEAD: %d %v", mode, head.StatusCode, head.Header)
		}
		for _, m := range listed.FindAllStringSubmatch(g.body, -1) { // whatever is listed is there
			if link := strings.TrimPrefix(html.UnescapeString(m[1]), "./"); link != "../" && link != "Sub/" && link != "zoo/" {
				if g := ask("GET", "/bare/"+link); g.StatusCode != 200 {
					t.Errorf("%s: %s is listed: %d", mode, link, g.StatusCode)
				}
			}
		}
	}
}

// The policy lets the page's own style pass, and nothing else.
func TestListPolicy(t *testing.T) {
	if want := "default-src 'none'; style-src 'sha256-"; !strings.HasPrefix(string(listPolicy), want) || strings.Contains(string(listPolicy), "unsafe") {
		t.Errorf("it is %s", listPolicy)
	}
	g := client(t, &Files{Root: site(t), Prefix: "/", Browse: true}, modes[0])("GET", "/bare/")
	if strings.Count(g.body, "<style>") != 1 || strings.Contains(g.body, "style=") || strings.Contains(g.body, "<script") {
		t.Errorf("the page is %s", g.body)
	}
}

func TestNotBrowsed(t *testing.T) {
	root := site(t)
	if err := os.Remove(filepath.Join(root, "index.html")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		browse   bool
		fallback string
		target   string
		status   int
		contains string
	}{
		{false, "", "/bare/", 404, "nothing here"}, // not asked for
		{false, "", "/", 404, "nothing here"},
		{true, "", "/", 200, `<a href="./a.txt">a.txt</a>`},
		{true, "", "/odd/", 200, `<a href="./index.html/">index.html/</a>`},
		{true, "", "/folder/", 200, "folder"}, // it has an index.html
		{true, "", "/bare", 308, ""},
		{true, "", "/nothing/", 404, ""},
		{true, "", "/.git/", 404, ""},
		{true, "", "/.well-known/", 200, `<a href="./x">x</a>`},
		{true, "", "/outside/", 404, ""},
		{true, "", "/a.txt/", 404, ""},
		{true, "", "/bare//", 404, ""},
		{true, "", "//", 404, ""},
		{true, "/a.txt", "/bare/", 200, `<a href="./x.txt">x.txt</a>`},
		{true, "/a.txt", "/nothing/", 200, "0123456789"},
	} {
		f := &Files{Root: root, Prefix: "/", Browse: c.browse, Fallback: c.fallback}
		if g := client(t, f, modes[0])("GET", c.target); g.StatusCode != c.status || !strings.Contains(g.body, c.contains) || c.status == 404 && strings.Contains(g.body, "<") {
			t.Errorf("%v %q: %s: %d %s", c.browse, c.fallback, c.target, g.StatusCode, g.body)
		}
	}
	g := client(t, &Files{Root: root, Prefix: "/", Browse: true}, modes[0])("GET", "/")
	for _, name := range append(names(t, g), "") {
		if strings.HasPrefix(name, ".") || name == "pipe" || name == "out.txt" || name == "abs.txt" || name == "outside/" {
			t.Errorf("%s is listed", name)
		}
	}
}

// A folder of very many files costs no more than the list may be long, and the list says that it is not all.
func TestListIsBounded(t *testing.T) {
	root := t.TempDir()
	for i := range 10 {
		put(t, filepath.Join(root, fmt.Sprint(i)), nil, changed)
	}
	d, err := openFolder(root, new(unix.Stat_t))
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	for most, want := range map[int]int{9: 9, 10: 10, 11: 10} {
		l, err := d.list("", most)
		if err != nil || len(l.Entries) != want || l.More != (want == 9) {
			t.Fatalf("of 10, %d at most: %+v, %v", most, l, err)
		}
		ask := client(t, wire.HandlerFunc(func(x *wire.Exchange) { l.send(x, true) }), modes[0])
		if g := ask("GET", "/"); strings.Count(g.body, "<li>") != want || strings.Contains(g.body, "There is more") != l.More {
			t.Errorf("of 10, %d at most: %s", most, g.body)
		}
	}
}
