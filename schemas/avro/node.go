package avro

import (
	"strings"
)

// kind is an Avro type.
type kind uint8

const (
	kNull kind = iota
	kBoolean
	kInt
	kLong
	kFloat
	kDouble
	kBytes
	kString
	kRecord
	kEnum
	kFixed
	kArray
	kMap
	kUnion
)

var kindNames = [...]string{"null", "boolean", "int", "long", "float", "double", "bytes",
	"string", "record", "enum", "fixed", "array", "map", "union"}

// primitive returns the kind that a primitive type's name stands for.
func primitive(name string) (kind, bool) {
	for k := kNull; k <= kString; k++ {
		if kindNames[k] == name {
			return k, true
		}
	}
	return 0, false
}

// node is one type of a parsed schema. Nodes never change once parsed; named
// ones are shared by all their references.
type node struct {
	kind kind
	// attr is the logicalType attribute as written; logical is the same where
	// Avro defines it for this kind, else "" (the specification: ignore it).
	attr, logical    string
	precision, scale int
	name             string   // full name of a record, enum, fixed
	aliases          []string // full names
	fields           []*field
	symbols          []string
	enumDefault      string // "" = none
	size             int    // of a fixed
	items            *node  // of an array, of a map's values
	branches         []*node
}

type field struct {
	name       string
	aliases    []string
	typ        *node
	def        any // as encoding/json gives it, numbers as json.Number
	hasDefault bool
}

func (n *node) field(name string) *field {
	for _, f := range n.fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

// deref takes the null out of a union. One type then stands for itself; of
// several the union remains.
func (n *node) deref() (inner *node, nullable bool) {
	if n.kind != kUnion {
		return n, false
	}
	others := 0
	for _, b := range n.branches {
		if b.kind == kNull {
			nullable = true
			continue
		}
		inner = b
		others++
	}
	switch {
	case others == 1:
		return inner, nullable
	case others == 0: // [null]
		return n.branches[0], true
	}
	return n, nullable
}

func unqualified(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// String describes the type in a message.
func (n *node) String() string {
	var s string
	switch n.kind {
	case kRecord, kEnum, kFixed:
		s = kindNames[n.kind] + " " + n.name
	case kArray, kMap:
		s = kindNames[n.kind] + " of " + n.items.String()
	case kUnion:
		var parts []string
		for i, b := range n.branches {
			if i == 8 { // a message, not a listing
				parts = append(parts, "…")
				break
			}
			parts = append(parts, b.String())
		}
		s = "union [" + strings.Join(parts, ", ") + "]"
	default:
		s = kindNames[n.kind]
	}
	if n.attr != "" {
		s += " (" + n.attr + ")"
	}
	return s
}

// logicalBases lists the Avro logical types with the kinds they may annotate.
func logicalBases(logical string) []kind {
	switch logical {
	case "timestamp-millis", "timestamp-micros", "timestamp-nanos",
		"local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos", "time-micros":
		return []kind{kLong}
	case "date", "time-millis":
		return []kind{kInt}
	case "decimal":
		return []kind{kBytes, kFixed}
	case "uuid":
		return []kind{kString, kFixed}
	case "duration":
		return []kind{kFixed}
	}
	return nil
}
