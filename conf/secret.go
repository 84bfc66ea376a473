package conf

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// Secret is a text that only Reveal gives. However it is printed, logged or encoded, it reads "-". The zero Secret is none.
type Secret struct {
	text *string // a pointer: fmt asks no method of what stands in a field that is not exported, but it follows no pointer there
}

// Reveal gives the text; "" is none.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Equal says whether two secrets are the same text, in a time that does not tell where they differ.
func (s Secret) Equal(t Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(t.Reveal())) == 1
}

func (Secret) String() string               { return "-" }
func (Secret) GoString() string             { return "-" }
func (Secret) Format(f fmt.State, _ rune)   { io.WriteString(f, "-") } // also for verbs that would look into the struct
func (Secret) LogValue() slog.Value         { return slog.StringValue("-") }
func (Secret) MarshalText() ([]byte, error) { return []byte("-"), nil }

// maxSecret bounds a file that holds a secret.
const maxSecret = 64 << 10

// secret reads a secret: "${NAME}" is an environment variable, "file:path" a file's content without the end of its last line, anything else
// is the secret itself. The zero Secret is returned for none, and after a mistake; no message quotes a secret.
func (v value) secret() Secret {
	s := v.str()
	path, isFile := strings.CutPrefix(s, "file:")
	name, isVariable := strings.CutPrefix(s, "${")
	var err error
	switch {
	case s == "":
		return Secret{}
	case isFile:
		s, err = v.secretFile(path)
	case isVariable:
		s, err = v.variable(name)
	default:
		v.place.value.source.hide(v.pos())
	}
	if err != nil {
		v.mistake("%s: %v", v.key, err)
		return Secret{}
	}
	v.l.config.Sum.read(v.key, []byte(s))
	return Secret{&s}
}

// errAlone is why Parse gives no secret from elsewhere.
var errAlone = errors.New("a secret from elsewhere is for a configuration that is read from a file")

// variable gives an environment variable; name ends with the brace.
func (v value) variable(name string) (string, error) {
	name, closed := strings.CutSuffix(name, "}")
	if !closed || name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		return "", errors.New(`an environment variable is written "${NAME}", and nothing else stands beside it`)
	}
	if v.l.alone {
		return "", errAlone
	}
	if s := os.Getenv(name); s != "" {
		return s, nil
	}
	return "", fmt.Errorf("the environment variable %s is not set, or empty", name)
}

// secretFile gives what a file holds.
func (v value) secretFile(path string) (string, error) {
	switch {
	case path == "" || strings.Contains(path, "\x00"):
		return "", errors.New(`a file is written "file:path"`)
	case v.l.alone:
		return "", errAlone
	}
	path = v.abs(path)
	text, mode, err := readFile(path, maxSecret)
	if err != nil {
		return "", fmt.Errorf("file %s: %w", path, reason(err))
	}
	if mode&0o007 != 0 {
		return "", fmt.Errorf("file %s is open to everybody on this machine (mode %04o): chmod o= %[1]s", path, mode)
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if s == "" {
		return "", fmt.Errorf("file %s is empty", path)
	}
	return s, nil
}
