package edge

import (
	"fmt"
	"log/slog"
	"runtime/debug"
)

const (
	// spareFiles are for everything that is no client: NATS, the log, the ops port.
	spareFiles = 500
	// connMemory is what a connection may cost, with room for its subscriptions and the kernel's buffers, in bytes.
	connMemory = 32 << 10
	// secureMemory is the same over TLS, which takes 22 KB before there is anything else, of them a goroutine's stack.
	secureMemory = 56 << 10
)

// maxConns is how many connections this process can hold: as told, but never more than the file limit allows.
func maxConns(asked int, secure bool, log *slog.Logger) (int, error) {
	files, err := fileLimit()
	if err != nil {
		return 0, fmt.Errorf("read file limit: %w", err)
	}
	most := files - spareFiles
	if most < 1 {
		return 0, fmt.Errorf("file limit %d is too low: the edge needs more than %d, and one for each client; raise it with ulimit -n (LimitNOFILE of systemd, ulimits of Docker)", files, spareFiles)
	}
	if asked > 0 {
		if asked > most {
			log.Warn("--max-conns is more than the file limit allows; raise it with ulimit -n", "max_conns", asked, "file_limit", files, "taken", most)
		}
		return min(asked, most), nil
	}
	each := int64(connMemory)
	if secure {
		each = secureMemory
	}
	if m := memory(); m > 0 {
		most = min(most, int(m/2/each))
	}
	return max(most, 1), nil
}

// memory is what the process may use in bytes: GOMEMLIMIT where it is set, else the machine's; 0 where nobody says.
func memory() int64 {
	if m := debug.SetMemoryLimit(-1); m < 1<<62 {
		return m
	}
	return machineMemory()
}
