package expr

import (
	"slices"
	"unicode"

	"cel.dev/cel-go/common/ast"
	grammar "cel.dev/cel-go/parser/gen"
	"github.com/antlr4-go/antlr/v4"
)

// words are identifiers that CEL reserves and gives no meaning. Events have
// fields of such names, so the parser is shown others in their place.
var words = map[string]bool{"as": true, "break": true, "const": true, "continue": true, "else": true, "for": true, "function": true,
	"if": true, "import": true, "let": true, "loop": true, "package": true, "namespace": true, "return": true, "var": true, "void": true, "while": true}

// masked returns src with such words, where they name a field, spelt with a
// capital, and what they were by their place in characters.
func masked(src string) (string, map[int32]string) {
	lexer := grammar.NewCELLexer(antlr.NewInputStream(src))
	lexer.RemoveErrorListeners() // the parser reports what is wrong
	tokens := slices.DeleteFunc(lexer.GetAllTokens(), func(t antlr.Token) bool { return t.GetChannel() != antlr.TokenDefaultChannel })
	is := func(i, kind int) bool { return i >= 0 && i < len(tokens) && tokens[i].GetTokenType() == kind }
	text, was := []rune(src), map[int32]string{}
	for i, t := range tokens {
		if !is(i, grammar.CELLexerIDENTIFIER) || is(i-1, grammar.CELLexerDOT) || is(i+1, grammar.CELLexerLPAREN) {
			continue
		}
		if at, w := t.GetStart(), t.GetText(); words[w] {
			text[at], was[int32(at)] = unicode.ToUpper(text[at]), w
		}
	}
	return string(text), was
}

// unmask gives the identifiers of a tree their names back.
func unmask(tree *ast.AST, was map[int32]string) {
	names := ast.NewExprFactory()
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.IdentKind {
			return
		}
		if r, ok := tree.SourceInfo().GetOffsetRange(e.ID()); ok && was[r.Start] != "" {
			e.SetKindCase(names.NewIdent(e.ID(), was[r.Start]))
		}
	}))
}
