package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// healthFlags are the flags of `health`.
type healthFlags struct {
	timeout time.Duration
}

func healthCommand() *cobra.Command {
	var h healthFlags
	cmd := &cobra.Command{
		Use:   "health [URL]",
		Short: "Ask a daemon whether it is ready: a probe for containers",
		Long: `Ask a daemon that runs with --listen whether it is ready, and say what it says:
http://` + listenExample + `/readyz unless another URL is given. An address alone is
asked for /readyz.

Exit codes: 0 ready, 1 not ready or not reached.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.run(cmd.Context(), cmd.OutOrStdout(), strings.Join(args, ""))
		},
	}
	cmd.Flags().DurationVar(&h.timeout, "timeout", 3*time.Second, "give up after `DURATION`")
	return cmd
}

func (h *healthFlags) run(ctx context.Context, w io.Writer, address string) error {
	address = cmp.Or(address, listenExample)
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" || u.User != nil {
		return usagef("the address is no URL of a daemon, such as http://%s/readyz", listenExample)
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/readyz"
	}
	if h.timeout <= 0 {
		return usagef("--timeout: %v is too short: name a second or more", h.timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return err
	}
	// A probe asks this machine: no proxy that the environment names.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		var e *url.Error // says the address once more
		if errors.As(err, &e) {
			err = e.Err
		}
		return fmt.Errorf("nothing answers at %s: run the daemon with --listen, or name its address (%w)", u, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return err
	}
	said := printable(strings.TrimSpace(string(text)))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", resp.Status, said)
	}
	_, err = fmt.Fprintln(w, said)
	return err
}
