package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

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

	kafka     kafkaSecurity
	schemaReg registrySecurity
	buffer    int64 // bytes that one reader may have fetched; 0 = the default
}

func (c *common) definitionFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "file", "f", "tallystick.yaml", "definition `FILE`, YAML")
}

func (c *common) jsonFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&c.json, "json", false, "print one JSON object instead of text")
}

// logFlags are those of commands that work on a definition and its topics.
func (c *common) logFlags(cmd *cobra.Command) {
	c.definitionFlag(cmd)
	c.jsonFlag(cmd)
	cmd.Flags().StringVar(&c.brokers, "brokers", os.Getenv("TALLYSTICK_BROKERS"), "Kafka bootstrap address `HOST:PORT`, several with commas between ($TALLYSTICK_BROKERS)")
	c.kafka.add(cmd)
}

// readFlags are logFlags and those of commands that read events.
func (c *common) readFlags(cmd *cobra.Command) {
	c.logFlags(cmd)
	cmd.Flags().StringVar(&c.registry, "registry", os.Getenv("TALLYSTICK_REGISTRY"), "`URL` of a Schema Registry, in the place of the definition's writers ($TALLYSTICK_REGISTRY)")
	cmd.Flags().Lookup("registry").DefValue = "" // it may hold a password, and --help shows defaults
	c.schemaReg.add(cmd)
}

// load reads the definition and checks where its log is, if the command has one.
func (c *common) load() (*definition.Definition, error) {
	if err := checkReadable("--file", c.file); err != nil {
		return nil, err
	}
	def, err := definition.Load(c.file)
	return def, usage(err)
}

// definition is the file that was loaded, as an input.
func (c *common) definition() input { return input{"definition", c.file} }

// logOptions says how Kafka is reached.
func (c *common) logOptions() (log.Options, error) {
	o := log.Options{BufferBytes: c.buffer}
	if c.brokers == "" {
		return o, usagef("--brokers: no Kafka address: set it, or TALLYSTICK_BROKERS, to host:port")
	}
	var err error
	if o.Brokers, err = addresses("--brokers", c.brokers); err != nil {
		return o, err
	}
	return o, c.kafka.apply(&o)
}

func (c *common) open(ctx context.Context) (*log.Client, error) {
	o, err := c.logOptions()
	if err != nil {
		return nil, err
	}
	return log.Open(ctx, o)
}

// source opens what a view's records are read with. A Schema Registry is not
// asked before a record needs it.
func (c *common) source(v *definition.View) (*reading.Source, error) {
	opts, err := c.schemaReg.options()
	if err != nil {
		return nil, err
	}
	w, err := reading.Writers(v.Source, c.registry, opts...)
	switch {
	case err != nil && c.registry != "":
		return nil, usagef("--registry: %w", err)
	case err != nil:
		return nil, usagef("%s: source %s: %w", c.file, v.Source.Name, err)
	}
	return reading.NewSource(v, w), nil
}

// checkLog refuses what views cannot be read with, before anything is connected.
func (c *common) checkLog(vs []*definition.View) error {
	if _, err := c.logOptions(); err != nil {
		return err
	}
	return c.checkSources(vs)
}

func (c *common) checkSources(vs []*definition.View) error {
	for _, v := range vs {
		if _, err := c.source(v); err != nil {
			return err
		}
	}
	return nil
}

// viewFlag names some of the definition's views; none are all of them.
func viewFlag(cmd *cobra.Command, names *[]string, what string) {
	cmd.Flags().StringSliceVar(names, "view", nil, what+" `NAME`, several with commas between")
}

// checkViews refuses --view=.
func checkViews(names []string) error {
	if names != nil && len(names) == 0 {
		return usagef("--view: name a view, or leave it out for all")
	}
	return nil
}

// loadViews loads the definition and returns the views that --view names, each
// once, or all.
func (c *common) loadViews(names []string) ([]*definition.View, error) {
	def, err := c.load()
	if err == nil {
		err = checkViews(names)
	}
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return def.Views, nil
	}
	var out []*definition.View
	for _, n := range names {
		v, err := def.View(n)
		if err != nil {
			return nil, usagef("--view: %w", err)
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
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

// printJSON writes v as one indented JSON object.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
