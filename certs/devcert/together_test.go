package devcert

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

const childDir = "DEVCERT_TEST_DIR"

// TestMain is also the other process of TestProcessesAgree.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		f, err := Ensure(dir, hosts, epoch)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Printf("%x", f.Certificate.Leaf.Raw)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// agree runs ensure several times at once and expects one leaf of it, and of the file at the end.
func agree(t *testing.T, ensure func(dir string) (leaf string, err error)) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "dev")
	leaves := make([]string, 8)
	var wg sync.WaitGroup
	for i := range leaves {
		wg.Go(func() {
			leaf, err := ensure(dir)
			if err != nil {
				t.Errorf("%v: %s", err, leaf)
			}
			leaves[i] = leaf
		})
	}
	wg.Wait()
	last := fmt.Sprintf("%x", mustEnsure(t, dir, hosts, epoch).Certificate.Leaf.Raw)
	for i, leaf := range leaves {
		if leaf != last {
			t.Errorf("number %d has another leaf than is in the folder", i)
		}
	}
}

func TestGoroutinesAgree(t *testing.T) {
	agree(t, func(dir string) (string, error) {
		f, err := Ensure(dir, hosts, epoch)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%x", f.Certificate.Leaf.Raw), nil
	})
}

func TestProcessesAgree(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	agree(t, func(dir string) (string, error) {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.Output()
		return string(out), err
	})
}
