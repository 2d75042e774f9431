package main

import (
	"errors"
	"fmt"
	"math"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/schemas"
	"github.com/tallystick/tallystick/store/log"
)

func tickCommand() *cobra.Command {
	var c common
	var name string
	var partitions []int
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
				return usagef("--source: the definition has several sources: name one")
			}
			src, err := def.Source(name)
			if err != nil {
				return usagef("--source: %w", err)
			}
			var at []int32
			for _, p := range partitions {
				if p < 0 || p > math.MaxInt32 {
					return usagef("--partition: %d is no partition; they count from 0", p)
				}
				at = append(at, int32(p))
			}
			client, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			ticks, err := client.Tick(cmd.Context(), src.Topic, at...)
			var none *log.MissingPartitionError
			if errors.As(err, &none) {
				return usagef("--partition: %w", err)
			}
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), tickOutput{src.Topic, ticks})
			}
			for _, p := range ticks {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: tick at %v\n", src.Topic, p)
			}
			return nil
		},
	}
	c.logFlags(cmd)
	cmd.Flags().StringVar(&name, "source", "", "append to the topic of the source `NAME` (default: the only one there is)")
	cmd.Flags().IntSliceVar(&partitions, "partition", nil, "only the partition `N`, several with commas between (default: all)")
	return cmd
}

// tickOutput is what `tick --json` prints.
type tickOutput struct {
	Topic string             `json:"topic"`
	Ticks []schemas.Position `json:"ticks"`
}
