package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/stream"
)

// logFlag says how a daemon tells an operator what happens, on standard error.
type logFlag struct {
	format string
}

const jsonLogs = "json"

func (l *logFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&l.format, "log", "text", "`FORMAT` of what is told on standard error: text, or json, one object a line")
}

func (l *logFlag) check() error {
	if l.format != "" && l.format != "text" && l.format != jsonLogs {
		return usagef("--log: %q is no format: text or json", l.format)
	}
	return nil
}

// notices returns where to write lines to: as they are, or each as an object.
func (l *logFlag) notices(w io.Writer) io.Writer {
	if l.format == jsonLogs {
		return &logLines{newLogger(w)}
	}
	return w
}

// meter shows progress to people only.
func (l *logFlag) meter(w io.Writer) *meter {
	if l.format == jsonLogs {
		return nil
	}
	return newMeter(w)
}

func newLogger(w io.Writer) *slog.Logger {
	return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			a.Value = slog.StringValue(a.Value.Time().UTC().Format(time.RFC3339Nano)) // V10
		}
		return a
	}}))
}

// logLines makes each line that is written an object of the log.
type logLines struct{ log *slog.Logger }

// Write implements io.Writer.
func (l *logLines) Write(b []byte) (int, error) {
	for line := range bytes.Lines(b) {
		text := strings.TrimSpace(string(line))
		level := slog.LevelInfo
		if strings.Contains(text, "warning: ") {
			level = slog.LevelWarn
		}
		if text != "" {
			l.log.Log(context.Background(), level, text)
		}
	}
	return len(b), nil
}

// notice tells what a worker says of a view, with fields if w takes objects.
func notice(w io.Writer, view string, n stream.Notice) {
	lines, ok := w.(*logLines)
	if !ok {
		where := view + ": "
		if n.Partition >= 0 {
			where += "partition " + strconv.Itoa(int(n.Partition)) + ": "
		}
		_, _ = io.WriteString(w, where+printable(noticeText(n))+"\n")
		return
	}
	level, attrs := slog.LevelInfo, []slog.Attr{slog.String("view", view)}
	for _, f := range []struct {
		name  string
		value int64
	}{{"partition", int64(n.Partition)}, {"shard", int64(n.Shard)}, {"offset", n.Offset}} {
		if f.value >= 0 {
			attrs = append(attrs, slog.Int64(f.name, f.value))
		}
	}
	if n.Err != nil {
		level, attrs = slog.LevelWarn, append(attrs, slog.String("error", n.Err.Error()))
	}
	lines.log.LogAttrs(context.Background(), level, n.Text, attrs...)
}

// asksForObjects tells whether a command line has --log json. It is asked when a
// command has failed, perhaps for its flags.
func asksForObjects(args []string) bool {
	for i, a := range args {
		if a == "--log="+jsonLogs || a == "--log" && i+1 < len(args) && args[i+1] == jsonLogs {
			return true
		}
	}
	return false
}

// logFailure tells, as an object, why the program ends.
func logFailure(w io.Writer, err error, code int) {
	newLogger(w).LogAttrs(context.Background(), slog.LevelError, err.Error(), slog.Int("exit", code))
}
