//go:build !linux

package websocket

import (
	"net/http"

	"github.com/tickfan/tickfan/services/edge/internal/bucket"
)

// poll is Linux's.
func (*Handler) poll(http.ResponseWriter, *http.Request, offer, *bucket.Bucket) bool { return false }
