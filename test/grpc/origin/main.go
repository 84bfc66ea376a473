// Command origin is gRPC's interoperability server without TLS: what the benchmark's calls are relayed to (bench/grpc.go).
package main

import (
	"fmt"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

func main() {
	if err := serve(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "origin:", err)
		os.Exit(1)
	}
}

// serve serves at the one address that there is among the arguments, until the process is ended.
func serve(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("usage: origin ADDRESS")
	}
	l, err := net.Listen("tcp", args[0])
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	testgrpc.RegisterTestServiceServer(s, interop.NewTestServer())
	return s.Serve(l)
}
