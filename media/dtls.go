package media

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"

	"signalbox/media/udp"
)

// flight is a DTLS handshake's connection: packets come from the shard, and go where ICE says. It is a net.PacketConn for pion/dtls.
type flight struct {
	b    *browser
	in   chan []byte
	gone chan struct{}
	once sync.Once

	mu       sync.Mutex
	mute     bool
	deadline chan struct{} // closed when it has passed
	timer    *time.Timer
}

func newFlight(b *browser) *flight {
	return &flight{b: b, in: make(chan []byte, maxFlight), gone: make(chan struct{}), deadline: make(chan struct{})}
}

// push takes one packet from the reader, which never waits for it.
func (f *flight) push(p []byte) {
	select {
	case f.in <- append([]byte(nil), p...):
	default:
	}
}

func (f *flight) end() { f.once.Do(func() { close(f.gone) }) }

// ReadFrom implements net.PacketConn.
func (f *flight) ReadFrom(p []byte) (int, net.Addr, error) {
	f.mu.Lock()
	deadline := f.deadline
	f.mu.Unlock()
	select {
	case b := <-f.in:
		return copy(p, b), peer{}, nil
	case <-deadline:
		return 0, nil, os.ErrDeadlineExceeded
	case <-f.gone:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo implements net.PacketConn.
func (f *flight) WriteTo(p []byte, _ net.Addr) (int, error) {
	f.mu.Lock()
	mute := f.mute
	f.mu.Unlock()
	if !mute {
		f.b.socket.Send(p, f.b.to.Load())
	}
	return len(p), nil
}

// SetReadDeadline implements net.PacketConn.
func (f *flight) SetReadDeadline(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.timer != nil {
		f.timer.Stop()
		f.timer = nil
	}
	select {
	case <-f.deadline:
		f.deadline = make(chan struct{})
	default:
	}
	if t.IsZero() {
		return nil
	}
	c := f.deadline
	if d := time.Until(t); d > 0 {
		f.timer = time.AfterFunc(d, func() { f.expire(c) })
	} else {
		close(c)
	}
	return nil
}

func (f *flight) expire(c chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.deadline == c && f.timer != nil {
		f.timer = nil
		close(c)
	}
}

// The rest of net.PacketConn.
func (f *flight) Close() error                       { f.end(); return nil }
func (f *flight) LocalAddr() net.Addr                { return peer{} }
func (f *flight) SetDeadline(t time.Time) error      { return f.SetReadDeadline(t) }
func (f *flight) SetWriteDeadline(_ time.Time) error { return nil }

// peer is an address for those who must have one.
type peer struct{}

func (peer) Network() string { return "udp" }
func (peer) String() string  { return "browser" }

// silence makes everything that is still written vanish: the connection may be closed without telling the peer, who would take it for the end.
func (f *flight) silence() {
	f.mu.Lock()
	f.mute = true
	f.mu.Unlock()
}

// shake begins the handshake, once: when ICE has a place to send to, and signalling has brought the fingerprint.
func (b *browser) shake(*udp.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.print == "" || b.closed.Load() || b.ready.Load() || b.flight.Load() != nil {
		return
	}
	f := newFlight(b)
	b.flight.Store(f)
	go b.handshake(f, b.active)
}

var errFingerprint = errors.New("media: the certificate is not the one of the description")

// verify compares the peer's certificate with the fingerprint of its description, which is all that ties the two together. RFC 5763, 5; RFC 8122, 5
func (b *browser) verify(chain [][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(chain) == 0 || !strings.EqualFold(fingerprint(chain[0]), b.print) {
		return errFingerprint
	}
	return nil
}

func (b *browser) handshake(f *flight, active bool) {
	b.e.handshakes.begin()
	defer b.e.handshakes.end()
	conn, err := b.negotiate(f, active)
	if report := b.e.config.Metrics.Handshake; report != nil {
		report(err != nil)
	}
	if err != nil {
		b.e.log.Info("media: DTLS handshake failed", "error", err)
		f.end()
		b.flight.CompareAndSwap(f, nil)
		if errors.Is(err, errFingerprint) {
			b.leg.fail("the browser's certificate is not the one it announced")
		}
		return
	}
	b.ready.Store(true)
	b.leg.secured()
	select { // the last flight may have to be repeated
	case <-time.After(keepDTLS):
	case <-f.gone:
	}
	f.silence()
	_ = conn.Close()
	f.end()
	b.flight.CompareAndSwap(f, nil)
}

// negotiate runs the handshake and takes the keys. RFC 5764, 4
func (b *browser) negotiate(f *flight, active bool) (*dtls.Conn, error) {
	conn, err := b.begin(f, active)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTime)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		f.silence()
		_ = conn.Close()
		return nil, err
	}
	if err := b.takeKeys(conn, active); err != nil {
		f.silence()
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// begin makes the connection; nothing is sent yet.
func (b *browser) begin(f *flight, active bool) (*dtls.Conn, error) {
	options := []dtls.Option{
		dtls.WithCertificates(b.e.cert),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80), // RFC 7714, 14.2; RFC 5764, 4.1.2
		dtls.WithInsecureSkipVerify(true), // the fingerprint is verified instead
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithVerifyConnection(func(s *dtls.State) error { return b.verify(s.PeerCertificates) }),
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
		dtls.WithFlightInterval(250 * time.Millisecond),
	}
	if active {
		var all []dtls.ClientOption
		for _, o := range options {
			all = append(all, o)
		}
		return dtls.ClientWithOptions(f, peer{}, all...)
	}
	all := []dtls.ServerOption{
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerifyHello(true), // ICE has shown that the address is the peer's
	}
	for _, o := range options {
		all = append(all, o)
	}
	return dtls.ServerWithOptions(f, peer{}, all...)
}

// takeKeys derives the SRTP keys. RFC 5764, 4.2
func (b *browser) takeKeys(conn *dtls.Conn, active bool) error {
	chosen, ok := conn.SelectedSRTPProtectionProfile()
	state, known := conn.ConnectionState()
	if !ok || !known {
		return errors.New("media: the browser wants no SRTP")
	}
	profile := srtp.ProtectionProfile(chosen)
	k, s := sizes(profile)
	raw, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(k+s))
	if err != nil {
		return err
	}
	client, server := raw[:k], raw[k:2*k]
	clientSalt, serverSalt := raw[2*k:2*k+s], raw[2*k+s:]
	keys := &keys{profile: profile, local: server, localSalt: serverSalt, remote: client, remoteSalt: clientSalt}
	if active {
		keys.local, keys.localSalt, keys.remote, keys.remoteSalt = client, clientSalt, server, serverSalt
	}
	in, err := newCipher(keys.remote, keys.remoteSalt, profile)
	if err != nil {
		return err
	}
	b.mu.Lock()
	b.keys = keys
	b.mu.Unlock()
	if !b.closed.Load() {
		b.decipher.Store(in)
	}
	return nil
}

// outgoing makes a cipher for one more stream, once the keys are there.
func (b *browser) outgoing() *cipher {
	b.mu.Lock()
	k := b.keys
	b.mu.Unlock()
	if k == nil {
		return nil
	}
	c, err := newCipher(k.local, k.localSalt, k.profile)
	if err != nil {
		return nil
	}
	return c
}
