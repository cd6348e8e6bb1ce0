package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"signalbox/internal/transport"
	"signalbox/internal/wire"
	"signalbox/media"
	"signalbox/media/echo"
	"signalbox/media/udp"
	"signalbox/proxy"
)

// mediaFile is the table [media] of the configuration.
type mediaFile struct {
	PublicIP  any    `toml:"public_ip"` // "auto", or as listen.advertise
	WebRTCUDP int    `toml:"webrtc_udp"`
	RTP       string `toml:"rtp"`
	Timeout   int    `toml:"timeout"`
}

// mediaConfig is the checked form of it.
type mediaConfig struct {
	public  []netip.Addr // none: each peer is told the address that it reaches us by
	webrtc  uint16
	unasked bool // webrtc is our default: where the port is taken another one does
	ports   udp.Range
	timeout time.Duration
}

// The ports that nobody has to write down.
const (
	defaultWebRTC = 8444
	defaultRTP    = "20000-20099"
)

func mediaDefaults() mediaConfig {
	ports, _ := udp.ParseRange(defaultRTP)
	return mediaConfig{webrtc: defaultWebRTC, unasked: true, ports: ports}
}

// describe is for config check.
func (m *mediaConfig) describe() string {
	at := "the address that each peer reaches us by"
	if len(m.public) > 0 {
		at = fmt.Sprint(m.public[0])
		for _, a := range m.public[1:] {
			at += " and " + a.String()
		}
	}
	return fmt.Sprintf("browsers udp %d, phones udp %d-%d, at %s", m.webrtc, m.ports.First, m.ports.Last, at)
}

func (k *checker) media(c *config, f mediaFile) {
	if s, ok := f.PublicIP.(string); !ok || s != "auto" {
		k.publicIP(c, f.PublicIP)
	}
	if _, given := k.at["media.webrtc_udp"]; given {
		if f.WebRTCUDP < 1 || f.WebRTCUDP > 65535 {
			k.bad("media.webrtc_udp", "%d: want a port number from 1 to 65535", f.WebRTCUDP)
		}
		c.media.webrtc, c.media.unasked = uint16(f.WebRTCUDP), false
	}
	if f.RTP != "" {
		ports, err := udp.ParseRange(f.RTP)
		if err != nil {
			k.bad("media.rtp", "%v", err)
		} else {
			c.media.ports = ports
		}
	}
	if _, given := k.at["media.timeout"]; given {
		if f.Timeout < 5 || f.Timeout > 86400 {
			k.bad("media.timeout", "%d: want seconds, from 5 to 86400", f.Timeout)
		}
		c.media.timeout = time.Duration(f.Timeout) * time.Second
	}
}

func (k *checker) publicIP(c *config, value any) {
	for _, s := range k.list("media.public_ip", value) {
		addr, err := netip.ParseAddr(s.value)
		switch {
		case err != nil || addr.IsUnspecified():
			k.bad(s.key, `%q: want "auto" or an IP address`, s.value)
		case slices.ContainsFunc(c.media.public, func(a netip.Addr) bool { return a.Is4() == addr.Unmap().Is4() }):
			k.bad(s.key, "one address of each family at most")
		default:
			c.media.public = append(c.media.public, addr.Unmap())
		}
	}
}

// openMedia opens the media bridge's port.
func (s *server) openMedia(context.Context) error {
	if !s.needsMedia() {
		return nil
	}
	m := &s.config.media
	c := media.Config{Ports: m.ports, WebRTC: m.webrtc, Public: m.public, Timeout: m.timeout, Logger: s.log, Metrics: s.calls.metrics()}
	if len(c.Public) == 0 {
		c.Public = s.config.advertise
	}
	engine, err := media.New(c)
	if err != nil && m.unasked && errors.Is(err, syscall.EADDRINUSE) {
		c.WebRTC = 0
		if engine, err = media.New(c); err == nil {
			s.log.Warn("the media port of browsers is taken, another one is used; choose one in [media] webrtc_udp", "taken", m.webrtc, "used", engine.WebRTC())
		}
	}
	if err != nil {
		if s.config.places != nil {
			return s.config.places.errorf("media.webrtc_udp", "%v", err)
		}
		return err
	}
	s.media = engine
	s.onStop(func(context.Context) error { engine.Close(); return nil })
	return nil
}

// hangUpMedia ends the calls whose media go through this server, before everything else is stopped: without it nobody would hear anything.
func (s *server) hangUpMedia(context.Context) error {
	s.core.hangUp()
	return nil
}

// addMedia gives the proxy its bridge and the echo, if there is an engine.
func (c *core) addMedia(engine *media.Engine, to *proxy.Config) {
	if engine == nil {
		return
	}
	c.echo = echo.New(echo.Config{Media: engine, Layer: c.layer, Side: echoSide})
	c.dispatch.echo = c.echo
	to.Anchor = anchor{engine}
	to.Services = map[string]proxy.Service{echo.User: c.echo}
}

// hangUp ends the calls that have media here.
func (c *core) hangUp() {
	if c.echo == nil {
		return
	}
	c.proxy.HangUp("server is stopping")
	c.echo.Close()
}

// anchor shows the engine to the proxy.
type anchor struct{ engine *media.Engine }

func (a anchor) Bridge(caller proxy.MediaSide, ended func(string)) proxy.Bridge {
	return bridge{a.engine.NewBridge(mediaSide(caller), ended)}
}

type bridge struct{ *media.Bridge }

func (b bridge) Branch(callee proxy.MediaSide) (int, error) {
	return b.Bridge.Branch(mediaSide(callee))
}

func mediaSide(s proxy.MediaSide) media.Side {
	kinds := [...]media.Kind{
		proxy.Browser: media.Browser, proxy.Phone: media.Phone, proxy.SecurePhone: media.SecurePhone, proxy.SRTPPhone: media.SRTPPhone,
	}
	return media.Side{Kind: kinds[s.Kind], Source: s.Source, Local: s.Local}
}

func echoSide(f transport.Flow) media.Side { return mediaSide(proxy.MediaSideOf(f)) }

// mediaPorts says what must be let through a firewall.
func (s *server) mediaPorts() string {
	if s.media == nil {
		return ""
	}
	r := s.config.media.ports
	return fmt.Sprintf("WebRTC udp %d, RTP udp %d-%d", s.media.WebRTC(), r.First, r.Last)
}

// needsMedia: browsers call, or phones with SRTP.
func (s *server) needsMedia() bool {
	return slices.ContainsFunc(s.network.Addrs(), func(l transport.Listening) bool { return l.Proto != wire.UDP && l.Proto != wire.TCP })
}
