package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
)

// listenFlag makes a daemon tell of itself by HTTP: /healthz, /readyz, /metrics.
type listenFlag struct {
	listen string
}

// listenExample is where a daemon listens, and `tallystick health` asks, when
// nothing speaks for another address.
const listenExample = "127.0.0.1:9464"

func (l *listenFlag) add(cmd *cobra.Command, condition string) {
	cmd.Flags().StringVar(&l.listen, "listen", "", condition+"serve /healthz, /readyz and /metrics by HTTP at `HOST:PORT` such as "+listenExample+" (default: nowhere)")
}

// check refuses what is no address. Without a host, as :9464, it is every address
// of this machine; port 0 is any that is free.
func (l *listenFlag) check() error {
	if l.listen == "" {
		return nil
	}
	_, port, err := net.SplitHostPort(l.listen)
	if n, numeric := strconv.ParseUint(port, 10, 16); err != nil || numeric != nil || n > 65535 {
		return usagef("--listen: %q is not an address; write host:port, such as %s", l.listen, listenExample)
	}
	return nil
}

// health is what a daemon says of itself. The text is for people; an error says
// what is amiss.
type health interface {
	alive() error
	ready() (string, error)
}

// start listens, until the returned function is called. Nothing else may have
// been begun: an address that is taken is found before a server is asked.
func (l *listenFlag) start(h health, metrics prometheus.Gatherer, notices io.Writer) (stop func(), err error) {
	if l.listen == "" {
		return func() {}, nil
	}
	at, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", l.listen)
	if err != nil {
		var e *net.OpError // says the address once more
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, fmt.Errorf("--listen: cannot listen at %s: %w: name another address", l.listen, err)
	}
	srv := &http.Server{Handler: handler(h, metrics), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(at) // it ends by Close
	}()
	fmt.Fprintf(notices, "listening at http://%s: /healthz /readyz /metrics\n", at.Addr())
	return func() {
		_ = srv.Close()
		<-done
	}, nil
}

// handler serves what a daemon says of itself to those who only read.
func handler(h health, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "alive", h.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		text, err := h.ready()
		answer(w, text, err)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	return mux
}

func answer(w http.ResponseWriter, text string, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if err != nil {
		text = err.Error()
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, printable(strings.TrimSpace(text)))
}
