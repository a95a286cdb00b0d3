package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// call runs the cases in order over one connection; each result is a text, errors as "CODE message".
func call(socket string) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return err
	}
	client := ttrpc.NewClient(conn)
	results := map[string]string{}
	ask := func(ctx context.Context, method, arg string) string {
		var out wrapperspb.StringValue
		if err := client.Call(ctx, service, method, text(arg), &out); err != nil {
			return failure(err)
		}
		return out.Value
	}
	ctx := context.Background()
	results["echo"] = ask(ctx, "Echo", "hello")
	results["empty"] = ask(ctx, "Echo", "")
	md := ttrpc.MD{}
	md.Set("Key", "a", "b")
	limited, cancel := context.WithTimeout(ttrpc.WithMetadata(ctx, md), 30*time.Second)
	results["context"] = ask(limited, "Context", "")
	cancel()
	results["fail"] = ask(ctx, "Fail", "no such thing")
	results["plain"] = ask(ctx, "Plain", "plain words")
	results["nomethod"] = ask(ctx, "Nope", "")
	results["big"] = strconv.Itoa(len(ask(ctx, "Big", "4194000")))
	results["toobig"] = ask(ctx, "Big", "4194304")
	brief, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	results["deadline"] = ask(brief, "Wait", "")
	cancel()
	results["parallel"] = parallel(ask)
	results["join"] = stream(client, "Join", &ttrpc.StreamDesc{StreamingClient: true}, nil, []string{"a", "b", "c"})
	results["count"] = stream(client, "Count", &ttrpc.StreamDesc{StreamingServer: true}, text("4"), nil)
	results["upper"] = stream(client, "Upper", &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, nil, []string{"x", "y"})
	results["broken"] = stream(client, "Broken", &ttrpc.StreamDesc{StreamingClient: true, StreamingServer: true}, nil, nil)
	results["after"] = ask(ctx, "Echo", "still here")
	if err := client.Close(); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(results)
}

func parallel(ask func(context.Context, string, string) string) string {
	var wg sync.WaitGroup
	wrong := make([]bool, 200)
	for i := range wrong {
		wg.Go(func() {
			arg := strings.Repeat(strconv.Itoa(i), i*20)
			wrong[i] = ask(context.Background(), "Echo", arg) != arg
		})
	}
	wg.Wait()
	for i, w := range wrong {
		if w {
			return "wrong " + strconv.Itoa(i)
		}
	}
	return "ok"
}

func stream(client *ttrpc.Client, method string, desc *ttrpc.StreamDesc, first *wrapperspb.StringValue, send []string) string {
	var req interface{}
	if first != nil {
		req = first
	}
	s, err := client.NewStream(context.Background(), desc, service, method, req)
	if err != nil {
		return failure(err)
	}
	for _, m := range send {
		if err := s.SendMsg(text(m)); err != nil {
			return failure(err)
		}
	}
	if desc.StreamingClient {
		if err := s.CloseSend(); err != nil {
			return failure(err)
		}
	}
	var got []string
	for {
		var out wrapperspb.StringValue
		if err := s.RecvMsg(&out); errors.Is(err, io.EOF) {
			return strings.Join(got, ",")
		} else if err != nil {
			return strings.Join(append(got, failure(err)), ",")
		}
		got = append(got, out.Value)
		if !desc.StreamingServer {
			return strings.Join(got, ",")
		}
	}
}

func failure(err error) string {
	if st, ok := status.FromError(err); ok {
		return st.Code().String() + " " + st.Message()
	}
	return "error " + err.Error()
}
