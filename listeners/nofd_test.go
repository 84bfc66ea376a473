package listeners

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notSockets lists the files of the module that may ask for the descriptor of a file: these are no sockets.
var notSockets = map[string]string{
	"edge/admin/socket.go":   "Fd", // a folder
	"edge/static/folder.go":  "Fd", // a folder
	"statefile/statefile.go": "Fd", // locks of regular files
	"tlsconf/ticketfile.go":  "Fd", // who owns a regular file
	"user.go":                "Fd", // a terminal
}

// R2: nobody calls File() or Fd() on a socket. Either makes what it shares with every other process that has it blocking (golang/go#29277): an Accept
// then sleeps in the kernel, and can neither be paused nor closed. Socket.Dup is the way.
func TestNobodyAsksForADescriptor(t *testing.T) {
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	used := map[string]bool{}
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) { // an editor's, gone by now
			return nil
		}
		if err != nil {
			return err
		}
		calls, err := descriptorCalls(name, text)
		looked++
		for _, c := range calls {
			if notSockets[name] == c.method {
				used[name] = true
				continue
			}
			t.Errorf("%s: %s() makes a socket blocking in every process that has it: use listeners.Socket.Dup, or SyscallConn", c.at, c.method)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if looked < 20 {
		t.Errorf("only %d files below %s", looked, root)
	}
	for name, method := range notSockets {
		if !used[name] {
			t.Errorf("%s does not call %s any more: take it off the list", name, method)
		}
	}
}

// moduleRoot is the nearest folder upwards that has a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the tests")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// call is one of a method that gives a descriptor.
type call struct {
	at     token.Position
	method string
}

// descriptorCalls finds the calls x.File() and x.Fd() in a source.
func descriptorCalls(name string, text []byte) (calls []call, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		c, ok := n.(*ast.CallExpr)
		if !ok || len(c.Args) > 0 {
			return true
		}
		if m, ok := ast.Unparen(c.Fun).(*ast.SelectorExpr); ok && (m.Sel.Name == "File" || m.Sel.Name == "Fd") {
			calls = append(calls, call{set.Position(m.Sel.Pos()), m.Sel.Name})
		}
		return true
	})
	return calls, nil
}

func TestDescriptorCalls(t *testing.T) {
	calls, err := descriptorCalls("a.go", []byte(`package a

func f(l *net.TCPListener, s struct{ File string }) {
	f, _ := l.File()
	use(f.Fd(), s.File, set.File(pos), f.FD(), File())
	defer func() { (other.Deep().File)() }()
}
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range calls {
		got = append(got, fmt.Sprintf("%d %s", c.at.Line, c.method))
	}
	if want := []string{"4 File", "5 Fd", "6 File"}; !slices.Equal(got, want) {
		t.Errorf("found %v, want %v", got, want)
	}
}
