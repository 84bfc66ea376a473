package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// secretIn reads the key "password" of a text as a secret, in a folder where the test has its files.
func secretIn(t *testing.T, dir, text string, alone bool) (Secret, *loader) {
	t.Helper()
	values, places, mistake := decode(newSource("f.toml", dir, 0, []byte(text)))
	if mistake != nil {
		t.Fatal(mistake)
	}
	l := newLoader(filepath.Join(dir, "f.toml"))
	l.alone = alone
	root := newTable(l, "", values, places)
	s := root.get("password").secret()
	root.get("colour").integer(0, 0, 9)
	root.done()
	return s, l
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	put("line", "hunter2\n", 0o600)
	put("crlf", "hunter2\r\n", 0o640)
	put("bare", " hunter2 ", 0o400)
	put("two", "hunter2\n\n", 0o600)
	put("largest", strings.Repeat("a", maxSecret), 0o600)
	put("larger", strings.Repeat("a", maxSecret+1), 0o600)
	put("empty", "\n", 0o600)
	for _, mode := range []os.FileMode{0o604, 0o602, 0o601} {
		name := fmt.Sprintf("open%o", mode)
		put(name, "hunter2", mode)
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil { // whatever the umask is
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDGE_TEST_SECRET", "of the environment")
	t.Setenv("EDGE_TEST_EMPTY", "")
	os.Unsetenv("EDGE_TEST_UNSET")
	for _, test := range []struct{ value, want, mistake string }{
		{`"hunter2"`, "hunter2", ""},
		{`"$HOME"`, "$HOME", ""},
		{`"${EDGE_TEST_SECRET}"`, "of the environment", ""},
		{`"file:line"`, "hunter2", ""},
		{`"file:crlf"`, "hunter2", ""},
		{`"file:bare"`, " hunter2 ", ""},
		{`"file:two"`, "hunter2\n", ""},
		{`"file:` + dir + `/line"`, "hunter2", ""},
		{`"file:largest"`, strings.Repeat("a", maxSecret), ""},

		{`"${EDGE_TEST_UNSET}"`, "", "the environment variable EDGE_TEST_UNSET is not set, or empty"},
		{`"${EDGE_TEST_EMPTY}"`, "", "the environment variable EDGE_TEST_EMPTY is not set, or empty"},
		{`"${EDGE_TEST_SECRET"`, "", `an environment variable is written "${NAME}", and nothing else stands beside it`},
		{`"${EDGE_TEST_SECRET}x"`, "", `an environment variable is written "${NAME}", and nothing else stands beside it`},
		{`"${}"`, "", `an environment variable is written "${NAME}", and nothing else stands beside it`},
		{`"${A=B}"`, "", `an environment variable is written "${NAME}", and nothing else stands beside it`},
		{`"file:"`, "", `a file is written "file:path"`},
		{`"file:none"`, "", "file " + dir + "/none: no such file or directory"},
		{`"file:."`, "", "file " + dir + ": is a directory"},
		{`"file:pipe"`, "", "file " + dir + "/pipe: is no regular file"},
		{`"file:larger"`, "", "file " + dir + "/larger: is larger than 65536 bytes"},
		{`"file:empty"`, "", "file " + dir + "/empty is empty"},
		{`"file:open604"`, "", "file " + dir + "/open604 is open to everybody on this machine (mode 0604): chmod o= " + dir + "/open604"},
		{`"file:open602"`, "", "file " + dir + "/open602 is open to everybody on this machine (mode 0602): chmod o= " + dir + "/open602"},
		{`"file:open601"`, "", "file " + dir + "/open601 is open to everybody on this machine (mode 0601): chmod o= " + dir + "/open601"},
	} {
		s, l := secretIn(t, dir, "password = "+test.value, false)
		if s.Reveal() != test.want {
			t.Errorf("%s is %.20q, want %.20q", test.value, s.Reveal(), test.want)
		}
		want := ""
		if test.mistake != "" {
			want = "f.toml:1:12: password: " + test.mistake
		}
		if got := l.mistakes.Error(); got != want {
			t.Errorf("%s: %q, want %q", test.value, got, want)
		}
	}
}

func TestSecretOfTheWrongKind(t *testing.T) {
	for value, want := range map[string]string{
		"3":  "f.toml:1:12: password must be a string, is an integer",
		`""`: "f.toml:1:12: password must not be empty",
	} {
		if s, l := secretIn(t, "/", "password = "+value, false); s != (Secret{}) || l.mistakes.Error() != want {
			t.Errorf("%s: %q, want %q", value, l.mistakes.Error(), want)
		}
	}
}

// Parse takes no secret from elsewhere.
func TestSecretAlone(t *testing.T) {
	for _, value := range []string{`"${PATH}"`, `"file:/etc/hostname"`} {
		if s, l := secretIn(t, "/", "password = "+value, true); s != (Secret{}) || len(l.mistakes) != 1 {
			t.Errorf("%s: %q, %v", value, s.Reveal(), l.mistakes)
		}
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	text := "hunter2"
	s := Secret{&text}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%t", "%p", "%U", "%e", "%10.3s", "%T"} {
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", &s)
		fmt.Fprintf(&out, verb+"\n", []Secret{s})
		fmt.Fprintf(&out, verb+"\n", struct{ Password Secret }{s})
		fmt.Fprintf(&out, verb+"\n", struct{ password *Secret }{&s})
		fmt.Fprintf(&out, verb+"\n", []any{struct{ password Secret }{s}})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("a", "s", s, "in", struct{ Password Secret }{s})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("a", "s", s, "in", struct{ Password Secret }{s})
	if err := json.NewEncoder(&out).Encode(map[string]any{"s": s, "in": []*Secret{&s}}); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(&out, s, s.String(), s.GoString(), s.LogValue())
	if text, err := s.MarshalText(); string(text) != "-" || err != nil || s.String() != "-" || s.GoString() != "-" || s.LogValue().String() != "-" {
		t.Errorf("%q, %v", text, err)
	}
	if strings.Contains(out.String(), "hunter") || strings.Contains(out.String(), fmt.Sprintf("%x", "hunter2")) {
		t.Errorf("it is printed:\n%s", out.String())
	}
}

func TestSecretEqual(t *testing.T) {
	a, b, c := "a", "a", "c"
	for _, test := range []struct {
		s, t Secret
		want bool
	}{{Secret{&a}, Secret{&b}, true}, {Secret{&a}, Secret{&c}, false}, {Secret{}, Secret{}, true}, {Secret{&a}, Secret{}, false}} {
		if test.s.Equal(test.t) != test.want {
			t.Errorf("%q and %q", test.s.Reveal(), test.t.Reveal())
		}
	}
}

// The line of a mistake may hold a secret beside it.
func TestSecretIsHiddenInItsLine(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{`table = { password = 'hun"ter2', colour = "x" }`, `table = { password = **********, colour = "x" }`},
		{`table = { password = "hun\"ter2", colour = "x" }`, `table = { password = ***********, colour = "x" }`},
		{`table = { password = """hunter2""", colour = "x" }`, `table = { password = *****************************`},
		{`table = { password = "file:x", colour = "x" }`, `table = { password = "file:x", colour = "x" }`},
	} {
		values, places, mistake := decode(newSource("f.toml", "/", 0, []byte(test.text)))
		if mistake != nil {
			t.Fatal(mistake)
		}
		l := newLoader("/f.toml")
		l.alone = true
		in := newTable(l, "", values, places).get("table").table("table")
		in.get("password").secret()
		if colour := in.get("colour"); colour.given() {
			colour.must("an integer")
			_, line, _ := strings.Cut(l.mistakes[len(l.mistakes)-1].Explain(), "\n    ")
			line, caret, _ := strings.Cut(line, "\n    ")
			if line != test.want || caret != strings.Repeat(" ", strings.LastIndex(test.text, `"x"`))+"^" {
				t.Errorf("%s is shown as\n%s\n%s", test.text, line, caret)
			}
		}
	}
}
