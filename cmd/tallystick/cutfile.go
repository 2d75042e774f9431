package main

import (
	"context"
	"slices"
	"time"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms/definition"
)

// loadCut reads a cut file, named by a flag, that names all of the topics; nil
// where there is no file.
func loadCut(flag, path string, topics []string) (*schemas.Cut, error) {
	if path == "" {
		return nil, nil
	}
	if err := checkReadable(flag, path); err != nil {
		return nil, err
	}
	cut, err := schemas.LoadCut(path)
	if err != nil {
		return nil, usagef("%s: %w", flag, err)
	}
	for _, t := range topics {
		if _, ok := cut.Topics[t]; !ok {
			return nil, usagef("%s: cut file %s does not name topic %s; write one with `tallystick cut`", flag, path, t)
		}
	}
	return cut, nil
}

// cutOf holds a cut against the log as it is now, or fixes one where there is
// none (K1). Topics that cannot feed the views are refused (K6).
func cutOf(ctx context.Context, client *log.Client, cut *schemas.Cut, vs []*definition.View) (*schemas.Cut, error) {
	if err := checkTopics(ctx, client, vs); err != nil {
		return nil, err
	}
	if cut == nil {
		return newCut(ctx, client, vs)
	}
	for _, t := range topics(vs) {
		if err := client.CheckCut(ctx, t, cut.Topics[t]); err != nil {
			return nil, err
		}
	}
	return cut, nil
}

// newCut fixes a cut, with the partitions that a source lets the wall clock close.
func newCut(ctx context.Context, client *log.Client, vs []*definition.View) (*schemas.Cut, error) {
	cut, err := client.Cut(ctx, topics(vs)...)
	if err != nil {
		return nil, err
	}
	now := schemas.Micros(time.Now().UnixMicro())
	for _, t := range topics(vs) {
		if !slices.ContainsFunc(vs, func(v *definition.View) bool { return v.Source.Topic == t && v.Source.CloseIdle > 0 }) {
			continue
		}
		if err := client.MarkIdle(ctx, t, cut.Topics[t], now); err != nil {
			return nil, err
		}
	}
	return cut, nil
}

// checkTopics refuses topics that do not exist or cannot feed the views. What is
// warned of concerns the stream, which says so.
func checkTopics(ctx context.Context, client *log.Client, vs []*definition.View) error {
	seen := map[*definition.Source]bool{}
	for _, v := range vs {
		if seen[v.Source] {
			continue
		}
		seen[v.Source] = true
		t, err := client.Describe(ctx, v.Source.Topic)
		if err != nil {
			return err
		}
		if _, err := checkTopic(t, v.Source); err != nil {
			return err
		}
	}
	return nil
}

// checkTopic tells whether a topic may be the source's, and what its user should
// know (K6).
func checkTopic(t *log.Topic, s *definition.Source) (warnings []string, err error) {
	if s.Table {
		return t.CheckTableSource()
	}
	return t.CheckEventSource()
}
