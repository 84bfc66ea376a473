package static

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A deployment may swap the folder while edge runs, by a link, by a rename, or by making it anew: it is the new one as soon as the moment is over for
// which a look is good.
func TestRootSwapped(t *testing.T) {
	for name, swap := range map[string]func(t *testing.T, root, next string){
		"link": func(t *testing.T, root, next string) {
			if err := os.Symlink(next, root+"~"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(root+"~", root); err != nil {
				t.Fatal(err)
			}
		},
		"rename": func(t *testing.T, root, next string) {
			os.Rename(root, root+"-before-"+filepath.Base(next))
			if err := os.Rename(next, root); err != nil {
				t.Fatal(err)
			}
		},
		"anew": func(t *testing.T, root, next string) {
			os.RemoveAll(root)
			if err := os.CopyFS(root, os.DirFS(next)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			top, now := t.TempDir(), newClock()
			root := filepath.Join(top, "now")
			ask := client(t, at(now, &Files{Root: root, Prefix: "/"}), modes[0])
			want := ""
			for _, release := range []string{"1", "2", "3", "a clock set back"} {
				next := filepath.Join(top, release)
				if err := os.Mkdir(next, 0o755); err != nil {
					t.Fatal(err)
				}
				put(t, filepath.Join(next, "x.txt"), []byte(release), changed)
				swap(t, root, next)
				if want != "" && name != "anew" { // what is deleted is gone, whoever has it open
					if g := ask("GET", "/x.txt"); g.body != want {
						t.Errorf("in the same moment: %d %q, want %q, without another look", g.StatusCode, g.body, want)
					}
				}
				if now.pass(fresh); release == "a clock set back" { // it does not make a moment last
					now.pass(-time.Hour)
				}
				want = release
				if g := ask("GET", "/x.txt"); g.body != want {
					t.Errorf("after that moment: %d %q, want %q", g.StatusCode, g.body, want)
				}
			}
			os.Remove(root)
			os.RemoveAll(root)
			now.pass(fresh)
			if g := ask("GET", "/x.txt"); g.StatusCode != 500 {
				t.Errorf("without a folder: %d %q", g.StatusCode, g.body)
			}
		})
	}
}

// A folder that was replaced does not stay open: its disk would fill up.
func TestReplacedFolderIsClosed(t *testing.T) {
	top, now := t.TempDir(), newClock()
	root := filepath.Join(top, "now")
	ask := client(t, at(now, &Files{Root: root, Prefix: "/"}), modes[0])
	for range 5 {
		os.RemoveAll(root)
		if err := os.Mkdir(root, 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(root, "x.txt"), nil, changed)
		now.pass(fresh)
		if g := ask("GET", "/x.txt"); g.StatusCode != 200 {
			t.Fatal(g.StatusCode)
		}
	}
	until(t, "two are open, the os.Root and its descriptor of the last folder", func() bool {
		runtime.GC()
		return len(openBelow(t, top)) == 2
	})
}

// openBelow gives what this process has open below a folder.
func openBelow(t *testing.T, top string) (names []string) {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if name, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.HasPrefix(name, top) {
			names = append(names, name)
		}
	}
	return names
}

// Whatever an answer is, no file stays open behind it.
func TestFilesAreClosed(t *testing.T) {
	walled(t, func(t *testing.T) {
		root := site(t)
		put(t, filepath.Join(root, "large.txt"), prose(1<<20), changed)
		put(t, filepath.Join(root, "large.txt.gz"), prose(100<<10), changed)
		put(t, filepath.Join(root, "old.txt"), prose(1<<20), changed)
		put(t, filepath.Join(root, "old.txt.gz"), prose(100<<10), changed.Add(-time.Second))
		ask := client(t, &Files{Root: root, Prefix: "/", Compress: true, Browse: true, Fallback: "/index.html"}, modes[0])
		for _, target := range []string{"/", "/a.txt", "/folder", "/bare/", "/pipe", "/out.txt", "/nothing", "/odd/", "/large.txt", "/old.txt"} {
			for _, fields := range [][]string{nil, {"Range: bytes=0-1,500000-900000"}, {"Range: bytes=90000000-"}, {"Accept-Encoding: gzip"}, {"Accept-Encoding: identity;q=0"}, {"If-None-Match: *"}} {
				ask("GET", target, fields...)
				ask("HEAD", target, fields...)
			}
		}
		until(t, "but for the folder itself nothing is open", func() bool { return len(openBelow(t, root)) == 2 })
	})
}

// What is no file and no folder is not there, and nobody waits for it: 404 at once, also where nobody writes to a pipe.
func TestNoFiles(t *testing.T) {
	walled(t, func(t *testing.T) {
		root := site(t)
		s, err := net.Listen("unix", filepath.Join(root, "socket"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		names := []string{"/pipe", "/socket", "/pipe/", "/socket/"}
		if unix.Mknod(filepath.Join(root, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))) == nil { // only root may
			names = append(names, "/null", "/null/")
		}
		if unix.Mkfifo(filepath.Join(root, "a.txt.gz"), 0o644) != nil {
			t.Fatal("no pipe")
		}
		ask := client(t, &Files{Root: root, Prefix: "/", Browse: true, Compress: true}, modes[0])
		for _, name := range names {
			if g := ask("GET", name); g.StatusCode != 404 {
				t.Errorf("%s: %d", name, g.StatusCode)
			}
		}
		if g := ask("GET", "/a.txt", "Accept-Encoding: gzip"); g.StatusCode != 200 || g.body != "0123456789" {
			t.Errorf("a pipe in place of a compressed file: %d %q", g.StatusCode, g.body)
		}
		if g := ask("GET", "/"); strings.Contains(g.body, "pipe") || strings.Contains(g.body, "null") {
			t.Errorf("listed: %s", g.body)
		}
	})
}
