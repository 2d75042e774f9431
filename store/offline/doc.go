// Package offline keeps tables: Parquet files with bytes that can be reproduced,
// in Delta Lake tables whose log it writes itself, and the label files that
// train reads. It computes no feature.
//
//	column.go, file.go, read.go    one Parquet file (B1)
//	labels.go, label*.go           label files
//	store.go, delta.go, commit.go  a Delta table and its log (B2)
//	layout.go, tables.go, spool.go the tables of a view (B3)
//	work.go, output.go             rows on their way, left by units for later ones (B4)
//	root.go, s3*.go, calls.go      where tables lie: a directory or S3; its calls
//	gc.go                          what no version names that is still read
//	run.go, stage.go, publish.go   files first, then one commit per table (B2, B4)
//	published.go                   reading a complete publication
//
// A publication is four commits: tiles, open, quarantine, then features, whose
// commitInfo names the versions of the others. Readers start from features, so
// they see the old publication or the new one. Files are named by their sha256:
// a name in a table never stands for two contents, and a rerun finds its files.
package offline
