package users

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var fillDir = flag.String("fill", "", "a state directory, in which TestFill makes 1000 users for bench")

// TestFill is no test: see the one of package sessions. The users are user0 to user999, and their password, hashed cheaply until the first
// login, is "correct horse".
func TestFill(t *testing.T) {
	if *fillDir == "" {
		t.Skip("it is for bench")
	}
	s, err := Open(*fillDir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s.Cost = Cost{Memory: 64, Time: 1, Threads: 1}
	for i := range 1000 {
		if err := s.Add(t.Context(), Account{Name: fmt.Sprintf("user%d", i), Groups: []string{"staff"}}, "correct horse"); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
