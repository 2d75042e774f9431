package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/transforms/definition"
	"github.com/tallystick/tallystick/transforms/expr"
)

// checkFlags are the flags of `check`.
type checkFlags struct {
	common
	schema      bool
	feature, at string
}

func checkCommand() *cobra.Command {
	var c checkFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check a definition; print its canonical form, fingerprints and cost",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("at") && c.feature == "" {
				return usagef("--at: it goes with --explain: add that, or leave this out")
			}
			return c.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.definitionFlag(cmd)
	c.jsonFlag(cmd)
	f := cmd.Flags()
	// Not from the environment: a definition is checked where no Kafka is at hand.
	f.StringVar(&c.brokers, "brokers", "", "also hold the definition against its topics: Kafka bootstrap address `HOST:PORT`, several with commas between")
	c.kafka.add(cmd)
	f.BoolVar(&c.schema, "schema", false, "print the JSON Schema of definition files, for editors, and check nothing")
	f.StringVar(&c.feature, "explain", "", "explain one `FEATURE`, as VIEW.FEATURE or by its name alone: what it computes, looks at and costs")
	f.StringVar(&c.at, "at", exampleInstant, "with --explain: the `INSTANT` as of which its window is shown")
	return cmd
}

func (c *checkFlags) run(ctx context.Context, w, notices io.Writer) error {
	if c.schema {
		text, err := definition.Schema()
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	def, err := c.load()
	if err != nil {
		return err
	}
	if c.feature != "" {
		return c.explain(w, def, c.feature, c.at)
	}
	out, err := checked(def)
	if err != nil {
		return err
	}
	if out.Warnings, err = c.warnings(ctx, def); err != nil {
		return err
	}
	if c.json {
		return printJSON(w, out)
	}
	out.print(w)
	printWarnings(notices, out.Warnings)
	return nil
}

// checkOutput is what `check --json` prints.
type checkOutput struct {
	Views    []checkedView    `json:"views"`
	Services []checkedService `json:"services"`
	// Warnings tell what will hurt; they leave the exit code alone.
	Warnings []definition.Warning `json:"warnings"`
}

type checkedView struct {
	View        string         `json:"view"`
	Source      string         `json:"source"`
	Topic       string         `json:"topic"`
	Fingerprint string         `json:"fingerprint"`
	Canonical   string         `json:"canonical"`
	Features    []checkedField `json:"features"`
	Levels      []checkedLevel `json:"levels"`
	StateBytes  int64          `json:"state_bytes_max"`
	OpenBytes   int64          `json:"open_bytes_max"`
}

type checkedField struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type checkedLevel struct {
	Hop       string `json:"hop"`
	Retention string `json:"retention"`
	Tiles     int64  `json:"tiles_max"`
	Cells     int    `json:"cells"`
	TileBytes int64  `json:"tile_bytes_max"`
}

type checkedService struct {
	Service  string   `json:"service"`
	Key      []string `json:"key"`
	Features []string `json:"features"`
}

func checked(def *definition.Definition) (*checkOutput, error) {
	out := &checkOutput{Views: []checkedView{}, Services: []checkedService{}}
	for _, v := range def.Views {
		cost, err := v.Cost()
		if err != nil {
			return nil, err
		}
		cv := checkedView{View: v.Name, Source: v.Source.Name, Topic: v.Source.Topic, Fingerprint: v.Fingerprint,
			Canonical: v.Canonical, Levels: []checkedLevel{}, StateBytes: cost.StateBytes, OpenBytes: cost.OpenBytes}
		for _, f := range v.Spec.Features {
			cv.Features = append(cv.Features, checkedField{f.Name, f.Type()})
		}
		for _, l := range cost.Levels {
			cv.Levels = append(cv.Levels, checkedLevel{expr.FormatDuration(l.Hop), expr.FormatDuration(l.Retention), l.Tiles, l.Cells, l.TileBytes})
		}
		out.Views = append(out.Views, cv)
	}
	for _, s := range def.Services {
		cs := checkedService{Service: s.Name}
		for _, k := range s.Key {
			cs.Key = append(cs.Key, k.Name)
		}
		for _, f := range s.Features {
			cs.Features = append(cs.Features, f.Name())
		}
		out.Services = append(out.Services, cs)
	}
	return out, nil
}

func (o *checkOutput) print(w io.Writer) {
	for _, v := range o.Views {
		fmt.Fprintf(w, "# view %s\n%s", v.View, v.Canonical)
		fmt.Fprintf(w, "# fingerprint %s\n# cost, per entity and partition, at most:\n", v.Fingerprint)
		for _, l := range v.Levels {
			fmt.Fprintf(w, "#   level %-4s keeps %s: %d tiles of %d cells, about %d B each\n", l.Hop, l.Retention, l.Tiles, l.Cells, l.TileBytes)
		}
		fmt.Fprintf(w, "#   state %d B", v.StateBytes)
		if v.OpenBytes > 0 {
			fmt.Fprintf(w, ", ids and open events %d B", v.OpenBytes)
		}
		fmt.Fprintln(w)
		fmt.Fprintln(w)
	}
	for _, s := range o.Services {
		fmt.Fprintf(w, "# service %s: key %v, %d features\n", s.Service, s.Key, len(s.Features))
	}
}
