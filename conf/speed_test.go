package conf

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manyVhosts is a configuration of n vhosts, as a program would write it.
func manyVhosts(n int) string {
	var b strings.Builder
	b.WriteString(https)
	for i := range n {
		fmt.Fprintf(&b, "[[vhost]]\nhosts = [\"h%d.org\"]\naccess = \"public\"\nproxy = \"http://10.0.%d.%d:80\"\n\n", i, i>>8&0xff, i&0xff)
	}
	return b.String()
}

// worked is how long the process has had a CPU, its garbage collector included: what others do on this machine is no fault of the loader's.
func worked(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quickest gives the shortest time that a load works, of ten at most: one that is short enough will do.
func quickest(t *testing.T, file string, enough time.Duration) time.Duration {
	t.Helper()
	best := time.Hour
	for n := 0; n < 10 && best > enough; n++ {
		start := worked(t)
		c := loadGood(t, file)
		best = min(best, worked(t)-start)
		if len(c.Vhosts) != 10_000 {
			t.Fatalf("%d vhosts", len(c.Vhosts))
		}
	}
	return best
}

func TestTenThousandVhosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its own time")
	}
	const most = 300 * time.Millisecond
	one := folder(t, map[string]string{"edge.toml": manyVhosts(10_000)})
	if took := quickest(t, one, most); took > most {
		t.Errorf("one file: %v, at most %v", took, most)
	} else {
		t.Logf("one file: %v", took)
	}
	files := map[string]string{"edge.toml": "include = \"vhosts.d/*\"\n" + https}
	for i, vhost := range strings.Split(manyVhosts(10_000), "[[vhost]]")[1:] {
		files[filepath.Join("vhosts.d", fmt.Sprint(i%500))] += "[[vhost]]" + vhost
	}
	if took := quickest(t, folder(t, files), most); took > most {
		t.Errorf("500 files: %v, at most %v", took, most)
	} else {
		t.Logf("500 files: %v", took)
	}
}

// Mistakes must not make it slow either, though each of them looks for what was meant.
func TestThousandsOfMistakes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its own time")
	}
	var names, addresses strings.Builder
	for i := range 4000 {
		fmt.Fprintf(&names, "[[vhost]]\nhosts = \"h%d.org\"\nproxy = \"%[1]dapp\"\n", i)
		if i < 1000 {
			fmt.Fprintf(&names, "[[upstream]]\nname = \"app%d\"\ntargets = \"http://a\"\n", i)
		}
		fmt.Fprintf(&addresses, "[[listener]]\nname = \"l%d\"\naddress = \"10.0.%d.%d:80\"\nprotocol = \"tpc\"\n", i, i>>8, i&0xff)
	}
	for name, text := range map[string]string{
		"unknown keys":   strings.ReplaceAll(manyVhosts(10_000), "proxy = ", "proxi = "),
		"unknown names":  names.String() + https,
		"many addresses": addresses.String(),
	} {
		start := worked(t)
		mistakes := mistakesOf(t, func() (*Config, error) { return Parse("f.toml", []byte(text)) })
		took := worked(t) - start
		if t.Logf("%s: %v", name, took); took > 3*time.Second || len(mistakes) != maxMistakes+1 {
			t.Errorf("%s: %v for %d mistakes", name, took, len(mistakes))
		}
	}
}
