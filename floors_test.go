package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// floors says how high each package stands: it imports only from lower floors. docs/ARCHITECTURE.md has the same table with its reasons.
var floors = map[string]int{
	"edge": 6,

	"edge/edge": 5,

	"edge/edge/proxy": 4,

	"edge/edge/upstream": 3, "edge/edge/serve": 3, "edge/edge/guard": 3,

	"edge/edge/h1": 2, "edge/edge/h2": 2, "edge/edge/tunnel": 2, "edge/edge/static": 2, "edge/edge/vhost": 2, "edge/edge/forwarded": 2, "edge/edge/accesslog": 2, "edge/edge/metrics": 2, "edge/edge/admin": 2, "edge/tlsconf": 2, "edge/sessions/users": 2, "edge/sessions/oidc": 2,

	"edge/edge/htpasswd": 1, "edge/edge/wire": 1, "edge/listeners": 1, "edge/certs": 1, "edge/plan": 1, "edge/sessions": 1,

	"edge/conf": 0, "edge/edge/ratelimit": 0, "edge/edge/record": 0, "edge/edge/socket": 0, "edge/edge/stack": 0, "edge/reload": 0, "edge/reload/upgrade": 0, "edge/reload/caretaker": 0, "edge/reload/drill": 0, "edge/listeners/proxyproto": 0, "edge/certs/devcert": 0,

	"edge/sessions/internal/sqlitefile": 0,

	// Below the house: a single idea that knows nothing of edge.
	"edge/statefile": -1, "edge/username": -1, "edge/reload/notify": -1, "edge/claim": -1,

	// Beside the house: they know edge only as a program.
	"edge/bench": -1, "edge/reload/drill/peers": 1,
}

// isModule is true of a folder that is a module of its own: nothing of the house can import it.
func isModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// sources gives the program's files by package, read from disk: an answer of the go command could come from a cache.
func sources(t *testing.T) map[string][]*ast.File {
	t.Helper()
	pkgs, fset := map[string][]*ast.File{}, token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || isModule(path)) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(fset, path, nil, parser.ImportsOnly|parser.ParseComments)
		if err == nil {
			pkg := filepath.ToSlash(filepath.Join("edge", filepath.Dir(path)))
			pkgs[pkg] = append(pkgs[pkg], f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) < 15 {
		t.Fatalf("found only %d packages: is this the module's root?", len(pkgs))
	}
	return pkgs
}

func TestFloors(t *testing.T) {
	pkgs := sources(t)
	for pkg, files := range pkgs {
		floor, ok := floors[pkg]
		if !ok {
			t.Errorf("%s stands on no floor: give it one", pkg)
		}
		for _, f := range files {
			for _, spec := range f.Imports {
				imported, _ := strconv.Unquote(spec.Path.Value)
				if imported != "edge" && !strings.HasPrefix(imported, "edge/") {
					continue
				}
				if below, ok := floors[imported]; ok && below >= floor {
					t.Errorf("%s, on floor %d, imports %s, on floor %d", pkg, floor, imported, below)
				}
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(floors)) {
		if pkgs[pkg] == nil {
			t.Errorf("%s has a floor, but is not there", pkg)
		}
	}
}

// Every package says what it owns, in a comment that begins in the usual way.
func TestPackageComments(t *testing.T) {
	for pkg, files := range sources(t) {
		want := "Package " + files[0].Name.Name + " "
		if files[0].Name.Name == "main" {
			want = "Command " + path.Base(pkg) + " "
		}
		found := 0
		for _, f := range files {
			if f.Doc != nil && strings.HasPrefix(f.Doc.Text(), want) {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s has %d package comments that begin with %q, want one", pkg, found, want)
		}
	}
}
