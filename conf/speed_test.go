package conf

import (
	"fmt"
	"path/filepath"
	"strings"
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

// quickest gives the shortest of three times that a load takes.
func quickest(t *testing.T, file string) time.Duration {
	t.Helper()
	best := time.Hour
	for range 3 {
		start := time.Now()
		c := loadGood(t, file)
		best = min(best, time.Since(start))
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
	if took := quickest(t, one); took > most {
		t.Errorf("one file: %v, at most %v", took, most)
	} else {
		t.Logf("one file: %v", took)
	}
	files := map[string]string{"edge.toml": "include = \"vhosts.d/*\"\n" + https}
	for i, vhost := range strings.Split(manyVhosts(10_000), "[[vhost]]")[1:] {
		files[filepath.Join("vhosts.d", fmt.Sprint(i%500))] += "[[vhost]]" + vhost
	}
	if took := quickest(t, folder(t, files)); took > most {
		t.Errorf("500 files: %v, at most %v", took, most)
	} else {
		t.Logf("500 files: %v", took)
	}
}

// Mistakes must not make it slow either: each of them looks for what was meant.
func TestTenThousandBadVhosts(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes its own time")
	}
	text := strings.ReplaceAll(manyVhosts(10_000), "proxy = ", "proxi = ")
	start := time.Now()
	mistakes := mistakesOf(t, func() (*Config, error) { return Parse("f.toml", []byte(text)) })
	if took := time.Since(start); took > 3*time.Second || len(mistakes) != maxMistakes+1 {
		t.Errorf("%v for %d mistakes", took, len(mistakes))
	}
}
