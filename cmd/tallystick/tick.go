package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func tickCommand() *cobra.Command {
	var c common
	var name string
	var partitions []int32
	cmd := &cobra.Command{
		Use:   "tick --source NAME",
		Short: "Append a tick to idle partitions, so that their log clock moves on",
		RunE: func(cmd *cobra.Command, _ []string) error {
			def, err := c.load()
			if err != nil {
				return err
			}
			if name == "" && len(def.Sources) == 1 {
				name = def.Sources[0].Name
			}
			if name == "" {
				return usagef("the definition has several sources: name one with --source")
			}
			src, err := def.Source(name)
			if err != nil {
				return usage(err)
			}
			client, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			at, err := client.Tick(cmd.Context(), src.Topic, partitions...)
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"topic": src.Topic, "ticks": at})
			}
			for _, p := range at {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: tick at %v\n", src.Topic, p)
			}
			return nil
		},
	}
	c.logFlags(cmd)
	cmd.Flags().StringVar(&name, "source", "", "the source whose topic gets ticks")
	cmd.Flags().Int32SliceVar(&partitions, "partition", nil, "only these partitions (default: all)")
	return cmd
}
