package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edge/conf"
)

// checked runs `edge check` on a text, in its folder.
func checked(t *testing.T, text string) (stdout, stderr string, err error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("edge.toml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	cmd := command(nil)
	cmd.SetArgs([]string{"check", "-c", "edge.toml"})
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	err = cmd.Execute()
	return out.String(), errs.String(), err
}

func TestCheckShowsMistakes(t *testing.T) {
	_, _, err := checked(t, "[[listener]]\nname = \"http\"\nadress = \"127.0.0.1:80\"\nprotocol = \"http\"\n")
	if err == nil {
		t.Fatal("it is taken for valid")
	}
	want := `edge.toml:1:1: [[listener]] needs "address"
    [[listener]]
    ^
edge.toml:3:1: unknown key "adress" in [[listener]]; did you mean "address"?
    adress = "127.0.0.1:80"
    ^`
	if got := explain(err); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// What the files beside the configuration show is shown in the same way.
func TestCheckShowsWhatIsBeside(t *testing.T) {
	_, _, err := checked(t, "state_dir = \"edge.toml\"\n[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:80\"\nprotocol = \"http\"\n")
	if err == nil {
		t.Fatal("it is taken for valid")
	}
	dir, _ := os.Getwd()
	want := "edge.toml:1:13: state_dir: mkdir " + filepath.Join(dir, "edge.toml") + ": not a directory\n    state_dir = \"edge.toml\"\n                ^"
	if got := explain(err); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestCheckShowsWarnings(t *testing.T) {
	out, errs, err := checked(t, "[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:80\"\nprotocol = \"http\"\n"+
		"  [[upstream]]\n  name = \"app\"\n  targets = \"http://127.0.0.1\"\n")
	if err != nil {
		t.Fatal(explain(err))
	}
	if want := "warning: edge.toml:5:3: upstream \"app\" is not used\n      [[upstream]]\n      ^\n"; errs != want {
		t.Errorf("got:\n%s\nwant:\n%s", errs, want)
	}
	if want := "edge.toml is valid; it has listeners: 1, vhosts: 0, certificates: 0, upstreams (with URLs): 1\n"; out != want {
		t.Errorf("got %q, want %q", out, want)
	}
}

// A mistake that stands alone, or is wrapped, is shown as one of a list is; what is no mistake has the program's name before it.
func TestExplain(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("edge.toml", []byte("[[listener]]\nname = \"http\"\naddress = \"127.0.0.1:80\"\nprotocol = \"http\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := conf.Load("edge.toml")
	if err != nil {
		t.Fatal(err)
	}
	mistake := cfg.Listeners[0].Addresses[0].Pos.Errorf("is taken")
	const want = "edge.toml:3:11: is taken\n    address = \"127.0.0.1:80\"\n              ^"
	for _, err := range []error{mistake, errors.Join(mistake), fmt.Errorf("wrapped: %w", conf.Errors{mistake})} {
		if got := explain(err); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	}
	if got := explain(errors.New("no memory")); got != "edge: no memory" {
		t.Error(got)
	}
}

// What is no command, and a file where none is taken, is a failure that says what would be right.
func TestCommandLineMistakes(t *testing.T) {
	tests := []struct{ args, want string }{
		{"chek", `unknown command "chek" for "edge"`},
		{"user ad alice", `unknown command "ad" for "edge user"`},
		{"user add", "one name is needed: edge user add NAME"},
		{"user remove a b", "one name is needed: edge user remove NAME"},
		{"check a.toml", "edge check takes no argument: the configuration file is named with -c a.toml"},
		{"conf/edge.toml", "edge takes no argument: the configuration file is named with -c conf/edge.toml"},
	}
	for _, test := range tests {
		cmd := command(nil)
		cmd.SetArgs(strings.Fields(test.args))
		cmd.SetOut(io.Discard)
		if err := cmd.Execute(); err == nil || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("edge %s: %v, want %q", test.args, err, test.want)
		}
	}
}
