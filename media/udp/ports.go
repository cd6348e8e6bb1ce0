package udp

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// ErrNoPorts: every port of the range is taken.
var ErrNoPorts = errors.New("udp: no free ports in the range")

// Range is a range of ports for phones. Each medium of a phone takes an even port for RTP and the next one for RTCP (RFC 3550, 11).
type Range struct{ First, Last uint16 }

// ParseRange reads "20000-20099".
func ParseRange(s string) (Range, error) {
	from, to, ok := strings.Cut(s, "-")
	first, err1 := strconv.ParseUint(strings.TrimSpace(from), 10, 16)
	last, err2 := strconv.ParseUint(strings.TrimSpace(to), 10, 16)
	if !ok || err1 != nil || err2 != nil || first < 1024 {
		return Range{}, fmt.Errorf(`%q is not a range of ports: want "FIRST-LAST", from 1024 to 65535`, s)
	}
	first += first & 1
	if last < first+1 {
		return Range{}, fmt.Errorf("%q has no room for one call: it takes an even port and the next one", s)
	}
	return Range{First: uint16(first), Last: uint16(last)}, nil
}

// Pairs is how many media the range has room for.
func (r Range) Pairs() int { return (int(r.Last) - int(r.First) + 1) / 2 }

// Pool hands out the ports of a range.
type Pool struct {
	Range
	next atomic.Uint32
}

// Open takes the next free pair. Ports go round, so that one that was just left is used again last: packets for its last call may still come.
func (r *Pool) Open() (rtp, rtcp *Socket, err error) {
	pairs := uint32(r.Pairs())
	for range pairs {
		port := r.First + uint16(2*(r.next.Add(1)%pairs))
		if rtp, err = open(port, false); err != nil {
			if taken(err) {
				continue
			}
			return nil, nil, os.NewSyscallError("bind", err)
		}
		if rtcp, err = open(port+1, false); err == nil {
			return rtp, rtcp, nil
		}
		_ = unix.Close(rtp.fd)
		if !taken(err) {
			return nil, nil, os.NewSyscallError("bind", err)
		}
	}
	return nil, nil, ErrNoPorts
}

func taken(err error) bool { return err == unix.EADDRINUSE || err == unix.EACCES }
