package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/batch"
	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
)

// entityFlag names the entities that a replay is of.
type entityFlag struct{ text string }

func (e *entityFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&e.text, "entities", "", "replay the entities of a `RANGE` alone, FROM..TO by their first key field, without TO itself; either may be left out. Their tables are no others': give them an --out of their own")
}

// of returns the range for a view, as it is and as commits say it; nil = all entities.
func (e *entityFlag) of(v *definition.View) (*batch.Entities, *offline.EntityRange, error) {
	if e.text == "" {
		return nil, nil, nil
	}
	from, to, ok := strings.Cut(e.text, "..")
	if !utf8.ValidString(e.text) { // commits and plans could not say it
		return nil, nil, usagef("--entities: %q is not UTF-8 text", e.text)
	}
	if !ok || from == "" && to == "" {
		return nil, nil, usagef("--entities: %q is no range: write FROM..TO, FROM.. or ..TO", e.text)
	}
	return e.between(v, from, to)
}

func (e *entityFlag) between(v *definition.View, from, to string) (*batch.Entities, *offline.EntityRange, error) {
	key := v.Key()[0]
	bound := func(text string) (v schemas.Value, said *string, err error) {
		if text == "" {
			return v, nil, nil
		}
		if v, err = parseKeyValue(key.Kind, text); err != nil {
			return v, nil, usagef("--entities: %s: %w", key.Name, err)
		}
		canonical := fmt.Sprint(jsonValue(v))
		return v, &canonical, nil
	}
	out, said := &batch.Entities{}, &offline.EntityRange{}
	var err error
	if out.From, said.From, err = bound(from); err == nil {
		out.To, said.To, err = bound(to)
	}
	if err == nil && from != "" && to != "" && out.From.Compare(out.To) >= 0 {
		err = usagef("--entities: nothing lies from %s to before %s: name the lesser one first", from, to)
	}
	return out, said, err
}

// entitiesOf is of for a range that a plan or commit says.
func entitiesOf(v *definition.View, r *offline.EntityRange) (*batch.Entities, error) {
	if r == nil {
		return nil, nil
	}
	text := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	e, _, err := (&entityFlag{}).between(v, text(r.From), text(r.To))
	return e, err
}

// checkEntities refuses a job upon tables that are of other entities.
func (j *viewJob) checkEntities() error {
	before, err := j.run.Before()
	if err != nil || before == nil || before.Entities.Equal(j.entities) {
		return err
	}
	return otherEntities(j.view, before.Entities, j.entities)
}

func otherEntities(v *definition.View, have, want *offline.EntityRange) error {
	return usagef("--out: the tables hold %v of view %s, this replay is of %v: name another directory", have, v.Name, want)
}
