package conf

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write what is said about each bad file into testdata/bad: read it then")

// badArchives gives the archives of testdata/bad by name. Each holds the main file, "f.toml", those that it includes, and in "want" all that
// is said about them.
func badArchives(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	names, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(names) < 80 {
		t.Fatalf("%d bad files, %v", len(names), err)
	}
	archives := map[string]*txtar.Archive{}
	for _, name := range names {
		if archives[name], err = txtar.ParseFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return archives
}

// section gives one file of an archive.
func section(a *txtar.Archive, name string) *txtar.File {
	for i := range a.Files {
		if a.Files[i].Name == name {
			return &a.Files[i]
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name})
	return &a.Files[len(a.Files)-1]
}

func TestBadFiles(t *testing.T) {
	for name, a := range badArchives(t) {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			golden, err := filepath.Abs(name)
			if err != nil {
				t.Fatal(err)
			}
			want, said := section(a, "want"), explainBad(t, a)
			if !*update {
				if string(want.Data) != said {
					t.Errorf("got:\n%s\nwant:\n%s", said, want.Data)
				}
				return
			}
			want.Data = []byte(said)
			if err := os.WriteFile(golden, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// explainBad loads an archive's files from a folder, and gives what is said about them.
func explainBad(t *testing.T, a *txtar.Archive) string {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, f := range a.Files {
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Name, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return mistakesOf(t, func() (*Config, error) { return Load("f.toml") }).Explain() + "\n"
}

// mistakesOf gives the mistakes of a configuration that has some.
func mistakesOf(t *testing.T, load func() (*Config, error)) Errors {
	t.Helper()
	c, err := load()
	if c != nil {
		t.Error("a Config is returned beside the mistakes")
	}
	var mistakes Errors
	if !errors.As(err, &mistakes) || len(mistakes) == 0 {
		t.Fatalf("the error is %T, not Errors: %v", err, err)
	}
	return mistakes
}

// What the fragments below and in the table of good files stand before, so that the lines of their mistakes count from 1.
const (
	https = `
[[listener]]
name = "https"
address = "127.0.0.1:8443"
protocol = "https"
[[certificate]]
hosts = "localhost"
issuer = "dev"
`
	http = `
[[listener]]
name = "http"
address = "127.0.0.1:8080"
protocol = "http"
`
	login = `
[login]
host = "login.localhost"
`
)

// badFile is a text with mistakes, and what is said about it, in one line for each mistake.
type badFile struct {
	name, text, want string
}

var allBad = [][]badFile{bad, badRules, badConnections, badFiles, badLogs, badReloads, badIdentity}

// bad are the texts that no file of testdata/bad can hold.
var bad = []badFile{
	{"not UTF-8", "# \xff\n" + https, `
f.toml:1:2: is not TOML: invalid UTF-8 byte: 0xff`},
	{"a control byte", "\x01", `
f.toml:1:1: is not TOML: TOML files cannot contain control characters: '0x01'`},
	{"the parsers disagree", "\xff\xfea = 1\n", `
f.toml:1:1: is not TOML: invalid character at start of key: U+00FF 'ÿ'`},
	{"too large", strings.Repeat("#", maxText+1), `
f.toml: is larger than 1048576 bytes`},
	{"CRLF", "[drain]\r\nstop = 1\r\n\r\nhard = 2\r\n" + https, `
f.toml:2:8: stop must be a duration like "5s", is an integer
f.toml:4:8: hard must be a duration like "5s", is an integer`},
	{"a byte order mark", "\xef\xbb\xbfstat_dir = 1\n" + https, `
f.toml:1:1: unknown key "stat_dir"; did you mean "state_dir"?`},
	{"nothing stands behind the last mistake", "[drain]\nstop = 1" + strings.TrimSuffix(https, "\n"), `
f.toml:2:8: stop must be a duration like "5s", is an integer`},
	{"no file is read", `include = "a.toml"` + https, `
f.toml:1:1: "include" is for a configuration that is read from a file`},
}

func TestBad(t *testing.T) {
	for _, table := range allBad {
		for _, test := range table {
			t.Run(test.name, func(t *testing.T) {
				mistakes := mistakesOf(t, func() (*Config, error) { return Parse("f.toml", []byte(test.text)) })
				if got, want := "\n"+mistakes.Error(), test.want; got != want {
					t.Errorf("got:%s\nwant:%s", got, want)
				}
			})
		}
	}
}

func readExample(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
