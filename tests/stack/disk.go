package stack

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// diskSize is that of the file system below a server's store.
const diskSize = 128 << 20

// newDisk is a server's store, on a small file system of its own where that may be mounted.
func newDisk(t testing.TB) *NATS {
	t.Helper()
	disk := t.TempDir()
	n := &NATS{store: filepath.Join(disk, "jetstream"), noDisk: mountSmall(disk)}
	if n.noDisk == nil {
		n.filler = filepath.Join(disk, "filler")
		t.Cleanup(func() {
			if err := unmount(disk); err != nil {
				t.Errorf("unmount disk: %v", err)
			}
		})
	}
	return n
}

// Disk tells why the server has no disk of its own, which could be filled; nil: it has one.
func (n *NATS) Disk() error { return n.noDisk }

// FillDisk leaves no byte for the server.
func (n *NATS) FillDisk() {
	n.t.Helper()
	f, err := os.Create(n.filler)
	if err != nil && !errors.Is(err, syscall.ENOSPC) {
		n.t.Fatalf("fill disk: %v", err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		_, err := f.Write(make([]byte, size))
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 16
		case err != nil:
			n.t.Fatalf("fill disk: %v", err)
		}
	}
}

// FreeDisk takes away what FillDisk has put there. The server does not notice by itself.
func (n *NATS) FreeDisk() {
	n.t.Helper()
	if err := os.Remove(n.filler); err != nil {
		n.t.Fatalf("free disk: %v", err)
	}
}
