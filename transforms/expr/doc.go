// Package expr compiles and evaluates the expressions of a definition: a
// listed subset of CEL, type-checked against declared fields (V12).
//
// cel-go parses; checking and evaluation are ours, because the semantics are:
//
//   - nulls are SQL's: an operator or function with a null operand is null.
//     The exceptions are `x == null` and `x != null`, which are never null, and
//     && and ||, which follow Kleene (false && null is false);
//   - comparisons of int with double are exact, arithmetic between them is
//     refused, int / int is refused, integer overflow is an error;
//   - a double that is not finite is an error wherever it arises, also when the
//     step's result would not have mattered; -0 is +0;
//   - operands are evaluated from left to right, && || and ?: only as far as
//     needed, so `n != 0 && m % n == 1` guards.
//
// Nothing is allocated by an Eval, except for the text of a new string.
package expr
