package definition

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms/expr"
	"gopkg.in/yaml.v3"
)

// maxSize bounds a definition file, in bytes.
const maxSize = 10 << 20

// parser reads one definition file and collects its faults.
type parser struct {
	file     string
	lines    []string
	readFile func(string) ([]byte, error)
	def      *Definition
	errs     []*Error
}

func (p *parser) failAt(line, col int, hint, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.file, Line: max(1, line), Col: max(1, col), Message: fmt.Sprintf(format, args...), Hint: hint})
}

// fail reports a fault at n. The hint says what to do and may be empty.
func (p *parser) fail(n *yaml.Node, hint, format string, args ...any) {
	p.failAt(n.Line, n.Column, hint, format, args...)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// root returns the top node of the only document, nil after a fault.
func (p *parser) root(text []byte) *yaml.Node {
	if len(text) > maxSize {
		p.failAt(1, 1, "split it into several files", "the file has more than %d MB", maxSize>>20)
		return nil
	}
	p.lines = strings.Split(string(text), "\n")
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, second yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0 {
		p.failAt(1, 1, "begin with `sources:` and `views:`", "the file is empty")
		return nil
	}
	if err != nil {
		p.syntax(err)
		return nil
	}
	if err := dec.Decode(&second); err == nil {
		p.fail(&second, "keep one document per file", "the file holds a second YAML document")
		return nil
	} else if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	p.anchors(doc.Content[0])
	return doc.Content[0]
}

// anchors refuses every anchor, also one that nothing refers to.
func (p *parser) anchors(n *yaml.Node) {
	if n.Anchor != "" {
		p.fail(n, "leave out &"+n.Anchor, "anchors are not supported")
	}
	for _, c := range n.Content {
		p.anchors(c)
	}
}

func (p *parser) syntax(err error) {
	m := yamlLine.FindStringSubmatch(err.Error())
	line, msg, hint := 1, err.Error(), ""
	if m != nil {
		if m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
		msg = m[2]
	}
	line = p.faultLine(line)
	switch {
	case strings.Contains(msg, "did not find expected alphabetic or numeric character"):
		msg, hint = "* begins an alias in YAML", "write \"*\" with quotes"
	case strings.Contains(msg, "mapping values are not allowed"):
		msg, hint = "a colon where YAML allows none", "check the indentation of this line and the one above, and put texts with `: ` in quotes"
	case strings.Contains(msg, "cannot start any token"):
		hint = "indent with blanks, not tabs, and put texts that begin with a sign in quotes"
	case strings.Contains(msg, "could not find expected ':'"):
		msg, hint = "a word where YAML expects `key: value`", "write the colon and a blank after the key"
	case strings.Contains(msg, "found unexpected end of stream"):
		msg, hint = "a quote that begins here is never closed", "close it"
	case strings.Contains(msg, "control characters"), strings.Contains(msg, "UTF-8"):
		hint = "a definition is a text file; save it as UTF-8"
	case strings.Contains(msg, "did not find expected"):
		hint = "check the indentation and closing brackets and quotes of this part; within {…} an expression that holds a comma or a bracket stands in quotes"
	}
	p.failAt(line, 1, hint, "this is not YAML: %s", msg)
}

// entry is one key of a mapping with its value.
type entry struct {
	key   string
	at    *yaml.Node // the key
	value *yaml.Node
}

// mapping returns the entries of n in order; what names n in faults.
func (p *parser) mapping(n *yaml.Node, what string) []entry {
	if n.Kind == yaml.AliasNode {
		p.fail(n, "write it out", "aliases are not supported")
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "write `key: value` lines below it", "%s must be a mapping, this is %s", what, kindOf(n))
		return nil
	}
	var list []entry
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode || k.Tag == "!!merge":
			p.fail(k, "write it out", "a key of %s must be a plain word", what)
			continue
		case v.Kind == yaml.AliasNode:
			p.fail(v, "write it out", "aliases are not supported")
			continue
		case seen[k.Value] > 0:
			p.fail(k, "remove one of them", "`%s` is written twice, first in line %d", k.Value, seen[k.Value])
			continue
		}
		seen[k.Value] = k.Line
		list = append(list, entry{k.Value, k, v})
	}
	return list
}

// object is a mapping of known keys.
type object struct {
	entries []entry
	byKey   map[string]entry
}

// get returns the value of a key, nil when it is not written.
func (o object) get(key string) *yaml.Node { return o.byKey[key].value }

// object reads a mapping that may only have these keys.
func (p *parser) object(n *yaml.Node, what string, known keys) object {
	o := object{byKey: map[string]entry{}}
	for _, e := range p.mapping(n, what) {
		if names := known.names(); !slices.Contains(names, e.key) {
			p.fail(e.at, keyHint(e.key, names), "unknown key `%s` in %s", e.key, what)
			continue
		}
		o.entries = append(o.entries, e)
		o.byKey[e.key] = e
	}
	return o
}

// synonyms are what other tools call a key.
var synonyms = map[string]string{"avg": "mean", "average": "mean", "filter": "where", "window": "over", "windows": "over",
	"key": "entity", "keys": "entity", "timestamp": "event_time", "count_unique": "count_distinct", "nunique": "count_distinct",
	"stddev": "stddev_samp", "std": "stddev_samp", "variance": "var_samp", "var": "var_samp", "expression": "expr"}

func keyHint(key string, keys []string) string {
	known := make([]string, 0, len(keys))
	for _, k := range keys {
		if k == synonyms[key] {
			return "did you mean `" + k + "`?"
		}
		known = append(known, k)
	}
	if hint := expr.DidYouMean(key, known); strings.HasPrefix(hint, "did") {
		return hint
	}
	return "known are " + strings.Join(known, ", ")
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a mapping"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	case n.Tag == "!!null":
		return "empty"
	}
	return "`" + n.Value + "`"
}

// text reads a scalar as text; false after a fault.
func (p *parser) text(n *yaml.Node, what string) (string, bool) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || strings.TrimSpace(n.Value) == "" {
		p.fail(n, "", "%s must be a text, this is %s", what, kindOf(n))
		return "", false
	}
	return n.Value, true
}

// list reads a list, or a single value as a list of one.
func (p *parser) list(n *yaml.Node) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		return []*yaml.Node{n}
	}
	var out []*yaml.Node
	for _, c := range n.Content {
		if c.Kind == yaml.AliasNode {
			p.fail(c, "write it out", "aliases are not supported")
			continue
		}
		out = append(out, c)
	}
	return out
}

// integer reads a whole number of at least least.
func (p *parser) integer(n *yaml.Node, what string, least int64) (int64, bool) {
	i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 10, 64)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
		p.fail(n, "", "%s must be a whole number, this is %s", what, kindOf(n))
		return 0, false
	}
	if i < least {
		p.fail(n, "", "%s must be at least %d, this is %d", what, least, i)
		return 0, false
	}
	return i, true
}

// numberedEntry is an entry whose key is a number.
type numberedEntry struct {
	number int32
	value  *yaml.Node
}

// numbered is mapping for keys that are whole numbers, such as noun; one may be spelled in
// several ways.
func (p *parser) numbered(n *yaml.Node, what, noun string) (list []numberedEntry) {
	seen := map[int64]int{}
	for _, e := range p.mapping(n, what) {
		i, ok := p.integer(e.at, "a "+noun, 0)
		switch {
		case !ok:
		case i > math.MaxInt32:
			p.fail(e.at, "", "%s %d is out of range", noun, i)
		case seen[i] > 0:
			p.fail(e.at, "remove one of them", "%s %d is written twice, first in line %d", noun, i, seen[i])
		default:
			seen[i] = e.at.Line
			list = append(list, numberedEntry{int32(i), e.value})
		}
	}
	return list
}

func (p *parser) boolean(n *yaml.Node, what string) bool {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		p.fail(n, "", "%s must be true or false, this is %s", what, kindOf(n))
	}
	return n.Value == "true" || n.Value == "True" || n.Value == "TRUE"
}

// duration reads a duration of at least least µs.
func (p *parser) duration(n *yaml.Node, what string, least schemas.Micros) (schemas.Micros, bool) {
	text, ok := p.text(n, what)
	if !ok {
		return 0, false
	}
	d, err := expr.ParseDuration(text)
	if err != nil {
		p.fail(n, "", "%s: %v", what, err)
		return 0, false
	}
	if d < least {
		p.fail(n, "", "%s must be at least %s, this is %s", what, expr.FormatDuration(least), text)
		return 0, false
	}
	if d > maxDuration {
		p.fail(n, "", "%s must be below 1,000 years, this is %s", what, text)
		return 0, false
	}
	return d, true
}

// maxDuration keeps sums of durations far from 2^63; transforms.NewView asks for it.
const maxDuration = 365_000 * schemas.Day

// oneOf reads one of a few words.
func (p *parser) oneOf(n *yaml.Node, what string, words ...string) (string, bool) {
	text, ok := p.text(n, what)
	if !ok {
		return "", false
	}
	for _, w := range words {
		if w == text {
			return w, true
		}
	}
	p.fail(n, "write "+strings.Join(words, " or "), "%s cannot be `%s`", what, text)
	return "", false
}

var goodName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// name checks a name that becomes part of topics, keys and columns.
func (p *parser) name(n *yaml.Node, what string) {
	name := n.Value
	switch {
	case !goodName.MatchString(name):
		hint := "use a-z, 0-9 and _, beginning with a letter"
		if s := suggestName(name); s != "" {
			hint = "write `" + s + "`"
		}
		p.fail(n, hint, "`%s` cannot name a %s", name, what)
	case strings.HasSuffix(name, "__status"):
		p.fail(n, "", "names that end in __status are reserved for the status columns")
	case len(name) > 100:
		p.fail(n, "use at most 100 characters", "the name of this %s is too long", what)
	}
}

var badRunes = regexp.MustCompile(`[^a-z0-9]+`)

func suggestName(name string) string {
	var b strings.Builder
	for i, r := range name { // fareUSD → fare_usd
		if r >= 'A' && r <= 'Z' && i > 0 && name[i-1] >= 'a' && name[i-1] <= 'z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	s := strings.Trim(badRunes.ReplaceAllString(strings.ToLower(b.String()), "_"), "_0123456789")
	if !goodName.MatchString(s) || len(s) > 60 {
		return ""
	}
	return s
}
