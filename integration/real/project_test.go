//go:build real

package real

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/tallystick/tallystick/integration/testbed"
	"github.com/tallystick/tallystick/transforms/definition"
)

// project is the definition that all tests use: one topic, read by a view with ids
// and versions and by one without.
const project = `sources:
  ev:
    topic: TOPIC
    schema: ev.avsc
    writers: {files: {1: ev.avsc}}
    event_time: et
    id: id
    version: ver
    lateness: LATENESS
  raw:
    topic: TOPIC
    schema: ev.avsc
    writers: {files: {1: ev.avsc}}
    event_time: et
    lateness: LATENESS
views:
  corrected:
    source: ev
    entity: {ent: string}
    where: amt < 9.0
    shards: 4
    features:
      n: {count: "*", over: [{window: 30m, hop: HOP}, {window: 24h, hop: 1h}]}
      s: {sum: amt, over: {window: 24h, hop: 1h}}
      l: {last: amt, over: lifetime}
  plain:
    source: raw
    entity: {ent: string}
    shards: 4
    features:
      n: {count: "*", over: [{window: 30m, hop: HOP}, {window: 24h, hop: 1h}]}
      top: {max: amt, over: {window: 24h, hop: 1h}}
      d: {count_distinct: id, over: {window: 24h, hop: 1h}}
      all: {count: "*", over: lifetime}
`

// writeProject writes the definition of a topic into a directory and loads it.
func writeProject(dir, topic, lateness, hop string) ([]*definition.View, error) {
	text := strings.NewReplacer("TOPIC", topic, "LATENESS", lateness, "HOP", hop).Replace(project)
	path := filepath.Join(dir, "tallystick.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ev.avsc"), []byte(testbed.EventSchema), 0o644); err != nil {
		return nil, err
	}
	def, err := definition.Load(path)
	if err != nil {
		return nil, err
	}
	return def.Views, nil
}
