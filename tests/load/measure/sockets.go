//go:build linux

package measure

import (
	"encoding/binary"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sockets is the kernel's memory for a server's connections.
type Sockets struct {
	Count int
	Bytes int64 // what `ss -m` shows as r, f, w, o and bl, summed: all that is charged to the sockets
}

// Of sock_diag(7), whose structs x/sys does not have.
const (
	diagRequestSize = 56
	diagMessageSize = 72
	diagMemInfo     = 7  // INET_DIAG_SKMEMINFO
	diagByFamily    = 20 // SOCK_DIAG_BY_FAMILY
)

// Places in the array of INET_DIAG_SKMEMINFO.
const (
	memReceived  = 0 // SK_MEMINFO_RMEM_ALLOC
	memForward   = 4 // SK_MEMINFO_FWD_ALLOC
	memQueued    = 5 // SK_MEMINFO_WMEM_QUEUED
	memOptions   = 6 // SK_MEMINFO_OPTMEM
	memBacklog   = 7 // SK_MEMINFO_BACKLOG
	memInfoWords = 9
)

// Established adds up the established IPv4 connections whose local port is port: the server's side of them.
func Established(port int) (Sockets, error) {
	s, err := established(port)
	if err != nil {
		return Sockets{}, fmt.Errorf("read kernel memory of sockets: %w", err)
	}
	return s, nil
}

func established(port int) (s Sockets, err error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return s, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Sendto(fd, dumpRequest(port), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return s, err
	}
	buf := make([]byte, 64<<10)
	for {
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return s, err
		}
		messages, err := syscall.ParseNetlinkMessage(buf[:n])
		if err != nil {
			return s, err
		}
		for _, m := range messages {
			switch m.Header.Type {
			case unix.NLMSG_DONE:
				return s, nil
			case unix.NLMSG_ERROR:
				return s, netlinkError(m.Data)
			default:
				s.add(m.Data)
			}
		}
	}
}

// dumpRequest asks for all established IPv4 connections with this local port, and for their memory.
func dumpRequest(port int) []byte {
	const size = unix.SizeofNlMsghdr + diagRequestSize
	b := make([]byte, size)
	binary.NativeEndian.PutUint32(b, size)
	binary.NativeEndian.PutUint16(b[4:], diagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	r := b[unix.SizeofNlMsghdr:]
	r[0], r[1], r[2] = unix.AF_INET, unix.IPPROTO_TCP, 1<<(diagMemInfo-1)
	binary.NativeEndian.PutUint32(r[4:], 1<<unix.BPF_TCP_ESTABLISHED)
	binary.BigEndian.PutUint16(r[8:], uint16(port))
	return b
}

func netlinkError(data []byte) error {
	if len(data) < 4 {
		return os.NewSyscallError("netlink", unix.EBADMSG)
	}
	return os.NewSyscallError("netlink", unix.Errno(-int32(binary.NativeEndian.Uint32(data))))
}

// add counts one inet_diag_msg with its attributes.
func (s *Sockets) add(message []byte) {
	if len(message) < diagMessageSize {
		return
	}
	s.Count++
	for attrs := message[diagMessageSize:]; len(attrs) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(attrs))
		if size < unix.SizeofRtAttr || size > len(attrs) {
			return
		}
		if value := attrs[unix.SizeofRtAttr:size]; binary.NativeEndian.Uint16(attrs[2:]) == diagMemInfo && len(value) >= 4*memInfoWords {
			for _, word := range [...]int{memReceived, memForward, memQueued, memOptions, memBacklog} {
				s.Bytes += int64(binary.NativeEndian.Uint32(value[4*word:]))
			}
		}
		attrs = attrs[min((size+3)&^3, len(attrs)):]
	}
}
