package proxy

import "signalbox/internal/wire"

// onCancel: the caller gave up. The transaction layer has answered the CANCEL; we cancel what is pending. RFC 3261, 16.10
func (c *call) onCancel(cancel *wire.Request) {
	c.cancelled = true
	c.stop()
	c.cancelAll(wire.Get(cancel, "Reason")) // RFC 3326, 2: why the caller gave up concerns the callee too
	c.advance()
}

// cancelAll cancels the pending branches. RFC 3261, 16.7 step 10
func (c *call) cancelAll(reason string) {
	if !c.rings {
		return
	}
	for _, b := range c.branches {
		if !b.done {
			b.cancel(reason)
		}
	}
}

// cancel sends a CANCEL, or, while the target's address is still looked up, forgets the branch. Before a provisional response the transaction
// layer waits with the CANCEL for one. RFC 3261, 9.1
func (b *branch) cancel(reason string) {
	if b.client == nil {
		b.end()
		return
	}
	b.client.Cancel(reason)
}
