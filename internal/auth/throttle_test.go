package auth

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// hardening 29: a source is refused after too many failures, for a while, and nobody else with it.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		bad, clean := th.source(netip.MustParseAddr("192.0.2.66")), th.source(netip.MustParseAddr("192.0.2.1"))
		for range failures {
			th.failed(bad)
		}
		if th.refused(bad) != 0 {
			t.Error("refused too early")
		}
		th.failed(bad)
		if th.refused(bad) != ban || th.refused(clean) != 0 {
			t.Errorf("refused for %v, the clean one for %v", th.refused(bad), th.refused(clean))
		}
		time.Sleep(ban)
		if th.refused(bad) != 0 {
			t.Error("refused for ever")
		}
		// A forgotten phone that tries every 10 seconds does not lock its office out.
		for range 1000 {
			th.failed(clean)
			if th.refused(clean) != 0 {
				t.Fatal("slow failures are refused")
			}
			time.Sleep(forgive)
		}
	})
}

func TestThrottleSources(t *testing.T) {
	th := newThrottle()
	source := func(s string) uint32 { return th.source(netip.MustParseAddr(s)) }
	if source("::ffff:192.0.2.1") != source("192.0.2.1") || source("192.0.2.1") == source("192.0.2.2") {
		t.Error("IPv4 addresses are told apart wrongly")
	}
	if source("2001:db8::1") != source("2001:db8::ffff:1") || source("2001:db8::1") == source("2001:db8:0:1::1") {
		t.Error("IPv6 networks are told apart wrongly")
	}
}

// However many sources fail, memory is what it was; the worst ones of a bucket are kept.
func TestThrottleForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle()
		const worst = 1
		for range failures + 1 {
			th.failed(worst)
		}
		for i := range uint32(100 * sourceWays) {
			th.failed(worst + (i+1)*sourceBuckets) // all in one bucket
		}
		if th.refused(worst) == 0 {
			t.Error("the worst source was forgotten before the others")
		}
	})
}
