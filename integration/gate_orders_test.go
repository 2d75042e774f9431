package integration

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tallystick/tallystick/examples/flights"
	"github.com/tallystick/tallystick/examples/orders"
	"github.com/tallystick/tallystick/transforms/definition"
)

// TestGateOrders: the orders that `tallystick run` makes up, which the limits were not
// chosen by, pass without a breach (B6): 30 days, few and many, with copies,
// corrections, late and unsound ones.
func TestGateOrders(t *testing.T) {
	def, err := definition.Load("../examples/orders/tallystick.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w := &gateWorld{t, def}
	seeds := 20
	if !gateWhole() {
		seeds = 4
	}
	var table strings.Builder
	table.WriteString("| orders | view | worlds | checks | false alarms |\n|---|---|---|---|---|\n")
	for _, n := range []int{300, 2_000, 10_000} {
		for _, v := range def.Views {
			checks, alarms := 0, 0
			for seed := range uint64(seeds) {
				var messages []flights.Message
				if err := orders.Events(seed+1, n, func(m orders.Message) error { messages = append(messages, flights.Message(m)); return nil }); err != nil {
					t.Fatal(err)
				}
				for _, r := range w.publish(w.replay(v, messages), 0) {
					if checks += r.Checks; len(r.Breaches) > 0 {
						alarms += len(r.Breaches)
						t.Errorf("%d orders, seed %d, view %s:\n%s", n, seed+1, v.Name, strings.Join(r.Lines(), "\n"))
					}
				}
			}
			if checks < 900*seeds {
				t.Errorf("only %d checks", checks)
			}
			fmt.Fprintf(&table, "| %d | `%s` | %d | %d | %d |\n", n, v.Name, seeds, checks, alarms)
		}
	}
	if gateWhole() {
		gateDocs(t, "orders", table.String())
	}
}
