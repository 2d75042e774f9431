// Package gate holds what a run is about to publish against what was published
// before (B6). It does no I/O and knows no file.
//
//	builder.go, sketch.go  counts the rows of a run by UTC day, in bounded memory
//	codec.go               its bytes, for units that are merged later
//	profile.go             the figures of a day, as commits keep them (JSON)
//	measure.go, check.go   what is compared with what, and what is allowed
//	text.go                a breach in one sentence
//
// A run feeds a Builder with every row that it writes, and with its ledger by day:
//
//	b := gate.New(view, snapshots)            // or previous.Carry, for a range (B5)
//	b.Feature(row) … b.Tile(row) … b.Ledger(day, ledger)
//	now := b.Profiles(closed)
//	report, err := gate.Check(accepted, now, options)
//
// accepted are the profiles of earlier commits, each date as it was accepted last.
// Who accepts a breach keeps the profiles of the run with the others: from then on
// they are part of the baseline.
package gate
