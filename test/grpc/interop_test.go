// Package grpc asks gRPC's own interoperability questions through edge: google.golang.org/grpc's client over TLS, a real edge process, and
// its server behind it over h2c. It is a module of its own, so that edge needs nothing of gRPC.
package grpc

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

const config = `
state_dir = "DIR/state"
[[listener]]
name = "https"
address = "127.0.0.1:0"
protocol = "https"
[[certificate]]
hosts = ["localhost"]
issuer = "dev"
dir = "DIR/certs"
[[vhost]]
hosts = ["localhost"]
proxy = "h2c://UP"
[log]
access = "DIR/access.log"
`

// patience is how long any of this may take.
const patience = time.Minute

// server is an interoperability server of gRPC's, without TLS.
func server(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

var listening = regexp.MustCompile(`msg=listening listener=https address=(\S+)`)

// edge builds the program of the module above and starts it before a server; dir gets what it writes.
func edge(t *testing.T, dir, up string) (address string) {
	t.Helper()
	program := filepath.Join(dir, "edge")
	build := exec.Command("go", "build", "-o", program, ".")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building edge: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "edge.toml")
	if err := os.WriteFile(file, []byte(strings.NewReplacer("DIR", dir, "UP", up).Replace(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", file)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found, read := make(chan string, 1), make(chan struct{})
	var log []string
	go func() {
		defer close(read)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log = append(log, lines.Text())
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				found <- m[1]
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-read
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("edge ended with %v:\n%s", err, strings.Join(log, "\n"))
		}
	})
	select {
	case address = <-found:
	case <-read:
		t.Fatal("edge does not serve")
	case <-time.After(patience):
		t.Fatal("edge says nothing")
	}
	return address
}

// dial gives a client that trusts edge's development authority.
func dial(t *testing.T, dir, address string) *grpc.ClientConn {
	t.Helper()
	pem, err := os.ReadFile(filepath.Join(dir, "certs", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		t.Fatal("the authority's certificate is none")
	}
	c, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "localhost"})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// The cases of https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md that need no compression of the messages, cloud or
// balancer. Where one fails, gRPC's code ends the test's process and says why.
func TestInterop(t *testing.T) {
	dir := t.TempDir()
	c := dial(t, dir, edge(t, dir, server(t)))
	client := testgrpc.NewTestServiceClient(c)
	on := func(do func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)) func(context.Context) {
		return func(ctx context.Context) { do(ctx, client) }
	}
	passed := 0
	for _, test := range []struct {
		name string
		do   func(context.Context)
	}{
		{"empty_unary", on(interop.DoEmptyUnaryCall)},
		{"large_unary", on(interop.DoLargeUnaryCall)},
		{"client_streaming", on(interop.DoClientStreaming)},
		{"server_streaming", on(interop.DoServerStreaming)},
		{"ping_pong", on(interop.DoPingPong)},
		{"empty_stream", on(interop.DoEmptyStream)},
		{"timeout_on_sleeping_server", on(interop.DoTimeoutOnSleepingServer)},
		{"cancel_after_begin", on(interop.DoCancelAfterBegin)},
		{"cancel_after_first_response", on(interop.DoCancelAfterFirstResponse)},
		{"custom_metadata", on(interop.DoCustomMetadata)},
		{"status_code_and_message", on(interop.DoStatusCodeAndMessage)},
		{"special_status_message", on(interop.DoSpecialStatusMessage)},
		{"unimplemented_method", func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, c) }},
		{"unimplemented_service", func(ctx context.Context) {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(c))
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			test.do(ctx)
			passed++
		})
	}
	through(t, dir, passed)
}

// through makes sure that the calls went through edge: its access log has them, each when it has ended there.
func through(t *testing.T, dir string, calls int) {
	t.Helper()
	for limit := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		log, err := os.ReadFile(filepath.Join(dir, "access.log"))
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(string(log), `"path":"/grpc.testing.`)
		if n >= calls {
			fmt.Printf("%d of gRPC's interoperability cases passed through edge\n", calls)
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%d cases passed, and edge has relayed %d calls:\n%s", calls, n, log)
		}
	}
}
