package proxy

import (
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"signalbox/internal/wire"
)

// validate checks a request before anything is done for it. RFC 3261, 16.3
//
// Step 1, the syntax, is checked by wire.Parse; merged requests are the endpoints' business and pass.
func (c *call) validate() error {
	if err := c.checkScheme(); err != nil {
		return err
	}
	if err := c.checkMaxForwards(); err != nil {
		return err
	}
	if err := c.checkLoop(); err != nil {
		return err
	}
	if err := c.checkProxyRequire(); err != nil {
		return err
	}
	if err := c.checkMaxBreadth(); err != nil {
		return err
	}
	return c.admit() // RFC 3261, 16.3 step 6
}

// RFC 3261, 16.3 step 2
func (c *call) checkScheme() error {
	if !c.uri.IsSIP() {
		return wire.Errorf(416, "", "proxy: scheme of %s", c.uri.Raw)
	}
	return nil
}

// RFC 3261, 16.3 step 3. An OPTIONS that has come to its end here without being for us gets 483 as well: it MAY be answered, but need not.
func (c *call) checkMaxForwards() error {
	if c.req.MaxForwards == 0 {
		return wire.Errorf(483, "", "proxy: Max-Forwards is 0")
	}
	return nil
}

// checkLoop looks at every request, whether it will fork or not. RFC 3261, 16.3 step 4; RFC 5393, 4.1 and 4.2.2
func (c *call) checkLoop() error {
	c.mark = c.loopMark()
	if !c.looped() {
		return nil
	}
	if c.p.Metrics.Looped != nil {
		c.p.Metrics.Looped()
	}
	return wire.Errorf(482, "", "proxy: request has looped")
}

// The only option-tag that a proxy can be required to understand and we do is that of caller preferences. RFC 3261, 16.3 step 5; RFC 3841, 5
func (c *call) checkProxyRequire() error {
	if c.facts&hasProxyRequire == 0 {
		return nil
	}
	unknown := slices.DeleteFunc(wire.List(c.req, "Proxy-Require"), func(tag string) bool { return strings.EqualFold(tag, "pref") })
	if len(unknown) == 0 {
		return nil
	}
	tags := strings.Join(unknown, ", ")
	return wire.Errorf(420, "", "proxy: Proxy-Require: %s", tags).With("Unsupported", tags)
}

// checkMaxBreadth reads how far the request may still fan out. RFC 5393, 5.3.3 and 5.8
func (c *call) checkMaxBreadth() error {
	c.breadth = maxBreadth
	if c.facts&hasMaxBreadth == 0 {
		c.spare = spareBreadth
		return nil
	}
	value := wire.Get(c.req, "Max-Breadth")
	n, err := strconv.ParseUint(value, 10, 31)
	switch {
	case err != nil:
		return wire.Errorf(400, "Bad Max-Breadth", "proxy: Max-Breadth %q", value)
	case n == 0:
		return wire.Errorf(440, "Max-Breadth Exceeded", "proxy: Max-Breadth is 0")
	}
	c.breadth = min(int(n), maxBreadth)
	return nil
}

// forUs tells an OPTIONS about the server itself: its Request-URI names us and no user. RFC 3261, 11
func (c *call) forUs() bool {
	return c.req.Method == sip.OPTIONS && c.uri.User == "" && len(c.routes) == 0 && c.ours(c.uri)
}

// answer says what this server is; whoever asks may know. RFC 3261, 11.2
func (c *call) answer() error {
	if c.req.To.Tag == "" && c.tx.Merged() {
		return wire.Errorf(482, "", "proxy: merged request") // RFC 3261, 8.2.2.2
	}
	if required := strings.Join(wire.List(c.req, "Require"), ", "); required != "" {
		return wire.Errorf(420, "", "proxy: Require: %s", required).With("Unsupported", required) // RFC 3261, 8.2.2.3
	}
	res := wire.NewResponse(c.req, 200, "", wire.NewTag())
	wire.Add(res, "Allow", "OPTIONS, REGISTER, SUBSCRIBE")
	wire.Add(res, "Allow-Events", "reg") // RFC 6665, 4.4.4
	wire.Add(res, "Accept", "application/sdp")
	wire.Add(res, "Supported", "path, outbound, gruu, pref")
	c.tx.Respond(res)
	return nil
}
