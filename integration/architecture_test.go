package integration

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/tallystick/tallystick"

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath, Dir, Export   string
	GoFiles                   []string
	TestGoFiles, XTestGoFiles []string
	Imports                   []string
	TestImports, XTestImports []string
	Standard                  bool
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-tags=real", "-json"}, args...)...)
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var list []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// room returns the part of the architecture that a package of ours belongs to.
func room(path string) string {
	rel := strings.TrimPrefix(strings.TrimPrefix(path, modulePath), "/")
	parts := strings.Split(rel, "/")
	if parts[0] == "store" && len(parts) > 1 {
		return "store/" + parts[1]
	}
	return parts[0]
}

// mayImport says which rooms each room may import (§11): the data flows
// schemas → transforms → stream, batch, store → cmd.
var mayImport = map[string]string{
	"schemas":         "schemas",
	"transforms":      "schemas transforms",
	"stream":          "schemas transforms stream",
	"store/files":     "store/files",
	"store/spill":     "store/files store/spill",
	"batch":           "schemas store/spill transforms batch",
	"store/dial":      "",
	"store/log":       "schemas store/dial store/log",
	"store/online":    "schemas transforms store/dial store/online",
	"store/offline":   "schemas store/dial store/files store/spill transforms store/offline",
	"store/reconcile": "schemas transforms store/reconcile",
	"store/gate":      "schemas transforms store/gate",
	"examples":        "",
	"cmd":             "schemas transforms stream batch store/files store/spill store/log store/online store/offline store/gate store/reconcile examples cmd",
	"integration":     "schemas transforms integration",
}

// §11: imports follow the data; neither path imports the other; only cmd wires.
func TestImportsFollowTheData(t *testing.T) {
	seen := 0
	for _, p := range goList(t, "./...") {
		from := room(p.ImportPath)
		allowed, ok := mayImport[from]
		if !ok {
			t.Errorf("%s: no rule says what %s may import; add it to ARCHITECTURE.md and here", p.ImportPath, from)
			continue
		}
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, modulePath+"/") {
				continue
			}
			seen++
			if !strings.Contains(" "+allowed+" ", " "+room(i)+" ") {
				t.Errorf("%s imports %s: %s may import only: %s", p.ImportPath, i, from, allowed)
			}
		}
	}
	if seen < 20 {
		t.Fatalf("only %d imports seen: the test looks at nothing", seen)
	}
}

// Metrics are an adapter: who does the work tells plain structs, and the command
// line exports them.
func TestPrometheusStaysInCmd(t *testing.T) {
	users := 0
	for _, p := range goList(t, "./...") {
		for _, i := range p.Imports {
			if !strings.HasPrefix(i, "github.com/prometheus/") {
				continue
			}
			if users++; p.ImportPath != modulePath+"/cmd/tallystick" {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
	}
	if users == 0 {
		t.Error("the test looks at nothing")
	}
}

// helpers are the packages that only tests may import, with how many packages do,
// at least.
var helpers = map[string]int{"/integration/testbed": 8, "/integration/servers": 1}

// §11, §12: production code imports no test helper: they are for _test.go files,
// one another, and the command that measures.
func TestOnlyTestsImportTestHelpers(t *testing.T) {
	list := goList(t, "./...")
	for helper, least := range helpers {
		path, users := modulePath+helper, 0
		for _, p := range list {
			by := strings.TrimPrefix(p.ImportPath, modulePath)
			if _, helps := helpers[by]; slices.Contains(p.Imports, path) && !helps && by != "/integration/bench" {
				t.Errorf("%s imports %s outside its tests", p.ImportPath, path)
			}
			if slices.Contains(p.TestImports, path) || slices.Contains(p.XTestImports, path) {
				users++
			}
		}
		if users < least {
			t.Errorf("only %d packages test with %s: the test looks at nothing", users, path)
		}
	}
}

// starters are the functions that start an embedded server.
var starters = map[string]string{"kfake.NewCluster": "testbed.Kafka", "miniredis.NewMiniRedis": "testbed.Redis",
	"miniredis.Run": "testbed.Redis", "miniredis.RunT": "testbed.Redis"}

// Tests listen on loopback only (CONTRIBUTING): their servers come from the one
// place that refuses any other address.
func TestServersComeFromTheTestbed(t *testing.T) {
	seen := 0
	for _, p := range goList(t, "./...") {
		seen += len(p.TestGoFiles) + len(p.XTestGoFiles)
		p.GoFiles = slices.Concat(p.TestGoFiles, p.XTestGoFiles)
		eachFile(t, p, func(fset *token.FileSet, f *ast.File, _ string) {
			checkServers(f, func(pos token.Pos, use string) { t.Errorf("%v: use %s", fset.Position(pos), use) })
		})
	}
	if seen < 50 {
		t.Fatalf("only %d test files seen: the test looks at nothing", seen)
	}
}

func checkServers(f *ast.File, report func(pos token.Pos, use string)) {
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok && starters[pkg.Name+"."+sel.Sel.Name] != "" {
				report(sel.Pos(), starters[pkg.Name+"."+sel.Sel.Name])
			}
		}
		return true
	})
}

func TestServerLintCanFail(t *testing.T) {
	for src, want := range map[string]int{
		`package p; func f() { kfake.NewCluster(kfake.NumBrokers(1)); miniredis.NewMiniRedis() }`: 2,
		`package p; func f() { testbed.Kafka(nil, kfake.NumBrokers(1)) }`:                         0,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		checkServers(f, func(token.Pos, string) { got++ })
		if got != want {
			t.Errorf("%s: %d reports, want %d", src, got, want)
		}
	}
}

// V1: transforms does no I/O, has no clock and no goroutines.
func TestTransformsIsPure(t *testing.T) {
	banned := map[string]bool{"net": true, "net/http": true, "os": true, "time": true, "math/rand": true, "math/rand/v2": true}
	for _, p := range goList(t, "./transforms") {
		for _, i := range p.Imports {
			if banned[i] {
				t.Errorf("%s imports %s", p.ImportPath, i)
			}
		}
		eachFile(t, p, func(_ *token.FileSet, f *ast.File, name string) {
			ast.Inspect(f, func(n ast.Node) bool {
				if _, ok := n.(*ast.GoStmt); ok {
					t.Errorf("%s starts a goroutine", name)
				}
				return true
			})
		})
	}
}

// Every package of the program that starts goroutines is in the race step, which names
// packages: none can be forgotten unseen.
func TestRaceStepHasWhatRunsGoroutines(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	_, step, _ := strings.Cut(string(makefile), "\nrace:\n")
	step, _, _ = strings.Cut(step, "\n\n")
	raced := strings.Fields(strings.ReplaceAll(step, "/...", ""))
	seen := 0
	for _, p := range goList(t, "./...") {
		if r := room(p.ImportPath); r == "integration" || r == "examples" {
			continue
		}
		starts := false
		eachFile(t, p, func(_ *token.FileSet, f *ast.File, _ string) {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					starts = true
				case *ast.SelectorExpr: // of a sync.WaitGroup or an errgroup
					starts = starts || n.Sel.Name == "Go"
				}
				return true
			})
		})
		if !starts {
			continue
		}
		seen++
		dir := "." + strings.TrimPrefix(p.ImportPath, modulePath)
		if !slices.ContainsFunc(raced, func(r string) bool { return r == dir || strings.HasPrefix(dir, r+"/") }) {
			t.Errorf("%s starts goroutines and is not in the race step of the Makefile", dir)
		}
	}
	if seen == 0 {
		t.Error("no package starts goroutines")
	}
}

func eachFile(t *testing.T, p goPackage, fn func(*token.FileSet, *ast.File, string)) {
	t.Helper()
	for _, name := range p.GoFiles {
		fset := token.NewFileSet()
		path := filepath.Join(p.Dir, name)
		f, err := parser.ParseFile(fset, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		fn(fset, f, path)
	}
}

// O1: no TxPipelined outside Watch: a transaction without its compare would
// overwrite what another wrote.
func TestTransactionsOnlyInsideWatch(t *testing.T) {
	seen := 0
	for _, p := range goList(t, "./...") {
		eachFile(t, p, func(fset *token.FileSet, f *ast.File, _ string) {
			seen += checkTransactions(f, func(pos token.Pos, what string) {
				t.Errorf("%v: %s", fset.Position(pos), what)
			})
		})
	}
	t.Logf("%d transactions", seen)
}

// checkTransactions reports TxPipelined on anything but the *redis.Tx that a
// function given to Watch receives, and TxPipeline at all.
func checkTransactions(f *ast.File, report func(token.Pos, string)) (seen int) {
	ast.Inspect(f, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != "TxPipelined" && sel.Sel.Name != "TxPipeline" {
			return true
		}
		seen++
		recv, ok := sel.X.(*ast.Ident)
		if !ok || sel.Sel.Name == "TxPipeline" || !isTxParam(f, recv.Name, call.Pos()) {
			report(call.Pos(), sel.Sel.Name+" outside Watch")
		}
		return true
	})
	return seen
}

// isTxParam tells whether name, at pos, is a parameter of type *redis.Tx.
func isTxParam(f *ast.File, name string, pos token.Pos) bool {
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		var ft *ast.FuncType
		switch fn := n.(type) {
		case *ast.FuncDecl:
			ft = fn.Type
		case *ast.FuncLit:
			ft = fn.Type
		default:
			return true
		}
		if pos < n.Pos() || pos > n.End() {
			return true
		}
		for _, p := range ft.Params.List {
			star, ok := p.Type.(*ast.StarExpr)
			if !ok {
				continue
			}
			if s, ok := star.X.(*ast.SelectorExpr); ok && s.Sel.Name == "Tx" {
				for _, id := range p.Names {
					found = found || id.Name == name
				}
			}
		}
		return true
	})
	return found
}

func TestTransactionLintCanFail(t *testing.T) {
	for src, want := range map[string]int{
		`package p; func f(c *redis.Client) { c.TxPipelined(nil, nil) }`:                                              1,
		`package p; func f(c *redis.Client) { c.Watch(nil, func(tx *redis.Tx) error { tx.TxPipelined(nil, nil) }) }`:  0,
		`package p; func f(c *redis.Client) { c.Watch(nil, func(tx *redis.Tx) error { c.TxPipelined(nil, nil) }) }`:   1,
		`package p; func f(c *redis.Client) { p := c.TxPipeline(); p.Exec(nil) }`:                                     1,
		`package p; func g(tx *redis.Tx) error { return nil }; func f(tx *redis.Client) { tx.TxPipelined(nil, nil) }`: 1,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "x.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		checkTransactions(f, func(token.Pos, string) { got++ })
		if got != want {
			t.Errorf("%s: %d reports, want %d", src, got, want)
		}
	}
}

// V2: floating-point products are never fused into sums. Where the compiler may
// fuse x*y + z, the product is written float64(x*y).
func TestNoFusedMultiplyAdd(t *testing.T) {
	exports := map[string]string{}
	var ours []goPackage
	for _, p := range goList(t, "-export", "-deps", "./transforms/...", "./schemas/...", "./batch/...") {
		exports[p.ImportPath] = p.Export
		if strings.HasPrefix(p.ImportPath, modulePath) {
			ours = append(ours, p)
		}
	}
	for _, p := range ours {
		fset, files := token.NewFileSet(), []*ast.File(nil)
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		for _, pos := range fusable(t, fset, files, p.ImportPath, exports) {
			t.Errorf("%v: a product within a sum may be fused: write float64(x*y)", fset.Position(pos))
		}
	}
}

// fusable returns the places where a floating-point product is an operand of a
// sum or difference.
func fusable(t *testing.T, fset *token.FileSet, files []*ast.File, path string, exports map[string]string) (at []token.Pos) {
	t.Helper()
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	if _, err := conf.Check(path, fset, files, info); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch e := n.(type) {
			case *ast.BinaryExpr:
				if e.Op == token.ADD || e.Op == token.SUB {
					at = append(at, products(info, e.X, e.Y)...)
				}
			case *ast.AssignStmt:
				if e.Tok == token.ADD_ASSIGN || e.Tok == token.SUB_ASSIGN {
					at = append(at, products(info, e.Rhs...)...)
				}
			}
			return true
		})
	}
	return at
}

func products(info *types.Info, operands ...ast.Expr) (at []token.Pos) {
	for _, x := range operands {
		x = ast.Unparen(x)
		if u, ok := x.(*ast.UnaryExpr); ok {
			x = ast.Unparen(u.X)
		}
		b, ok := x.(*ast.BinaryExpr)
		if !ok || b.Op != token.MUL {
			continue
		}
		tv := info.Types[b]
		if basic, ok := tv.Type.Underlying().(*types.Basic); ok && basic.Info()&types.IsFloat != 0 && tv.Value == nil {
			at = append(at, b.Pos())
		}
	}
	return at
}

func TestFusionLintCanFail(t *testing.T) {
	for src, want := range map[string]int{
		`package p; func f(x, y, z float64) float64 { return x*y + z }`:              1,
		`package p; func f(x, y, z float64) float64 { return z - (x * y) }`:          1,
		`package p; func f(x, y, z float64) float64 { z += x * y; return z }`:        1,
		`package p; func f(x, y, z float64) float64 { return float64(x*y) + z }`:     0,
		`package p; func f(x, y, z int) int { return x*y + z }`:                      0,
		`package p; func f(x, y, z float32) float32 { return z + -(x * y) }`:         1,
		`package p; func f(x, y, z float64) float64 { return (x + y) * z }`:          0,
		`package p; const c = 2.0 * 3.0; func f(x float64) float64 { return x + c }`: 0,
	} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "x.go", src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := len(fusable(t, fset, []*ast.File{f}, "p", nil)); got != want {
			t.Errorf("%s: %d reports, want %d", src, got, want)
		}
	}
}
