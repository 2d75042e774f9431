package main

import (
	"context"
	"crypto/x509"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/files"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/store/online"
	"github.com/tallystick/tallystick/store/reconcile"
	"github.com/tallystick/tallystick/stream"
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/marker"
	"github.com/tallystick/tallystick/transforms/reading"
)

// shown are the errors that docs/failures.md shows word by word.
func shown(t *testing.T) []error {
	at := schemas.Micros(1_767_225_600_000_000)
	view := testbed.View(t, strings.Replace(testbed.EventDefinition, "lateness: 1h", "lateness: 1h\n    expect: [amt < 1000.0]", 1), testbed.EventSchema)
	engine, err := transforms.NewView(view.Spec)
	if err != nil {
		t.Fatal(err)
	}
	_, corrupt := engine.ParseServed([]byte("not a state"), nil)
	fault := func(values map[string]schemas.Value) error {
		in, e := engine.NewInput(), &schemas.Event{}
		for _, p := range view.Source.Paths {
			e.Fields = append(e.Fields, values[p])
		}
		engine.Prepare(in, e)
		return in.Fault
	}
	event := map[string]schemas.Value{"ent": schemas.StringValue("s1"), "id": schemas.StringValue("a"), "ver": schemas.IntValue(1), "amt": schemas.DoubleValue(5000)}
	keyless := maps.Clone(event)
	delete(keyless, "ent")
	compacted, unbounded := log.Topic{Name: "orders", CleanupPolicy: "compact"}, log.Topic{Name: "orders", TimestampAfterMaxMs: log.Unlimited}
	_, err1 := compacted.CheckEventSource()
	_, err2 := unbounded.CheckEventSource()
	compacted.CleanupPolicy = "compact,delete"
	_, err3 := compacted.CheckTableSource()
	return []error{
		&stream.CorruptStateError{Key: marker.Key{Shard: 3, Entity: "\x04\x02s1"}, Err: corrupt},
		&stream.ClockError{Shard: 3, Offset: 9, Recorded: at, Read: at + schemas.Second},
		&transforms.LoadError{Late: 40, Read: 200},
		&reading.IncompatibleError{Source: "orders", Writer: "order.v3", At: schemas.Position{Offset: 7}, Err: errors.New("field amount: …")},
		fault(keyless), fault(event),
		&stream.MissingMarkerError{Shard: 3, Beside: true},
		&stream.MissingMarkerError{Shard: 3, Beside: true, Origin: "the tables in DIR"},
		&stream.MissingMarkerError{Shard: 3, Start: 500},
		&stream.MissingMarkerError{Shard: 3, Start: 500, Beside: true},
		&stream.OriginError{Origin: "the tables in DIR", Reason: "they end at offset 400, and the log now starts at 500: offsets 400 to 499 are lost; write them anew with `tallystick replay`, with --adopt-start if need be"},
		&offline.RestoreError{View: "shops", Reason: "they are of fingerprint 0123, this definition is 4567 (it has changed, or this build writes states in another format); write them anew with `tallystick replay`"},
		&online.PolicyError{Addr: "cache:6379", Policy: "allkeys-lru"},
		&online.PolicyError{Addr: "cache:6379"},
		marker.ErrFull,
		&stream.TruncatedError{Needed: 100, Have: 500},
		&log.TruncatedError{Topic: "orders", Needed: 100, Have: 500},
		&stream.TopicChangedError{Was: "AAAA", Is: "BBBB"},
		&log.RecreatedError{Topic: "orders", Expected: "AAAA", Have: "BBBB"},
		&stream.CutTopicError{Was: "AAAA", Is: "BBBB"},
		&reconcile.TopicError{Online: "AAAA", Offline: "BBBB"},
		&stream.ShrunkError{Needed: 500, Have: 400},
		&log.ShrunkError{Topic: "orders", Needed: 500, Have: 400},
		&stream.FewerPartitionsError{Missing: []int32{2}, Have: 2},
		err1, err2, err3,
		&reading.IncompatibleError{Source: "accounts", Key: true, Writer: "key.v2", At: schemas.Position{Offset: 7}, Err: errors.New("field region: …")},
		&log.TimestampTypeError{Topic: "orders", Offset: 7, Was: log.CreateTime, Is: log.LogAppendTime},
		&log.UnreachableError{Brokers: []string{"broker:9092"}, Waited: time.Second, Err: context.DeadlineExceeded},
		&online.UnreachableError{Addr: "cache:6379", Err: context.DeadlineExceeded},
		&log.UnreachableError{Brokers: []string{"broker:9092"}, Err: kerr.SaslAuthenticationFailed},
		&log.UnreachableError{Brokers: []string{"broker:9092"}, TLS: true, Err: x509.UnknownAuthorityError{}},
		&log.UnreachableError{Brokers: []string{"broker:9092"}, Err: io.EOF},
		&log.UnreachableError{Brokers: []string{"broker:9092"}, Err: kerr.IllegalSaslState},
		&log.UnreachableError{Brokers: []string{"broker:9092"}, Err: errors.New("… a tls alert record …")},
		&online.UnreachableError{Addr: "cache:6379", TLS: true, Err: context.DeadlineExceeded},
		&online.UnreachableError{Addr: "cache:6379", Err: io.EOF},
		&log.UnauthorisedError{What: "topic orders", Need: "Read", Err: errors.New("…")},
		&online.KeyError{Key: "{shops:0123:1}:cache", Err: online.ErrForeign},
		&online.KeyError{Key: "{shops:0123:1}:p", Err: errors.New(`"x" is not a partition`)},
		&online.LiveError{View: "shops", Fingerprint: "0123"},
		&online.NotServedError{View: "shops", Fingerprint: "0123"},
		&offline.SchemaChangeError{Table: "shops/tiles", Have: "0123", Want: "4567"},
		offline.ErrConflict,
		&RoomError{View: "shops", Need: 12e9, Where: "/data/tables", Has: "its volume has 3.0 GB free"},
		&RoomError{View: "shops", Need: 12e9, Where: "the work area and --spill-dir", Has: "--disk is 5000MB"},
		&files.Error{Op: "write", Path: "/data/tables/_replay/shops/9a3f/.tmp-12", Err: syscall.ENOSPC},
		&files.Error{Op: "sync", Path: "/data/tables/_replay/shops/9a3f/.tmp-12", Err: syscall.EIO},
	}
}

// TestDocsFailures: every message of docs/failures.md is one that the program
// gives, with its commands; where it shows … it is a format of the source.
func TestDocsFailures(t *testing.T) {
	text := readRepository(t, "docs/failures.md") + readRepository(t, "docs/operations.md")
	says := map[string]bool{}
	for _, block := range strings.Split(text, "\n```message\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```\n")
		for line := range strings.Lines(block) {
			says[strings.TrimSpace(line)] = true
		}
	}
	for _, err := range shown(t) {
		if !says[err.Error()] {
			t.Errorf("the page does not show\n%v", err)
		}
		delete(says, err.Error())
	}
	formats := sourceTexts(t)
	for m := range says {
		if len(m) < 15 || !strings.Contains(formats, m) {
			t.Errorf("the source has no message\n%s", m)
		}
	}
	for _, page := range []string{"failures.md", "concepts.md", "formats.md", "operations.md"} {
		checkCommands(t, page)
	}
}

var verb = regexp.MustCompile(`%[-+#0 ]*[0-9.]*[a-zA-Z]`)

// sourceTexts returns the string constants of the source, one a line, with … in
// the place of formatting verbs.
func sourceTexts(t *testing.T) string {
	var out strings.Builder
	files := 0
	err := filepath.WalkDir("../..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		files++
		ast.Inspect(f, func(n ast.Node) bool {
			x, ok := n.(ast.Expr)
			if !ok {
				return true
			}
			s, ok := constant(x)
			if ok {
				out.WriteString(strings.ReplaceAll(verb.ReplaceAllString(s, "…"), "%%", "%") + "\n")
			}
			return !ok
		})
		return nil
	})
	if err != nil || files < 100 {
		t.Fatalf("%d files: %v", files, err)
	}
	return out.String()
}

// constant returns the text of literals joined by +.
func constant(x ast.Expr) (string, bool) {
	switch x := x.(type) {
	case *ast.BasicLit:
		if x.Kind == token.STRING {
			s, err := strconv.Unquote(x.Value)
			return s, err == nil
		}
	case *ast.BinaryExpr:
		a, ok := constant(x.X)
		b, ok2 := constant(x.Y)
		return a + b, ok && ok2 && x.Op == token.ADD
	}
	return "", false
}

var (
	commands = regexp.MustCompile("`tallystick ([a-z]+)([^`]*)`")
	flags    = regexp.MustCompile(` (--?)([a-z][a-z-]*)`)
)

// checkCommands: every command that a page shows exists, with its flags.
func checkCommands(t *testing.T, page string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range commands.FindAllStringSubmatch(string(b), -1) {
		cmd, _, err := newRoot().Find([]string{m[1]})
		if err != nil {
			t.Errorf("docs/%s: %s: %v", page, m[0], err)
			continue
		}
		for _, f := range flags.FindAllStringSubmatch(m[2], -1) {
			known := cmd.Flags().Lookup(f[2]) != nil
			if f[1] == "-" {
				known = cmd.Flags().ShorthandLookup(f[2]) != nil
			}
			if !known {
				t.Errorf("docs/%s: %s has no %s%s", page, m[0], f[1], f[2])
			}
		}
	}
}
