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
      n: {count: "*", over: [{window: 30m, hop: HOP}, LONG]}
      s: {sum: amt, over: LONG}
      l: {last: amt, over: LIFE}
  plain:
    source: raw
    entity: {ent: string}
    shards: 4
    features:
      n: {count: "*", over: [{window: 30m, hop: HOP}, LONG]}
      top: {max: amt, over: LONG}
      d: {count_distinct: id, over: LONG}
      all: {count: "*", over: LIFE}
`

// periods are the windows of a project.
type periods struct {
	lateness, hop, long, life string
}

// hours suit timestamps that span days, seconds those of a test's own duration.
var (
	hours   = periods{"1h", "5m", "{window: 24h, hop: 1h}", "lifetime"}
	seconds = periods{"10s", "1s", "{window: 1h, hop: 1s}", "{window: 2h, hop: 1s}"}
)

// writeProject writes the definition of a topic into a directory and loads it.
func writeProject(dir, topic string, p periods) ([]*definition.View, error) {
	text := strings.NewReplacer("TOPIC", topic, "LATENESS", p.lateness, "HOP", p.hop, "LONG", p.long, "LIFE", p.life).Replace(project)
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
