// webserver stands in for nginx and httpd in the test images: it is whichever its file is called. As nginx it runs as
// "nginx: master process" and writes /var/run/nginx.pid, which critest reads.
package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	executable, err := os.Executable()
	if err != nil {
		fail(err)
	}
	name := filepath.Base(executable)
	if title := name + ": master process " + executable; os.Args[0] != title {
		fail(syscall.Exec(executable, []string{title}, os.Environ()))
	}
	_ = os.MkdirAll("/var/run", 0o755)
	_ = os.WriteFile("/var/run/"+name+".pid", fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644)

	port := os.Getenv("PORT")
	if port == "" {
		port = "80"
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		fail(err)
	}
	fmt.Printf("%s: listening on port %s\n", name, port)

	mux := http.NewServeMux()
	mux.HandleFunc("/hostname", func(w http.ResponseWriter, _ *http.Request) {
		host, _ := os.Hostname()
		fmt.Fprintln(w, host)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Printf("%s - %s %s 200\n", r.RemoteAddr, r.Method, r.URL.Path)
		fmt.Fprintf(w, "<!DOCTYPE html><title>Welcome to %s!</title>\n", name)
	})
	server := &http.Server{Handler: mux}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGWINCH)
	defer cancel()
	go func() {
		<-stop.Done()
		limited, done := context.WithTimeout(context.Background(), time.Second)
		defer done()
		_ = server.Shutdown(limited)
	}()
	if err := server.Serve(listener); err != http.ErrServerClosed {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, filepath.Base(os.Args[0])+":", err)
	os.Exit(1)
}
