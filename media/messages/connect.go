package messages

import (
	"context"
	"log/slog"
	"slices"
	"strings"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"signalbox/internal/wire"
)

// channelName is both the label and the protocol of the channel.
const channelName = "sip-message"

// channel is what a session needs of a data channel.
type channel interface {
	ReadDataChannel(b []byte) (n int, isText bool, err error)
	WriteDataChannel(b []byte, isText bool) (int, error)
	BufferedAmount() uint64
}

// readOffer takes an offer of data and nothing else. Candidates are left out: ICE-lite waits for checks, and nobody shall tell us where to send.
func readOffer(offer []byte) (string, error) {
	var d sdp.SessionDescription
	if len(offer) > MaxOffer {
		return "", wire.Errorf(413, "The offer is too large.", "messages: offer of %d bytes", len(offer))
	}
	if err := d.Unmarshal(offer); err != nil {
		return "", wire.Errorf(400, "The body is no session description.", "messages: offer: %w", err)
	}
	if len(d.MediaDescriptions) != 1 || d.MediaDescriptions[0].MediaName.Media != "application" {
		return "", wire.Errorf(400, "The offer must be for a data channel, and for nothing else.", "messages: offer of %d media", len(d.MediaDescriptions))
	}
	m := d.MediaDescriptions[0]
	d.Attributes, m.Attributes = slices.DeleteFunc(d.Attributes, isCandidate), slices.DeleteFunc(m.Attributes, isCandidate)
	b, err := d.Marshal()
	if err != nil {
		return "", wire.Errorf(400, "The body is no session description.", "messages: offer: %w", err)
	}
	return string(b), nil
}

func isCandidate(a sdp.Attribute) bool { return a.Key == "candidate" || a.Key == "end-of-candidates" }

// connect answers an offer: ICE-lite on the port of all browsers, DTLS with us as the server, and SCTP (RFC 8841).
func (s *session) connect(ctx context.Context, offer string) ([]byte, error) {
	s.place = s.g.config.Media.NewGuest(s.page.Local.Addr())
	e := webrtc.SettingEngine{LoggerFactory: loggers{s.g.log}}
	e.SetLite(true)
	e.SetICEUDPMux(s.place)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	e.SetICETimeouts(s.g.times.silence, s.g.times.gone, s.g.times.silence/4)
	e.SetPrflxAcceptanceMinWait(0) // the page's addresses are known by its checks only
	e.SetSCTPMaxReceiveBufferSize(maxWindow)
	e.SetSCTPMaxMessageSize(maxFrame)
	e.DetachDataChannels()
	err := e.SetAnsweringDTLSRole(webrtc.DTLSRoleServer)
	if err != nil {
		return nil, err
	}
	s.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(e)).NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.g.cert}})
	if err != nil {
		return nil, err
	}
	s.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			s.end("the page is gone")
		}
	})
	s.pc.OnDataChannel(s.offered)
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return nil, wire.Errorf(400, "The offer cannot be answered.", "messages: offer: %w", err)
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return nil, wire.Errorf(400, "The offer cannot be answered.", "messages: answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return nil, wire.Errorf(400, "The offer cannot be answered.", "messages: answer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []byte(s.pc.LocalDescription().SDP), nil
}

// offered is a channel that the page has opened (RFC 8832). There is one, and it has its name, or there is none.
func (s *session) offered(d *webrtc.DataChannel) {
	if d.Label() != channelName || d.Protocol() != channelName || !s.taken.CompareAndSwap(false, true) {
		s.end("not one channel with the label and protocol " + channelName)
		return
	}
	d.OnOpen(func() {
		raw, err := d.Detach()
		c, ok := raw.(channel)
		if err != nil || !ok {
			s.end("the channel cannot be read")
			return
		}
		s.opened <- c
	})
}

// loggers bring what pion says to our log: it is about what strangers send.
type loggers struct{ log *slog.Logger }

func (l loggers) NewLogger(scope string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope(scope, logging.LogLevelWarn, lines(l))
}

// lines is an io.Writer of a log.
type lines struct{ log *slog.Logger }

func (l lines) Write(b []byte) (int, error) {
	l.log.Debug("messages: " + strings.TrimSpace(string(b)))
	return len(b), nil
}
