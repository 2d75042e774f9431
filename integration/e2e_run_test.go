package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/integration/oracle"
)

// e2eProject is a whole project of a user: a definition, its schemas, its topics.
type e2eProject struct {
	*e2eRig
	seed     uint64
	r        *rand.Rand
	dir      string
	sources  []*e2eSource
	views    []*e2eJudged
	services []e2eService
	failed   int // how many differences
}

// e2eService is a service: columns are view__feature.
type e2eService struct {
	name  string
	uses  map[string][]int // view → indexes of its features
	items []string
}

func newE2EProject(x *e2eRig, seed uint64) *e2eProject {
	p := &e2eProject{e2eRig: x, seed: seed, r: rand.New(rand.NewPCG(seed, 77))}
	var err error
	p.dir, err = os.MkdirTemp(*e2eKeep, fmt.Sprintf("e2e-%d-", seed))
	x.must(err)
	for n := range 1 + p.r.IntN(2) {
		p.sources = append(p.sources, newE2ESource(p.r, seed, n))
	}
	n := 0
	for _, s := range p.sources {
		for range 1 + p.r.IntN(2) {
			p.views = append(p.views, &e2eJudged{e2eView: newE2EView(p.r, n, s)})
			n++
		}
	}
	for n := range p.r.IntN(3) {
		p.services = append(p.services, p.service(n))
	}
	return p
}

func (p *e2eProject) service(n int) e2eService {
	s := e2eService{name: fmt.Sprintf("service_%d", n), uses: map[string][]int{}}
	for i, v := range p.views {
		switch at := p.r.IntN(len(v.names)); {
		case i > 0 && p.r.IntN(3) == 0:
		case p.r.IntN(2) == 0:
			s.items = append(s.items, v.name+".*")
			for f := range v.names {
				s.uses[v.name] = append(s.uses[v.name], f)
			}
		default:
			s.items = append(s.items, v.name+"."+v.names[at])
			s.uses[v.name] = []int{at}
		}
	}
	return s
}

// write writes the definition and the schemas.
func (p *e2eProject) write() {
	var b strings.Builder
	b.WriteString("sources:\n")
	for _, s := range p.sources {
		dir := filepath.Join(p.dir, s.name, "writers")
		p.must(os.MkdirAll(dir, 0o755))
		p.must(os.WriteFile(filepath.Join(p.dir, s.name, "reader.avsc"), readerText(s.fields, s.boxNullable), 0o644))
		for i := range s.writers {
			w := &s.writers[i]
			p.must(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.avsc", w.stem, w.id)), w.text(p.r.IntN(2) == 0), 0o644))
		}
		b.WriteString(s.yaml(p.r))
	}
	b.WriteString("views:\n")
	for _, v := range p.views {
		b.WriteString(v.yaml())
	}
	for i, s := range p.services {
		if i == 0 {
			b.WriteString("services:\n")
		}
		fmt.Fprintf(&b, "  %s: [%s]\n", s.name, strings.Join(s.items, ", "))
	}
	p.must(os.WriteFile(filepath.Join(p.dir, "tallystick.yaml"), []byte(b.String()), 0o644))
}

// bad reports what is wrong; the seed and the directory are told at the end.
func (p *e2eProject) bad(format string, a ...any) {
	p.Helper()
	if p.failed++; p.failed > 10 {
		return // one cause has many effects
	}
	p.Errorf("seed %d: "+format, append([]any{p.seed}, a...)...)
}

// ok runs the program and demands that it succeeds.
func (p *e2eProject) ok(args ...string) string {
	p.Helper()
	got := p.run(p.dir, args...)
	if got.code != 0 {
		p.bad("tallystick %s: exit %d\n%s", strings.Join(args, " "), got.code, got.errout)
	}
	return got.out
}

// The product as a user runs it, held against values computed independently:
// V1-V12, K1, K2, K7, S1, S2, §10.
func TestEndToEnd(t *testing.T) {
	x := newE2ERig(t)
	for i := range *e2eSeeds {
		seed := *e2eFrom + uint64(i)
		p := newE2EProject(x, seed)
		p.judge()
		if p.failed > 0 {
			t.Errorf("project kept in %s; rerun: go test ./integration -run TestEndToEnd -e2e 1 -e2e-from %d", p.dir, seed)
		} else if *e2eKeep == "" {
			p.must(os.RemoveAll(p.dir))
		}
	}
}

func (p *e2eProject) judge() {
	p.write()
	for _, s := range p.sources {
		order := s.fill(p.r, 40+p.r.IntN(220))
		p.produce(p.r, s, order)
		for _, rec := range order {
			if !rec.aborted {
				s.logs[rec.partition] = append(s.logs[rec.partition], *rec)
			}
		}
	}
	for i, v := range p.views {
		p.views[i] = judged(v.e2eView)
	}
	if p.check(); p.failed > 0 {
		return
	}
	p.ok("cut", "--brokers", p.brokers, "-o", "cut.json")
	for _, step := range []func(){p.replay, p.train, p.stream} {
		if p.failed > 0 {
			return
		}
		step()
	}
}

// check: the columns and their types are those declared.
func (p *e2eProject) check() {
	var out struct {
		Views []struct {
			View     string
			Features []struct{ Name, Type string }
		}
	}
	text := p.ok("check", "--json")
	if p.failed > 0 {
		return
	}
	p.must(json.Unmarshal([]byte(text), &out))
	types := []string{"null", "bool", "int", "double", "string", "bytes", "timestamp"}
	for i, v := range p.views {
		var got, want []string
		for _, f := range out.Views[i].Features {
			got = append(got, f.Name+" "+f.Type)
		}
		for n, f := range v.cfg.Features {
			typ := "list of "
			if f.Kind == oracle.List {
				typ += types[v.inputs[f.Input].kind]
			} else {
				typ = types[f.Kind]
			}
			want = append(want, v.names[n]+" "+typ)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			p.bad("view %s has columns %v, want %v", v.name, got, want)
		}
	}
}
