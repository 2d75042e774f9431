package integration

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/tallystick/tallystick/integration/oracle"
	"github.com/tallystick/tallystick/integration/testbed"
)

// stream: up to the same cut the ledger is replay's, and get answers as of
// max(q, clock + 1 µs) (O1, V4, V8).
func (p *e2eProject) stream() {
	p.redis = testbed.Redis(p.T).Addr()
	var out e2eReport
	text := p.ok("stream", "--json", "--brokers", p.brokers, "--redis", p.redis, "--until", "cut.json")
	if p.failed > 0 {
		return
	}
	p.must(json.Unmarshal([]byte(text), &out))
	p.streamed(&out)
	for _, v := range p.views {
		es := v.entities()
		for range min(3, len(es)) {
			p.get(v, pick(p.r, es...))
		}
		p.get(v, "")
	}
}

// streamed: partitions without records need not be told.
func (p *e2eProject) streamed(out *e2eReport) {
	for i, v := range p.views {
		got := map[int32]map[string]int64{}
		for _, part := range out.Views[i].Partitions {
			got[part.Partition] = part.Ledger
		}
		for n := range v.src.parts {
			if want := v.ledger(n); fmt.Sprint(got[int32(n)]) != fmt.Sprint(want) && (got[int32(n)] != nil || want["read"] > 0) {
				p.bad("stream: V8: view %s partition %d: ledger\n  %v, want\n  %v", v.name, n, got[int32(n)], want)
			}
		}
	}
}

// got is what `get --json` prints.
type got struct {
	AsOf     string `json:"as_of"`
	Features []struct {
		Feature, Status string
		Value           json.RawMessage
	}
}

func (p *e2eProject) get(v *e2eJudged, entity string) {
	args := []string{"get", v.name}
	key := v.keyArgs(entity)
	entity = ""
	for _, k := range v.key {
		x := key[k.name]
		entity += string(oracle.Canonical(x))
		text := x.S
		switch x.Kind {
		case oracle.Int:
			text = strconv.FormatInt(x.I, 10)
		case oracle.Bool:
			text = strconv.FormatBool(x.I != 0)
		case oracle.Timestamp:
			text = rfc3339(x.I)
		case oracle.Bytes:
			text = hex.EncodeToString([]byte(x.S))
		}
		args = append(args, k.name+"="+text)
	}
	_, last := v.now()
	q := max(0, last) + pick(p.r, -5*day, -1, 0, 1, 2, hour, 3*day, 100*day)
	args = append(args, "--json", "--redis", p.redis, "--at", rfc3339(q))
	var out got
	text := p.ok(args...)
	if p.failed > 0 {
		return
	}
	p.must(json.Unmarshal([]byte(text), &out))
	t := max(q, last+1)
	if out.AsOf != rfc3339(t) {
		p.bad("get: V4: %v answers as of %s, want %s", args, out.AsOf, rfc3339(t))
		return
	}
	want := v.complete(entity, t)
	for i, f := range out.Features {
		if f.Feature != v.names[i] || f.Status != string(want[i].Status) || !jsonIs(f.Value, want[i].Val) {
			p.bad("get: view %s, entity %q as of %s: %s = %s %s, want %s %s", v.name, entity, out.AsOf, f.Feature, f.Value, f.Status, valText(want[i].Val), want[i].Status)
		}
	}
}

// keyArgs finds the key values of an entity; "" = one that nobody knows.
func (j *e2eJudged) keyArgs(entity string) map[string]oracle.Val {
	for p, log := range j.logs {
		for i := range log {
			if entity != "" && log[i].Entity == entity {
				key, _ := j.keyOf(j.src.logs[p][i].vals)
				return key
			}
		}
	}
	out := map[string]oracle.Val{}
	for _, k := range j.key {
		out[k.name] = unknownKey(k.typ)
	}
	return out
}

func jsonIs(raw json.RawMessage, want oracle.Val) bool {
	text := string(raw)
	switch want.Kind {
	case oracle.Null:
		return text == "null"
	case oracle.Bool:
		return text == strconv.FormatBool(want.I != 0)
	case oracle.Int:
		return text == strconv.FormatInt(want.I, 10)
	case oracle.Double:
		f, err := strconv.ParseFloat(text, 64)
		return err == nil && math.Float64bits(f) == math.Float64bits(want.F)
	}
	if want.Kind == oracle.List {
		var got []json.RawMessage
		elements := oracle.Elements(want)
		if json.Unmarshal(raw, &got) != nil || got == nil || len(got) != len(elements) {
			return false
		}
		for i := range got {
			if !jsonIs(got[i], elements[i]) {
				return false
			}
		}
		return true
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return false
	}
	switch want.Kind {
	case oracle.Timestamp:
		at, err := time.Parse(time.RFC3339, s)
		return err == nil && at.UnixMicro() == want.I
	case oracle.Bytes:
		return strings.EqualFold(s, hex.EncodeToString([]byte(want.S)))
	}
	return s == want.S
}
