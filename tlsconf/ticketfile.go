package tlsconf

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// key is a line of the file: when it was made, in UTC and whole seconds, and 64 hexadecimal digits.
type key struct {
	made  time.Time
	bytes [32]byte
}

const maxTicketFile = 64 << 10 // a few lines are expected

func formatKeys(keys []key) []byte {
	var b bytes.Buffer
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %x\n", k.made.Format(time.RFC3339), k.bytes)
	}
	return b.Bytes()
}

// parseKeys gives the keys with the newest first; none at all if any line is damaged. No data is no damage.
func parseKeys(data []byte) ([]key, error) {
	var keys []key
	for line := range strings.Lines(string(data)) {
		k, err := parseKey(strings.TrimSuffix(line, "\n"))
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", len(keys)+1, err)
		}
		keys = append(keys, k)
	}
	slices.SortStableFunc(keys, func(a, b key) int { return b.made.Compare(a.made) })
	return keys, nil
}

// parseKey does not quote the line in its errors: they end up in a log.
func parseKey(line string) (key, error) {
	when, digits, _ := strings.Cut(line, " ")
	made, err := time.Parse(time.RFC3339, when)
	made = made.UTC()
	if err != nil || made.Format(time.RFC3339) != when {
		return key{}, errors.New("no time in UTC")
	}
	k := key{made: made}
	if len(digits) != hex.EncodedLen(len(k.bytes)) {
		return key{}, errors.New("no key of 32 bytes")
	}
	if _, err := hex.Decode(k.bytes[:], []byte(digits)); err != nil {
		return key{}, errors.New("no key of 32 bytes")
	}
	if k.bytes == [32]byte{} {
		return key{}, errors.New("a key of zeros")
	}
	return k, nil
}

// readOwn reads a file that must be ours and nobody else's to read. A file that does not exist is empty.
func readOwn(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) // nor does a pipe in its place hold us up
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, fmt.Errorf("%s is not a regular file", path)
	case int(st.Uid) != os.Geteuid():
		return nil, fmt.Errorf("%s belongs to user id %d, not to %d who runs edge: remove it", path, st.Uid, os.Geteuid())
	case st.Mode&0o077 != 0:
		return nil, fmt.Errorf("%s can be read by others (mode %#o), who may have its keys: remove it, edge makes new ones", path, st.Mode&0o777)
	}
	return io.ReadAll(io.LimitReader(f, maxTicketFile))
}
