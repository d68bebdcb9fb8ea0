package websocket

import (
	"testing"

	"github.com/tickfan/tickfan/libs/natstest"
)

func TestMain(m *testing.M) { natstest.Main(m) }
