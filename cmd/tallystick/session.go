package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/reading"
)

// common are the flags of every command that works on a definition and a log.
type common struct {
	file     string
	brokers  string
	registry string
	json     bool
}

func (c *common) definitionFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "file", "f", "tallystick.yaml", "the definition")
}

func (c *common) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.json, "json", false, "print one JSON object instead of text")
}

func (c *common) logFlags(cmd *cobra.Command) {
	c.definitionFlag(cmd)
	c.jsonFlag(cmd)
	cmd.Flags().StringVar(&c.brokers, "brokers", os.Getenv("TALLYSTICK_BROKERS"), "Kafka bootstrap addresses, host:port,… ($TALLYSTICK_BROKERS)")
	cmd.Flags().StringVar(&c.registry, "registry", os.Getenv("TALLYSTICK_REGISTRY"), "URL of a Schema Registry, in the place of the definition's `writers` ($TALLYSTICK_REGISTRY)")
}

func (c *common) load() (*definition.Definition, error) {
	def, err := definition.Load(c.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, usagef("%w; name the definition with --file", err)
	}
	return def, usage(err)
}

func (c *common) open(ctx context.Context) (*log.Client, error) {
	if c.brokers == "" {
		return nil, usagef("no Kafka address: set --brokers or TALLYSTICK_BROKERS to host:port")
	}
	o := log.Options{Brokers: strings.Split(c.brokers, ",")}
	if err := o.Validate(); err != nil {
		return nil, usagef("--brokers: %w", err)
	}
	return log.Open(ctx, o)
}

// source opens what a view's records are read with.
func (c *common) source(v *definition.View) (*reading.Source, error) {
	w, err := reading.Writers(v.Source, c.registry)
	if err != nil {
		return nil, usagef("source %s: %w", v.Source.Name, err)
	}
	return reading.NewSource(v, w), nil
}

// loadViews loads the definition and returns its named views, or all.
func (c *common) loadViews(names []string) ([]*definition.View, error) {
	def, err := c.load()
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		if len(def.Views) == 0 {
			return nil, usagef("the definition has no views")
		}
		return def.Views, nil
	}
	var out []*definition.View
	for _, n := range names {
		v, err := def.View(n)
		if err != nil {
			return nil, usage(err)
		}
		out = append(out, v)
	}
	return out, nil
}

// topics returns the topics of views, each once.
func topics(vs []*definition.View) []string {
	var out []string
	seen := map[string]bool{}
	for _, v := range vs {
		if !seen[v.Source.Topic] {
			seen[v.Source.Topic] = true
			out = append(out, v.Source.Topic)
		}
	}
	return out
}

// cutOf reads the cut file, or fixes a cut now when there is none (K1). Topics
// that are no event sources are refused (K6).
func cutOf(ctx context.Context, client *log.Client, path string, topics []string) (*schemas.Cut, error) {
	for _, name := range topics {
		t, err := client.Describe(ctx, name)
		if err != nil {
			return nil, err
		}
		if _, err := t.CheckEventSource(); err != nil { // what it warns of concerns the stream, which says so
			return nil, err
		}
	}
	if path == "" {
		return client.Cut(ctx, topics...)
	}
	return loadCut(path, topics)
}

// loadCut reads a cut file that names all of the topics.
func loadCut(path string, topics []string) (*schemas.Cut, error) {
	cut, err := schemas.LoadCut(path)
	if err != nil {
		return nil, usage(err)
	}
	for _, t := range topics {
		if _, ok := cut.Topics[t]; !ok {
			return nil, usagef("cut file %s does not name topic %s; write one with `tallystick cut`", path, t)
		}
	}
	return cut, nil
}

// printJSON writes v as one indented JSON object.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// bytesFlag is a size such as 512MB or 2GiB.
type bytesFlag int64

func (b *bytesFlag) String() string {
	if *b > 0 && *b%1_000_000 == 0 {
		return strconv.FormatInt(int64(*b)/1_000_000, 10) + "MB"
	}
	return strconv.FormatInt(int64(*b), 10) + "B"
}

func (b *bytesFlag) Type() string { return "size" }

var sizes = []struct {
	suffix string
	factor int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}}

func (b *bytesFlag) Set(text string) error {
	for _, s := range sizes {
		if n, ok := strings.CutSuffix(text, s.suffix); ok {
			x, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
			if err != nil || x <= 0 || x > (1<<62)/s.factor {
				break
			}
			*b = bytesFlag(x * s.factor)
			return nil
		}
	}
	return fmt.Errorf("%q is not a size such as 512MB or 2GiB", text)
}
