package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/store/offline"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// warnings tells what will hurt: by the definition, and by the topics' own
// configuration where the log is named.
func (c *checkFlags) warnings(ctx context.Context, def *definition.Definition) ([]definition.Warning, error) {
	out := []definition.Warning{}
	for _, v := range def.Views {
		ws, err := v.Warnings()
		if err != nil {
			return nil, err
		}
		out = append(out, ws...)
		if err := offline.CheckView(v); err != nil {
			out = append(out, definition.Warning{View: v.Name, Text: "replay --out refuses it: " + strings.ReplaceAll(err.Error(), "\n", "; ")})
		}
	}
	for _, v := range def.Views {
		out = append(out, writerWarnings(ctx, v)...)
	}
	if c.brokers == "" {
		return out, nil
	}
	client, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	for _, s := range def.Sources {
		ws, err := topicWarnings(ctx, client, s, def.Views)
		if err != nil {
			return nil, err
		}
		out = append(out, ws...)
	}
	return out, nil
}

// writerWarnings reads what the definition names of writer schemas: those that no
// rule makes readable stop or lose records later (S2). It goes by
// view: one reads fields that another does not.
func writerWarnings(ctx context.Context, v *definition.View) []definition.Warning {
	var out []definition.Warning
	writers, err := reading.Writers(v.Source, "")
	if err != nil {
		return nil // the commands that read say so
	}
	source := reading.NewSource(v, writers)
	for _, id := range slices.Sorted(maps.Keys(v.Source.Writers.Files)) {
		if err := source.CheckWriter(ctx, int(id)); err != nil {
			what := "stop stream, replay and train"
			if v.Source.Incompatible != definition.Stop {
				what = "go to the quarantine"
			}
			out = append(out, definition.Warning{Source: v.Source.Name, View: v.Name,
				Text: fmt.Sprintf("records of writer schema %d will %s: %v", id, what, err)})
		}
	}
	return out
}

// topicWarnings holds a source and its views against the topic as it is.
func topicWarnings(ctx context.Context, client *log.Client, s *definition.Source, vs []*definition.View) ([]definition.Warning, error) {
	var out []definition.Warning
	say := func(text string) { out = append(out, definition.Warning{Source: s.Name, Text: text}) }
	topic, err := client.Describe(ctx, s.Topic)
	var missing *log.MissingTopicError
	if errors.As(err, &missing) {
		say(err.Error())
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	texts, err := checkTopic(topic, s)
	for _, text := range texts {
		say(text)
	}
	if err != nil {
		say(fmt.Sprintf("no view can read it: %v", err))
	}
	if topic.RetentionMs < 0 || s.Table && topic.CleanupPolicy == "compact" { // for ever, or not told
		return out, nil
	}
	kept := retained(topic.RetentionMs)
	out = append(out, s.KeptFor(kept)...)
	for _, v := range vs {
		if v.Source == s {
			out = append(out, v.KeptFor(kept)...)
		}
	}
	return out, nil
}

// retained is a retention.ms in µs, held within what instants hold.
func retained(ms int64) schemas.Micros {
	const perMs = schemas.Second / 1000
	return min(schemas.Micros(ms), schemas.Forever/perMs) * perMs
}

// printWarnings writes one line for each.
func printWarnings(w io.Writer, ws []definition.Warning) {
	for _, x := range ws {
		fmt.Fprintf(w, "warning: %s: %s\n", x.About(), printable(x.Text))
	}
}
