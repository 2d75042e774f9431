package offline

import (
	"context"

	"github.com/tallystick/tallystick/schemas"
)

// From takes the records that finished units have left in a work area.
func (w *QuarantineWriter) From(ctx context.Context, work *Work, units []string) error {
	for _, u := range units {
		streams, err := work.streams(ctx, u)
		if err != nil {
			return err
		}
		for _, s := range streams {
			if int(s[0]) != Quarantine.index() {
				continue
			}
			_, date, part := rowKey(s[:]).prefix()
			day := schemas.Value{}
			if date != noDay {
				day = schemas.IntValue(date)
			}
			if err := work.each(ctx, u, s, func(joined []byte) error {
				k := keyOf(joined)
				b := w.spool.buffer(Quarantine, 0, part)
				b.key = append(b.key, k...)
				b.row = append(schemas.IntValue(int64(part)).Append(day.Append(b.row)), joined[4+len(k):]...)
				return w.spool.add(b)
			}); err != nil {
				return err
			}
		}
	}
	return nil
}
