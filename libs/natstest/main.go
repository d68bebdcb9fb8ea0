package natstest

import (
	"testing"

	"go.uber.org/goleak"
)

// Main runs a package's tests and fails if a goroutine outlives them. It does not return.
func Main(m *testing.M) { goleak.VerifyTestMain(m) }
