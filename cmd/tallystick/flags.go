package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
)

// flagError puts what the flag package says into our words: which flag, what is
// wrong with it, what to do.
func flagError(cmd *cobra.Command, err error) error {
	see := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
	var (
		unknown *pflag.NotExistError
		missing *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
		syntax  *pflag.InvalidSyntaxError
	)
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() != "":
		return usagef("unknown flag -%s; %s", string([]rune(unknown.GetSpecifiedName())[:1]), see)
	case errors.As(err, &unknown):
		return usagef("unknown flag --%s; %s", unknown.GetSpecifiedName(), cmp.Or(nearFlag(cmd, unknown.GetSpecifiedName()), see))
	case errors.As(err, &missing):
		return usagef("--%s: it needs a value after it; %s", missing.GetFlag().Name, see)
	case errors.As(err, &invalid):
		return usagef("--%s: %q %s; %s", invalid.GetFlag().Name, invalid.GetValue(), notA(invalid), see)
	case errors.As(err, &syntax):
		return usagef("%q is no flag; %s", syntax.GetSpecifiedFlag(), see)
	}
	return usagef("%w; %s", err, see)
}

// checkEmpty refuses a flag that was given without a text, as by a variable of a
// script that is not set: to take it for one left out would write no tables, or
// run for ever. An empty address hides the one in the environment.
func checkEmpty(cmd *cobra.Command) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		switch f.Name {
		case "brokers", "redis", "redis-master", "redis-username", "registry", "registry-user", "kafka-sasl", "kafka-user":
			return
		}
		if f.Value.Type() == "string" && f.Value.String() == "" && f.DefValue == "" && err == nil {
			err = usagef("--%s: its value is empty: name one, or leave the flag out", f.Name)
		}
	})
	return err
}

// notA says what a flag's value is not.
func notA(e *pflag.InvalidValueError) string {
	switch e.GetFlag().Value.Type() {
	case "int", "int32":
		return "is not a whole number"
	case "uint64":
		return "is not a whole number from 0 on"
	case "intSlice":
		return "is not a list of whole numbers such as 0,1"
	case "float64":
		return "is not a number"
	case "bool":
		return "is neither true nor false"
	case "duration":
		return "is not a duration such as 90s, 15m or 24h"
	case "stringSlice":
		return "is not a list of names such as a,b"
	}
	return e.Unwrap().Error()
}

func nearFlag(cmd *cobra.Command, name string) string {
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, "--"+f.Name) })
	if hint := expr.DidYouMean("--"+name, known); strings.HasPrefix(hint, "did you mean") {
		return hint
	}
	return ""
}

// parseInstant reads an instant with a zone.
func parseInstant(flag, text string) (schemas.Micros, error) {
	t, err := schemas.ParseInstant(text)
	var e *schemas.TimeError
	if errors.As(err, &e) {
		return t, usagef("%s: %q is no instant: %s; write it as in 2026-01-31T12:00:00Z", flag, text, e.Reason)
	}
	return t, usage(err)
}

// addresses splits host:port,… and refuses what is none.
func addresses(flag, text string) ([]string, error) {
	if strings.Contains(text, "@") { // what stands before it is not shown
		return nil, usagef("%s: it holds a user or password: write host:port, several with commas between them, and give user and password as --help says", flag)
	}
	list := strings.Split(text, ",")
	for i, a := range list {
		list[i] = strings.TrimSpace(a)
		host, port, err := net.SplitHostPort(list[i])
		n, numeric := strconv.Atoi(port)
		switch {
		case err != nil || host == "":
			return nil, usagef("%s: %q is not an address; write host:port, several with commas between them", flag, a)
		case numeric != nil || n < 1 || n > 65535:
			return nil, usagef("%s: %q has no port between 1 and 65535; write host:port, several with commas between them", flag, a)
		}
	}
	return list, nil
}

// bytesFlag is a size such as 512MB or 2GiB.
type bytesFlag int64

// String implements pflag.Value; no size is the empty text.
func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	if *b > 0 && *b%1_000_000 == 0 {
		return strconv.FormatInt(int64(*b)/1_000_000, 10) + "MB"
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

// Type implements pflag.Value.
func (b *bytesFlag) Type() string { return "SIZE" }

var sizes = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}}

// Set implements pflag.Value.
func (b *bytesFlag) Set(text string) error {
	for _, s := range sizes {
		if n, ok := strings.CutSuffix(text, s.suffix); ok {
			x, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			if err != nil || x <= 0 || x > (1<<62)/s.factor {
				break
			}
			*b = bytesFlag(x * s.factor)
			return nil
		}
	}
	return errors.New("is not a size such as 512MB or 2GiB")
}
