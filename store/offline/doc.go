// Package offline keeps tables: Parquet files with bytes that can be reproduced,
// in Delta Lake tables whose log it writes itself, and the label files that
// train reads. It computes no feature.
//
//	column.go, file.go, read.go    one Parquet file (B1)
//	labels.go …                    label files
//	store.go, delta.go, commit.go  a Delta table (B2)
//	spool.go, tables.go …          the tables of a view (§7)
package offline
