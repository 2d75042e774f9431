package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tallystick/tallystick/store/online"
)

func dropCommand() *cobra.Command {
	var c common
	var r redisFlags
	var live bool
	cmd := &cobra.Command{
		Use:   "drop VIEW",
		Short: "Remove a view's states and markers from the online store",
		Long: `Remove what the online store holds of a view, as the definition has it. Stop its
` + "`stream`" + ` processes before: one that runs fills it again.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("name one view: tallystick drop VIEW")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := r.check(); err != nil {
				return err
			}
			def, err := c.load()
			if err != nil {
				return err
			}
			v, err := def.View(args[0])
			if err != nil {
				return usage(err)
			}
			redis, err := r.open(cmd.Context())
			if err != nil {
				return err
			}
			defer redis.Close()
			if live {
				if _, err := redis.SetLive(cmd.Context(), v.Name, "", false); err != nil {
					return err
				}
			}
			phase := newMeter(cmd.ErrOrStderr()).phaseOf("drop "+v.Name, "keys", 0)
			err = redis.Store(v).Drop(cmd.Context(), phase.done)
			phase.end()
			keys := phase.done.Load()
			var inUse *online.LiveError
			if errors.As(err, &inUse) {
				return fmt.Errorf("%w; or add --live, which removes what readers use", err)
			}
			if err != nil {
				return err
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), dropOutput{v.Name, v.Fingerprint, keys})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "view %s: %d keys of fingerprint %s removed\n", v.Name, keys, v.Fingerprint)
			return nil
		},
	}
	c.definitionFlag(cmd)
	c.jsonFlag(cmd)
	r.add(cmd)
	cmd.Flags().BoolVar(&live, "live", false, "also when readers use them")
	return cmd
}

// dropOutput is what `drop --json` prints.
type dropOutput struct {
	View        string `json:"view"`
	Fingerprint string `json:"fingerprint"`
	Keys        int64  `json:"keys"`
}
