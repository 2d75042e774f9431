package batch

import (
	"os"
	"testing"

	"github.com/tallystick/tallystick/integration/testbed"
)

func TestMain(m *testing.M) { os.Exit(testbed.Run(m)) }
