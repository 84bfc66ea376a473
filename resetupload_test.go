package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// An upload that its client takes back is logged as that, each time.
func TestResetUploadIsLogged(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	come := make(chan struct{}, 1)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				c.Read(make([]byte, 4096))
				come <- struct{}{} // the upload has begun
				io.Copy(io.Discard, c)
			}()
		}
	}()
	dir := t.TempDir()
	p := startIn(t, dir, "edge", strings.NewReplacer("UP", ln.Addr().String()).Replace(relaySite))
	c, err := tls.Dial("tcp", p.addr("https"), &tls.Config{InsecureSkipVerify: true, ServerName: "app.localhost", NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, http2.ClientPreface)
	fr := http2.NewFramer(c, c)
	fr.WriteSettings()
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	const uploads = 50
	for i := range uint32(uploads) {
		head.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "https"}, {":path", "/"}, {":authority", "app.localhost"}} {
			enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head.Bytes(), EndHeaders: true})
		fr.WriteData(2*i+1, false, []byte("some of it"))
		<-come
		fr.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	statuses := map[int]int{}
	for begin := time.Now(); len(statuses) == 0 || sum(statuses) < uploads; {
		if time.Since(begin) > soon {
			t.Fatalf("after %v: %v", soon, statuses)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at what nobody tells of
		statuses = loggedStatuses(t, filepath.Join(dir, "access.log"))
	}
	if statuses[499] != uploads {
		t.Errorf("logged: %v", statuses)
	}
}

func sum(counts map[int]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// loggedStatuses counts the whole lines of an access log by their status.
func loggedStatuses(t *testing.T, file string) map[int]int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[int]int{}
	for line := range bytes.Lines(text) {
		var entry struct{ Status int }
		if json.Unmarshal(line, &entry) == nil {
			counts[entry.Status]++
		}
	}
	return counts
}
