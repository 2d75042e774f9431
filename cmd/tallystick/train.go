package main

import "github.com/spf13/cobra"

func trainCommand() *cobra.Command { return &cobra.Command{Use: "train"} }
