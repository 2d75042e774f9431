package offline

import (
	"github.com/tallystick/tallystick/transforms"
	"github.com/tallystick/tallystick/transforms/definition"
)

// Tables are the four tables of one view.
type Tables struct {
	view   *definition.View
	engine *transforms.View
	tables map[TableName]*Table
	layout map[TableName]layout
}

// NewTables returns the tables of a view in these stores, one each.
func NewTables(stores map[TableName]Store, v *definition.View) (*Tables, error) {
	if err := CheckView(v); err != nil {
		return nil, err
	}
	engine, err := transforms.NewView(v.Spec)
	if err != nil {
		return nil, err
	}
	t := &Tables{view: v, engine: engine, tables: map[TableName]*Table{}, layout: map[TableName]layout{}}
	for _, name := range tableOrder {
		t.tables[name] = NewTable(stores[name], v.Name+"/"+string(name))
		t.layout[name] = layoutOf(v, name)
	}
	return t, nil
}

// Table returns one of the tables.
func (t *Tables) Table(name TableName) *Table { return t.tables[name] }
