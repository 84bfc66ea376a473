package conf

import (
	"path/filepath"
	"regexp"
	"strconv"
)

// stateDirLine is the line that names the state directory.
var stateDirLine = regexp.MustCompile(`^[ \t]*state_dir[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|'[^']*')`)

// StateDir gives the state directory that a file names, also where the rest of it is full of mistakes: an edge that runs is found by it.
func StateDir(file string) (string, error) {
	text, err := readMain(file)
	if err != nil {
		return "", Errors{Pos{File: file}.Errorf("cannot be read: %v", reason(err))}
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	src := newSource(file, filepath.Dir(abs), 0, text)
	for n := range src.starts {
		line := src.line(n + 1)
		if len(line) > 0 && line[0] == '[' {
			break // of tables, no line is the file's own any more
		}
		if m := stateDirLine.FindSubmatch(line); m != nil {
			return absolute(src.dir, unquote(string(m[1]))), nil
		}
	}
	return defaultStateDir, nil
}

func unquote(s string) string {
	if s[0] == '\'' {
		return s[1 : len(s)-1]
	}
	if text, err := strconv.Unquote(s); err == nil {
		return text
	}
	return s[1 : len(s)-1]
}

func absolute(dir, path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(dir, path)
}
