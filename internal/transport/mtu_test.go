package transport

import (
	"net/netip"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"signalbox/internal/wire"
)

// RFC 3261, 18.1.1: more than 1,300 bytes are too many, and less are if the path's MTU is nearer than 200 bytes; only UDP has such a bound, which is its own flow's to know.
func TestTooLarge(t *testing.T) {
	for _, tt := range []struct {
		mtu, size int
		want      bool
	}{
		{1500, 1300, false}, {1500, 1301, true}, {65536, 1300, false}, {65536, 1301, true},
		{1400, 1200, false}, {1400, 1201, true}, {1280, 1080, false}, {1280, 1081, true},
		{0, 1300, false}, {0, 1301, true}, {576, 1080, false}, {576, 1081, true},
	} {
		if got := TooLarge(path{mtu: tt.mtu}, tt.size); got != tt.want {
			t.Errorf("%d bytes on a path of %d: %v", tt.size, tt.mtu, got)
		}
	}
	if TooLarge(nil, 1300) || !TooLarge(nil, 1301) {
		t.Error("a flow that knows no MTU")
	}
}

type path struct {
	Flow
	mtu int
}

func (p path) MTU() int { return p.mtu }

// The kernel's MTU is that of the way to the peer, asked once in a while. RFC 3261, 18.1.1
func TestPathMTU(t *testing.T) {
	tr, _ := begin(t, Config{UDP: []string{"127.0.0.1:0"}})
	f, err := tr.Dial(wire.Hop{Proto: wire.UDP, Addr: netip.MustParseAddrPort("127.0.0.1:5060")})
	if err != nil {
		t.Fatal(err)
	}
	udp := f.(*udpFlow)
	mtu := udp.MTU()
	if mtu < 1280 || mtu != pathMTU(udp.id.Remote) {
		t.Errorf("loopback: %d", mtu)
	}
	udp.mtu.Add(1) // as if it had been another one
	if again := udp.MTU(); again != mtu+1 {
		t.Errorf("asked again: %d", again)
	}
	if got := pathMTU(netip.MustParseAddrPort("[fe80::1%1]:0")); got < 0 {
		t.Errorf("nowhere: %d", got)
	}

	// A narrow link, in a network of this thread's own.
	done := make(chan int)
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if unix.Unshare(unix.CLONE_NEWNET) != nil || setLoopbackMTU(1280) != nil {
			return
		}
		done <- pathMTU(netip.MustParseAddrPort("127.0.0.1:5060"))
	}()
	switch mtu, ok := <-done; {
	case !ok:
		t.Skip("SKIPPED: a network of our own needs root: a path of a small MTU")
	case mtu != 1280:
		t.Errorf("narrow link: %d", mtu)
	}
}

// setLoopbackMTU brings this network's loopback up.
func setLoopbackMTU(mtu int32) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name  [unix.IFNAMSIZ]byte
		value int32
		_     [20]byte
	}
	copy(req.name[:], "lo")
	for _, step := range []struct {
		call  uintptr
		value int32
	}{{unix.SIOCSIFMTU, mtu}, {unix.SIOCSIFFLAGS, unix.IFF_UP}} {
		req.value = step.value
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), step.call, uintptr(unsafe.Pointer(&req))); errno != 0 {
			return errno
		}
	}
	return nil
}
