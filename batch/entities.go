package batch

import (
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/transforms"
)

// Entities is a range of entities by their first key field: From included, To not; null
// is no bound. Of records without an entity, which belong to no range, the range without
// a From has the ledger and the quarantine, so that ranges that make up all entities
// make up all records.
type Entities struct{ From, To schemas.Value }

// has tells whether a record of this entity, empty for none, is in the range; nil has
// all. The error is that of bytes that are no entity of the view.
func (e *Entities) has(v *transforms.View, entity []byte) (bool, error) {
	if e == nil {
		return true, nil
	}
	if len(entity) == 0 {
		return e.From.IsNull(), nil
	}
	keys, err := v.DecodeEntity(entity)
	if err != nil {
		return false, err
	}
	return (e.From.IsNull() || keys[0].Compare(e.From) >= 0) && (e.To.IsNull() || keys[0].Compare(e.To) < 0), nil
}
