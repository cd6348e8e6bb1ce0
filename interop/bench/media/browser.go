package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v3"
)

// browser is one browser: a socket, and what it needs to be believed; or a phone that calls, which has plain RTP.
type browser struct {
	plain       bool
	conn        *net.UDPConn
	far         *net.UDPAddr
	handshake   chan []byte
	in, out     *srtp.Context
	sent, heard int64
}

var certificate, fingerprint = func() (tls.Certificate, string) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	sum := sha256.Sum256(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}()

// newBrowser makes a browser at an address of this machine.
func newBrowser(at net.IP, plain bool) (*browser, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: at})
	return &browser{plain: plain, conn: conn, handshake: make(chan []byte, 100)}, err
}

func (b *browser) offer() string {
	at, port := b.conn.LocalAddr().(*net.UDPAddr).IP, b.conn.LocalAddr().(*net.UDPAddr).Port
	if b.plain {
		// Signalbox relays no RTP between phones that can do without. It takes this one, which comes over WebSocket, for a browser.
		return plain(port) + "a=note:a=fingerprint:\r\n"
	}
	return fmt.Sprintf("v=0\r\no=- %d 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio %d UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 127.0.0.1\r\na=rtcp-mux\r\na=mid:0\r\na=sendrecv\r\n"+
		"a=ice-ufrag:peer\r\na=ice-pwd:0123456789012345678901\r\na=fingerprint:sha-256 %s\r\na=setup:actpass\r\na=candidate:1 1 udp 2130706431 %s %d typ host\r\na=rtpmap:0 PCMU/8000\r\na=ssrc:77 cname:page\r\n",
		port, port, fingerprint, at, port)
}

func attribute(sdp, name string) string {
	_, rest, _ := strings.Cut(sdp, "a="+name+":")
	line, _, _ := strings.Cut(rest, "\r\n")
	return line
}

// connect does what a browser does with an answer: check, nominate, handshake.
func (b *browser) connect(answer string) error {
	if b.plain {
		_, rest, _ := strings.Cut(answer, "m=audio ")
		port, _, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(port)
		b.far = &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: n}
		go b.listen()
		return err
	}
	candidate := strings.Fields(attribute(answer, "candidate"))
	if len(candidate) < 6 {
		return fmt.Errorf("no candidate in:\n%s", answer)
	}
	port, _ := strconv.Atoi(candidate[5])
	b.far = &net.UDPAddr{IP: net.ParseIP(candidate[4]), Port: port}
	go b.listen()
	if err := b.check(attribute(answer, "ice-ufrag"), attribute(answer, "ice-pwd")); err != nil {
		return err
	}
	go func() { // consent. RFC 7675, 5.1
		for b.check(attribute(answer, "ice-ufrag"), attribute(answer, "ice-pwd")) == nil {
			time.Sleep(5 * time.Second)
		}
	}()
	time.Sleep(5 * time.Millisecond)
	conn, err := dtls.ClientWithOptions(pipe{b}, b.far, dtls.WithCertificates(certificate), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80), dtls.WithFlightInterval(100*time.Millisecond))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return err
	}
	profile, _ := conn.SelectedSRTPProtectionProfile()
	state, _ := conn.ConnectionState()
	k, _ := srtp.ProtectionProfile(profile).KeyLen()
	s, _ := srtp.ProtectionProfile(profile).SaltLen()
	raw, err := state.ExportKeyingMaterial("EXTRACTOR-dtls_srtp", nil, 2*(k+s))
	if err != nil {
		return err
	}
	if b.out, err = srtp.CreateContext(raw[:k], raw[2*k:2*k+s], srtp.ProtectionProfile(profile)); err != nil {
		return err
	}
	b.in, err = srtp.CreateContext(raw[k:2*k], raw[2*k+s:], srtp.ProtectionProfile(profile))
	return err
}

func (b *browser) check(ufrag, pwd string) error {
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(ufrag+":peer"), attr{stun.AttrPriority, []byte{1, 2, 3, 4}},
		attr{stun.AttrICEControlling, make([]byte, 8)}, attr{stun.AttrUseCandidate, nil}, stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	if err != nil {
		return err
	}
	_, err = b.conn.WriteToUDP(m.Raw, b.far)
	return err
}

type attr struct {
	kind  stun.AttrType
	value []byte
}

func (a attr) AddTo(m *stun.Message) error { m.Add(a.kind, a.value); return nil }

// listen counts what comes and hands the handshake its packets.
func (b *browser) listen() {
	p := make([]byte, 2000)
	for {
		n, from, err := b.conn.ReadFromUDPAddrPort(p)
		switch {
		case err != nil:
			return
		case n > 1 && p[0] >= 20 && p[0] <= 63:
			b.handshake <- append([]byte(nil), p[:n]...)
		case n > 12 && p[0]>>6 == 2 && p[1]&0x7f == 0:
			atomic.AddInt64(&b.heard, 1)
		case n > 20 && p[0] == 0 && p[1] == 1: // a check of a full agent
			_ = from
			var m stun.Message
			if stun.Decode(p[:n], &m) == nil {
				if r, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
					&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}, stun.NewShortTermIntegrity("0123456789012345678901"), stun.Fingerprint); err == nil {
					_, _ = b.conn.WriteToUDPAddrPort(r.Raw, from)
				}
			}
		}
	}
}

// speak sends a packet every 20 ms.
func (b *browser) speak(stop <-chan struct{}, after time.Duration) {
	time.Sleep(after)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	p, room := make([]byte, 172), make([]byte, 0, 300)
	p[0] = 0x80
	binary.BigEndian.PutUint32(p[8:], 77)
	var h rtp.Header
	for n := uint32(1); ; n++ {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint16(p[2:], uint16(n))
		binary.BigEndian.PutUint32(p[4:], n*160)
		out := p
		if !b.plain {
			var err error
			if out, err = b.out.EncryptRTP(room, p, &h); err != nil {
				return
			}
		}
		if _, err := b.conn.WriteToUDP(out, b.far); err == nil {
			atomic.AddInt64(&b.sent, 1)
		}
	}
}

// pipe is the socket as the handshake sees it.
type pipe struct{ b *browser }

func (p pipe) ReadFrom(buf []byte) (int, net.Addr, error) {
	select {
	case m := <-p.b.handshake:
		return copy(buf, m), p.b.far, nil
	case <-time.After(time.Minute):
		return 0, nil, errors.New("nothing comes")
	}
}
func (p pipe) WriteTo(buf []byte, _ net.Addr) (int, error) { return p.b.conn.WriteToUDP(buf, p.b.far) }
func (p pipe) Close() error                                { return nil }
func (p pipe) LocalAddr() net.Addr                         { return p.b.conn.LocalAddr() }
func (p pipe) SetDeadline(time.Time) error                 { return nil }
func (p pipe) SetReadDeadline(time.Time) error             { return nil }
func (p pipe) SetWriteDeadline(time.Time) error            { return nil }

// phone answers an offer and sends back what it hears.
func phone(string) string {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		panic(err)
	}
	go func() {
		b := make([]byte, 2000)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			if n > 12 && b[1]&0x7f == 0 {
				_, _ = conn.WriteToUDPAddrPort(b[:n], from)
			}
		}
	}()
	return plain(conn.LocalAddr().(*net.UDPAddr).Port)
}

func plain(port int) string {
	return fmt.Sprintf("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %d RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n", port)
}
