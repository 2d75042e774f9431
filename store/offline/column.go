package offline

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/tallystick/tallystick/schemas"
)

// Column is one column of a table or file.
type Column struct {
	Name string
	Kind schemas.Kind // Bool, Int, Double, String, Bytes, Timestamp or List
	// Element is the kind of a List's elements, of which none is null.
	Element schemas.Kind
	// Nullable columns may hold null values.
	Nullable bool
	// Date: an Int column that counts days since the Unix epoch.
	Date bool
	// Sorted: a Bytes column whose neighbours share prefixes, as entities do.
	Sorted bool
}

// validateColumns reports every fault of the columns at once.
func validateColumns(cols []Column) error {
	var errs []error
	if len(cols) == 0 {
		errs = append(errs, errors.New("it has no columns"))
	}
	seen := map[string]bool{}
	for _, c := range cols {
		switch {
		case c.Name == "":
			errs = append(errs, errors.New("a column has no name"))
		case seen[c.Name]:
			errs = append(errs, fmt.Errorf("column %q occurs twice", c.Name))
		case c.Kind == schemas.List && !isScalar(c.Element):
			errs = append(errs, fmt.Errorf("column %q is a list of kind %s, which is no type of an element", c.Name, c.Element))
		case c.Kind != schemas.List && !isScalar(c.Kind):
			errs = append(errs, fmt.Errorf("column %q is of kind %s, which is no type of a column", c.Name, c.Kind))
		case c.Date && c.Kind != schemas.Int:
			errs = append(errs, fmt.Errorf("column %q is a date and must be of kind int", c.Name))
		}
		seen[c.Name] = true
	}
	return errors.Join(errs...)
}

func isScalar(k schemas.Kind) bool { return schemas.Bool <= k && k <= schemas.Timestamp }

// listPath are the names within a list's column, as the Parquet format has them.
var listPath = []string{"list", "element"}

// group is a parquet.Group that keeps the order of its columns.
type group struct {
	parquet.Group
	fields []parquet.Field
}

func (g *group) Fields() []parquet.Field { return g.fields }
func (g *group) String() string          { return "group" }

// GoType is never used to move values: rows are written as parquet.Row.
func (g *group) GoType() reflect.Type { return reflect.TypeFor[struct{}]() }

type field struct {
	parquet.Node
	name string
}

func (f field) Name() string                      { return f.name }
func (f field) Value(reflect.Value) reflect.Value { return reflect.Value{} }

// schemaOf returns the Parquet schema of columns. Encodings are part of the
// layout: none of them a dictionary, whose bytes depend on the processor.
func schemaOf(cols []Column) *parquet.Schema {
	g := &group{Group: parquet.Group{}}
	for _, c := range cols {
		node := parquet.Encoded(c.node(c.Kind))
		if c.Kind == schemas.List {
			node = parquet.List(parquet.Encoded(c.node(c.Element)))
		}
		if c.Nullable {
			node = parquet.Optional(node)
		}
		g.fields = append(g.fields, field{node, c.Name})
	}
	return parquet.NewSchema("tallystick", g)
}

// node returns the leaf of a scalar kind and its encoding.
func (c *Column) node(k schemas.Kind) (parquet.Node, encoding.Encoding) {
	switch k {
	case schemas.Bool:
		return parquet.Leaf(parquet.BooleanType), &parquet.Plain
	case schemas.Int:
		if c.Date {
			return parquet.Date(), &parquet.DeltaBinaryPacked
		}
		return parquet.Int(64), &parquet.DeltaBinaryPacked
	case schemas.Double:
		return parquet.Leaf(parquet.DoubleType), &parquet.Plain
	case schemas.String:
		return parquet.String(), &parquet.DeltaByteArray
	case schemas.Timestamp:
		return parquet.Timestamp(parquet.Microsecond), &parquet.DeltaBinaryPacked
	}
	if c.Sorted {
		return parquet.Leaf(parquet.ByteArrayType), &parquet.DeltaByteArray
	}
	return parquet.Leaf(parquet.ByteArrayType), &parquet.DeltaLengthByteArray
}
