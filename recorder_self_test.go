package main

import (
	"bufio"
	"strings"
	"testing"
)

// The recorder hears what is wrong. Else it would find nothing ambiguous whatever it got.
func TestRecorderFindsFaults(t *testing.T) {
	const start, chunked = "POST /x HTTP/1.1\nHost: a.test\n", "POST /x HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n"
	for raw, want := range map[string]string{
		"GET  /x HTTP/1.1\nHost: a.test\n\n":                         "request line",
		"GET /x HTTP/1.0\nHost: a.test\n\n":                          "request line",
		"GET /x\nHost: a.test\n\n":                                   "request line",
		"GE(T /x HTTP/1.1\nHost: a.test\n\n":                         "request line",
		"GET http://a.test/x HTTP/1.1\nHost: a.test\n\n":             "target",
		"GET /x#y HTTP/1.1\nHost: a.test\n\n":                        "target",
		"GET * HTTP/1.1\nHost: a.test\n\n":                           "target",
		"GET /x HTTP/1.1\n\n":                                        "no Host",
		"GET /x HTTP/1.1\nHost: a.test\nHost: a.test\n\n":            "more than one: 2 of host",
		start + "Content-Length: 1\nContent-Length: 1\n\nx":          "more than one: 2 of content-length",
		start + "Content-Length: +1\n\nx":                            "Content-Length",
		start + "Content-Length: 01\n\nx":                            "Content-Length",
		start + "Content-Length: 1, 1\n\nx":                          "Content-Length",
		start + "Content-Length: 1\nTransfer-Encoding: chunked\n\nx": "two lengths",
		start + "Transfer-Encoding: Chunked\n\n0\n\n":                "Transfer-Encoding",
		start + "Transfer-Encoding: gzip, chunked\n\n0\n\n":          "Transfer-Encoding",
		start + "X : y\n\n":                                          "field line",
		start + "X: y\n z\n\n":                                       "field line",
		start + "X\n\n":                                              "field line",
		start + "X: a\rb\n\n":                                        "control byte: 0xd",
		start + "X: a\x00b\n\n":                                      "control byte: 0x0",
		start + "X: y\x01\n\n":                                       "control byte: 0x1",
		start + "X: y\v\n\n":                                         "control byte: 0xb",
		start + "Connection: X\n\n":                                  "one hop: connection",
		start + "Connection: upgrade\n\n":                            "one hop: connection",
		start + "Upgrade: websocket\n\n":                             "one hop: upgrade",
		start + "Keep-Alive: timeout=5\n\n":                          "one hop: keep-alive",
		start + "Proxy-Connection: close\n\n":                        "one hop: proxy-connection",
		start + "TE: gzip\n\n":                                       "one hop: te",
		start + "Trailer: X\n\n":                                     "one hop: trailer",
		start + "X-Forwarded-For: 1\nX-Forwarded-For: 2\n\n":         "more than one: 2 of x-forwarded-for",
		start + "X_Forwarded-For: 1\n\n":                             "look-alike",
		start + "Remote_User: a\n\n":                                 "look-alike",
		start + "Content_Length: 1\n\n":                              "look-alike",
		chunked + "+1\nx\n0\n\n":                                     "chunk size",
		chunked + "0x1\nx\n0\n\n":                                    "chunk size",
		chunked + "1;a=b\nx\n0\n\n":                                  "chunk size",
		chunked + "1 \nx\n0\n\n":                                     "chunk size",
		chunked + "000000001\nx\n0\n\n":                              "chunk size",
		chunked + "1\nxy\n0\n\n":                                     "behind a chunk",
		chunked + "0\nHost: b.test\n\n":                              "trailers: host",
		chunked + "0\nX : y\n\n":                                     "field line",
		start + "X: y\n\n|GET / \n\n":                                "behind it", // a second request in one
	} {
		raw, rest, _ := strings.Cut(strings.ReplaceAll(raw, "\n", "\r\n"), "|")
		h, _ := hear(bufio.NewReader(strings.NewReader(raw)))
		if rest != "" {
			h.raw = append(h.raw, rest...)
			if err := h.again(); err != nil {
				h.faults = append(h.faults, err.Error())
			}
		}
		if !strings.Contains(strings.Join(h.faults, "; "), want) {
			t.Errorf("%q: %q, want %q", raw, h.faults, want)
		}
	}
	h, _ := hear(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\nHost: a.test\nX: y\r\n\r\n")))
	if !strings.Contains(strings.Join(h.faults, "; "), "bare LF") {
		t.Errorf("a bare LF: %q", h.faults)
	}
}

// It finds nothing where nothing is, and tells what is whole from what is cut.
func TestRecorderHears(t *testing.T) {
	for raw, want := range map[string]string{
		"GET /x?y HTTP/1.1\nHost: A.test.:81\nX: a\tb\n\n":                                                 "GET A.test /x?y ",
		"OPTIONS * HTTP/1.1\nHost: [0::1]:80\n\n":                                                          "OPTIONS ::1 * ",
		"POST /x HTTP/1.1\nHost: a.test\nContent-Length: 3\n\nabc":                                         "POST a.test /x abc",
		"POST /x HTTP/1.1\nHost: a.test\nTransfer-Encoding: chunked\n\n3\nabc\na\n0123456789\n0\nX: y\n\n": "POST a.test /x abc0123456789",
		"GET /x HTTP/1.1\nHost: a.test\nConnection: Upgrade\nUpgrade: websocket\n\n":                       "GET a.test /x ",
	} {
		raw = strings.ReplaceAll(raw, "\n", "\r\n")
		h, err := hear(bufio.NewReader(strings.NewReader(raw + "GET /behind")))
		if err != nil || len(h.faults) > 0 || h.says() != want || string(h.raw) != raw || !h.whole {
			t.Errorf("%q: %v, %q, %q", raw, err, h.faults, h.says())
		}
		if err := h.again(); err != nil {
			t.Errorf("%q: %v", raw, err)
		}
		for n := 1; n < len(raw); n++ {
			if h, err := hear(bufio.NewReader(strings.NewReader(raw[:n]))); err == nil || h.whole || len(h.faults) > 0 {
				t.Errorf("%q: %v, %q", raw[:n], err, h.faults)
			}
		}
	}
}
