package main

import (
	"context"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
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
// none (K1). Topics that are no event sources are refused (K6).
func cutOf(ctx context.Context, client *log.Client, cut *schemas.Cut, topics []string) (*schemas.Cut, error) {
	if err := checkTopics(ctx, client, topics); err != nil {
		return nil, err
	}
	if cut == nil {
		return client.Cut(ctx, topics...)
	}
	for _, t := range topics {
		if err := client.CheckCut(ctx, t, cut.Topics[t]); err != nil {
			return nil, err
		}
	}
	return cut, nil
}

// checkTopics refuses topics that do not exist or are no event sources. What is
// warned of concerns the stream, which says so.
func checkTopics(ctx context.Context, client *log.Client, topics []string) error {
	for _, name := range topics {
		t, err := client.Describe(ctx, name)
		if err != nil {
			return err
		}
		if _, err := t.CheckEventSource(); err != nil {
			return err
		}
	}
	return nil
}
