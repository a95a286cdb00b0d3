// peer is the other side in ttrpc-node's tests: Go's own ttrpc, as a server ("peer server SOCKET", until stdin ends) or as a
// client ("peer client SOCKET", which runs every case against a server and prints the results as JSON).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const service = "ttrpcnode.test.v1.Peer"

func main() {
	if len(os.Args) != 3 {
		fatal(errors.New("usage: peer server|client SOCKET"))
	}
	var err error
	switch os.Args[1] {
	case "server":
		err = serve(os.Args[2])
	case "client":
		err = call(os.Args[2])
	}
	if err != nil {
		fatal(err)
	}
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func text(s string) *wrapperspb.StringValue { return wrapperspb.String(s) }

func unary(f func(context.Context, string) (string, error)) ttrpc.Method {
	return func(ctx context.Context, in func(interface{}) error) (interface{}, error) {
		var req wrapperspb.StringValue
		if err := in(&req); err != nil {
			return nil, err
		}
		out, err := f(ctx, req.Value)
		if err != nil {
			return nil, err
		}
		return text(out), nil
	}
}

func serve(socket string) error {
	server, err := ttrpc.NewServer()
	if err != nil {
		return err
	}
	server.RegisterService(service, &ttrpc.ServiceDesc{
		Methods: map[string]ttrpc.Method{
			"Echo": unary(func(_ context.Context, s string) (string, error) { return s, nil }),
			"Context": unary(func(ctx context.Context, _ string) (string, error) {
				md, _ := ttrpc.GetMetadata(ctx)
				var keys []string
				for k, v := range md {
					keys = append(keys, k+"="+strings.Join(v, "|"))
				}
				sort.Strings(keys)
				left := "none"
				if deadline, ok := ctx.Deadline(); ok {
					left = strconv.FormatInt(time.Until(deadline).Milliseconds(), 10)
				}
				return strings.Join(keys, ",") + " " + left, nil
			}),
			"Fail": unary(func(_ context.Context, s string) (string, error) {
				st := status.New(codes.NotFound, s)
				st, _ = st.WithDetails(text("detail"))
				return "", st.Err()
			}),
			"Plain": unary(func(_ context.Context, s string) (string, error) { return "", errors.New(s) }),
			"Wait": unary(func(ctx context.Context, _ string) (string, error) {
				<-ctx.Done()
				return "", ctx.Err()
			}),
			"Big": unary(func(_ context.Context, s string) (string, error) {
				n, _ := strconv.Atoi(s)
				return strings.Repeat("x", n), nil
			}),
		},
		Streams: map[string]ttrpc.Stream{
			"Join":   {StreamingClient: true, Handler: join},
			"Count":  {StreamingServer: true, Handler: count},
			"Upper":  {StreamingClient: true, StreamingServer: true, Handler: upper},
			"Broken": {StreamingClient: true, StreamingServer: true, Handler: broken},
		},
	})
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return server.Serve(context.Background(), listener)
}

func join(_ context.Context, s ttrpc.StreamServer) (interface{}, error) {
	var all []string
	for {
		var req wrapperspb.StringValue
		if err := s.RecvMsg(&req); errors.Is(err, io.EOF) {
			return text(strings.Join(all, "+")), nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, req.Value)
	}
}

func count(_ context.Context, s ttrpc.StreamServer) (interface{}, error) {
	var req wrapperspb.StringValue
	if err := s.RecvMsg(&req); err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(req.Value)
	for i := range n {
		if err := s.SendMsg(text(strconv.Itoa(i))); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func upper(_ context.Context, s ttrpc.StreamServer) (interface{}, error) {
	for {
		var req wrapperspb.StringValue
		if err := s.RecvMsg(&req); errors.Is(err, io.EOF) {
			return nil, nil
		} else if err != nil {
			return nil, err
		}
		if err := s.SendMsg(text(strings.ToUpper(req.Value))); err != nil {
			return nil, err
		}
	}
}

func broken(_ context.Context, s ttrpc.StreamServer) (interface{}, error) {
	if err := s.SendMsg(text("first")); err != nil {
		return nil, err
	}
	return nil, status.Error(codes.DataLoss, "broke")
}
