// Package devcert makes certificates for development: an authority of this machine's own, which can vouch for nothing but this
// machine, and one leaf below it.
//
// A folder holds both:
//
//	ca.pem      the authority's certificate, 0644: what people import
//	ca-key.pem  the same with its key, 0600: the one that counts; ca.pem is made from it
//	leaf.pem    the leaf and its key in one file, 0600: no reader can see the one without the other
//	lock        held by whoever looks or writes, in whichever process
package devcert

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"edge/statefile"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 90 * 24 * time.Hour
	renewBefore   = 30 * 24 * time.Hour // a leaf with less than this is made anew
	clockSkew     = time.Hour           // certificates begin this long before they were made: containers and phones disagree on the time
)

// Files is what Ensure found or made.
type Files struct {
	CA          string          // path of the authority's certificate, PEM
	Leaf        string          // path of the leaf and its key, PEM
	Certificate tls.Certificate // what Leaf holds, parsed; its Leaf is set
	Made        bool            // the authority was made by this call: nobody trusts it yet
	RenewAt     time.Time       // when Ensure would make the next leaf
}

// Ensure sees to it that dir holds an authority and a leaf for exactly these hosts: names in lower case, "*." and a name, or IP
// addresses. It makes what is missing, damaged, of another authority, for other hosts or near its end, and leaves alone what is good.
// The folder is made 0700 if it is missing. Processes that call it at once get the same files.
//
// It fails for a host that the authority may not sign for, see Permitted.
func Ensure(dir string, hosts []string, now time.Time) (Files, error) {
	want, err := parseNames(hosts)
	if err != nil {
		return Files{}, err
	}
	if err := statefile.SafeDir(dir); err != nil {
		return Files{}, err
	}
	unlock, err := statefile.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return Files{}, err
	}
	defer unlock()
	return ensure(dir, want, now)
}

// ensure is Ensure under the lock.
func ensure(dir string, want names, now time.Time) (Files, error) {
	f := Files{CA: filepath.Join(dir, "ca.pem"), Leaf: filepath.Join(dir, "leaf.pem")}
	ca, made, err := ensureAuthority(filepath.Join(dir, "ca-key.pem"), now)
	if err != nil {
		return Files{}, fmt.Errorf("development authority: %w", err)
	}
	if err := publish(f.CA, ca.Leaf); err != nil {
		return Files{}, fmt.Errorf("development authority: %w", err)
	}
	leaf, err := ensureLeaf(f.Leaf, ca, want, now)
	if err != nil {
		return Files{}, fmt.Errorf("development certificate: %w", err)
	}
	f.Certificate, f.Made, f.RenewAt = *leaf, made, leaf.Leaf.NotAfter.Add(-renewBefore)
	return f, nil
}

// Permitted says why the authority may not sign for host, or nil. The authority's own certificate holds the same bounds, so that a
// stolen key is good for nothing else.
func Permitted(host string) error {
	name := strings.TrimPrefix(host, "*.")
	switch {
	case name == "localhost", strings.HasSuffix(name, ".localhost"), host == "127.0.0.1", host == "::1":
		return nil
	}
	return fmt.Errorf("a development certificate is for localhost, names below .localhost, 127.0.0.1 and ::1, not for %q", host)
}

// names is what a leaf holds, each list sorted and without doubles.
type names struct {
	dns []string
	ips []net.IP
}

func parseNames(hosts []string) (names, error) {
	hosts = slices.Sorted(slices.Values(hosts))
	var n names
	for _, host := range slices.Compact(hosts) {
		if err := Permitted(host); err != nil {
			return names{}, err
		}
		if ip, err := netip.ParseAddr(host); err == nil {
			n.ips = append(n.ips, ip.AsSlice())
		} else {
			n.dns = append(n.dns, host)
		}
	}
	if len(hosts) == 0 {
		return names{}, fmt.Errorf("a development certificate needs at least one host")
	}
	return n, nil
}

func (n names) equal(o names) bool {
	return slices.Equal(n.dns, o.dns) && slices.EqualFunc(n.ips, o.ips, net.IP.Equal)
}
