package expr

import (
	"strings"
	"testing"
	"time"
)

// TestHostile: long and deep sources are answered, and soon. The bound is far
// above what is seen; it catches explosions only.
func TestHostile(t *testing.T) {
	fill := func(s string) string { return strings.Repeat(s, (MaxLength-10)/len(s)) }
	for name, src := range map[string]string{
		"parens": fill("("), "balanced": fill("(")[:30000] + "i" + fill(")")[:30000], "brackets": fill("["), "braces": fill("{"),
		"not": fill("!") + "b", "minus": fill("-") + "i", "plus": fill("i+") + "i", "and": fill("b&&") + "b", "or": fill("b||") + "b",
		"ternary": fill("b?i:") + "i", "nested ternary": fill("b?(") + "i", "select": "a" + fill(".a"), "calls": fill("size("),
		"list": "i in [" + fill("1,") + "1]", "unclosed": fill(`"`), "garbage": fill("@#$"), "commas": fill(","), "dots": fill("."),
		"mixed": fill("i+(s["), "errors": fill("i = "), "colons": fill("? : "), "less": fill("i < "), "chained": fill("i<") + "i",
	} {
		start := time.Now()
		p, err := Compile(src, scope)
		if err == nil {
			_, err = p.Eval(row())
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
		} else if took > 500*time.Millisecond {
			t.Logf("%s: %v, %.80v", name, took, err)
		}
	}
}
