package certs

import (
	"crypto/x509"
	"maps"
	"slices"
)

// Leaves gives each certificate once, in the order of the first of the names that it is for here.
func (s *Store) Leaves() (list []*x509.Certificate) {
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(s.byName)) {
		for _, cert := range s.byName[name] {
			if raw := string(cert.Leaf.Raw); !seen[raw] {
				seen[raw] = true
				list = append(list, cert.Leaf)
			}
		}
	}
	return list
}
