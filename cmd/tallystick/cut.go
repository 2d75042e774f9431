package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/files"
)

func cutCommand() *cobra.Command {
	var c common
	var out string
	var names []string
	cmd := &cobra.Command{
		Use:   "cut",
		Short: "Fix how far the log is read, as a file for train, replay and stream --until",
		RunE: func(cmd *cobra.Command, _ []string) error {
			vs, err := c.loadViews(names)
			if err != nil {
				return err
			}
			if err := checkFile("--output", out, c.definition()); err != nil {
				return err
			}
			if _, err := c.logOptions(); err != nil {
				return err
			}
			client, err := c.open(cmd.Context())
			if err != nil {
				return err
			}
			defer client.Close()
			cut, err := cutOf(cmd.Context(), client, nil, vs)
			if err != nil {
				return err
			}
			if out != "" {
				if err := files.SaveJSON(files.OS{}, out, cut); err != nil {
					return fmt.Errorf("--output: %w", err)
				}
			}
			if c.json || out == "" {
				return printJSON(cmd.OutOrStdout(), cut)
			}
			for _, t := range topics(vs) {
				for _, p := range cut.Topics[t].PartitionIDs() {
					pc := cut.Topics[t].Partitions[p]
					fmt.Fprintf(cmd.OutOrStdout(), "%s partition %d: offsets %d to %d\n", t, p, pc.Start, pc.End)
				}
			}
			return nil
		},
	}
	c.logFlags(cmd)
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the cut to this `FILE` (default: print it)")
	viewFlag(cmd, &names, "only the topic of the view")
	return cmd
}
