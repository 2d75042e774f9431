// Package definition turns a YAML file into checked sources, views and
// services. Every fault of the file is reported at once, each with its place
// and what to do; what Load returns has been typed against the reader schemas
// and is ready for transforms.NewView.
//
// Files of this package: grammar.go has the keys, schema.go says them as a JSON
// Schema, yaml.go reads nodes, place.go finds columns within scalars, source.go
// eventtime.go migrate.go read sources, view.go feature.go window.go derived.go
// views, fingerprint.go and canonical.go name them, cost.go, explain.go and warn.go
// tell of them. docs/definition.md describes the file for its readers.
package definition
