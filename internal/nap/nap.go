// Package nap lets whoever reads a busy socket sleep for a few milliseconds while datagrams gather (docs/adr/0013-gathering.md). Packages transport and
// media/udp call it. What bounds it: half of the processors sleep at once, so that there is always one left for others.
package nap

import (
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asleep is how many processors of this process sleep here: all readers share them, whoever they belong to.
var asleep atomic.Int32

// Sleep sleeps, without telling the scheduler, which would wake others to look for work (ADR 4): the processor sleeps, too. A signal, by which the garbage
// collector calls, ends it. If half of the processors sleep already, it is a sleep like any other.
func Sleep(d time.Duration) {
	if !take() {
		time.Sleep(d)
		return
	}
	defer asleep.Add(-1)
	t := unix.NsecToTimespec(int64(d))
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&t)), 0, 0)
}

// take takes a processor, if one may sleep.
func take() bool {
	if int(asleep.Add(1)) > runtime.GOMAXPROCS(0)/2 {
		asleep.Add(-1)
		return false
	}
	return true
}
