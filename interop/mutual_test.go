package interop

import (
	"bufio"
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"hash"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// dialTLS is dial over TLS: the server must prove its name, and the phone shows a certificate if it has one.
func (s *server) dialTLS(user string, shown ...tls.Certificate) *ua {
	s.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(s.ca.cert)
	conn, err := tls.Dial("tcp", s.tls, &tls.Config{RootCAs: pool, ServerName: domain, Certificates: shown})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	return &ua{t: s.t, user: user, proto: "tls", conn: conn, in: bufio.NewReaderSize(conn, 64<<10), seen: map[string]bool{}}
}

// device makes a client certificate with a SIP URI: base.crt and base.key.
func (a *authority) device(t *testing.T, base, uri string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(nil, &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "device"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{u}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, base+".crt", "CERTIFICATE", der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// parameters of a Digest header field.
func parameters(value string) map[string]string {
	_, rest, _ := strings.Cut(value, " ")
	if !strings.HasPrefix(value, "Digest ") {
		rest = value
	}
	list := map[string]string{}
	for p := range strings.SplitSeq(rest, ",") {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		list[name] = strings.Trim(v, `"`)
	}
	return list
}

// credentials are a phone's side of Digest in one algorithm, both ways. RFC 7616, 3.4.1 and 3.5
type credentials struct {
	name             string
	new              func() hash.Hash
	user, realm, pwd string
	nonce            string
	nc               int
}

func (d *credentials) hash(parts ...string) string {
	h := d.new()
	h.Write([]byte(strings.Join(parts, ":")))
	return fmt.Sprintf("%x", h.Sum(nil))
}

// response for a request, or, where method is "", rspauth for its answer.
func (d *credentials) response(method, uri string) string {
	return d.hash(d.hash(d.user, d.realm, d.pwd), d.nonce, fmt.Sprintf("%08x", d.nc), "mine", "auth", d.hash(method, uri))
}

func (d *credentials) authorization(uri string) string {
	d.nc++
	return fmt.Sprintf(`Digest username=%q, realm=%q, nonce=%q, uri=%q, response=%q, algorithm=%s, qop=auth, nc=%08x, cnonce="mine"`,
		d.user, d.realm, d.nonce, uri, d.response("REGISTER", uri), d.name, d.nc)
}

// challenge reads the one for the algorithm.
func (d *credentials) challenge(t *testing.T, res *sip) map[string]string {
	t.Helper()
	for _, f := range res.fields {
		if p := parameters(f[1]); strings.EqualFold(f[0], "WWW-Authenticate") && (p["algorithm"] == d.name || p["algorithm"] == "" && d.name == "MD5") {
			d.nonce, d.nc = p["nonce"], 0
			return p
		}
	}
	t.Fatalf("%s: no %s challenge in %+v", res.start, d.name, res.fields)
	return nil
}

// Both sides prove themselves: the phone by Digest, the server by rspauth, which only who knows the password can compute, and hands out the next nonce, so that the next REGISTER
// needs no challenge. Wrong credentials of every kind look alike. RFC 7616, 3.5; RFC 8760, 2.6; RFC 3261, 22.2. hardening 22, 23, 24, 25
func TestMutualDigest(t *testing.T) {
	for _, d := range []credentials{{name: "MD5", new: md5.New}, {name: "SHA-256", new: sha256.New}} {
		for _, proto := range []string{"udp", "tcp", "tls"} {
			t.Run(d.name+" "+proto, func(t *testing.T) {
				t.Parallel()
				s := newServer(t, "", "alice")
				u := s.dialAny(proto, "alice")
				d := d
				d.user, d.realm, d.pwd = "alice", domain, password("alice")
				const uri = "sip:" + domain
				ask := func(authorization string) *sip {
					t.Helper()
					return u.exchange(u.request("REGISTER", uri, "Authorization: "+authorization))
				}
				d.challenge(t, u.exchange(u.request("REGISTER", uri)))
				var replayed string
				for range 3 { // each time with the nonce of the answer before
					replayed = d.authorization(uri)
					res := ask(replayed)
					if res.code() != 200 {
						t.Fatal(res.start)
					}
					info := parameters(res.get("Authentication-Info"))
					if info["rspauth"] != d.response("", uri) || info["qop"] != "auth" || info["cnonce"] != "mine" || info["nc"] != fmt.Sprintf("%08x", d.nc) {
						t.Errorf("Authentication-Info: %s; want rspauth %s", res.get("Authentication-Info"), d.response("", uri))
					}
					if info["nextnonce"] != "" {
						d.nonce, d.nc = info["nextnonce"], 0
					}
				}
				// What is seen twice is stale, and no new password is asked for.
				res := ask(replayed)
				if p := d.challenge(t, res); res.code() != 401 || p["stale"] != "true" || res.get("Authentication-Info") != "" {
					t.Errorf("replayed: %s %v", res.start, p)
				}
				// Whatever is wrong, the answer is the same.
				for name, wrong := range map[string]credentials{
					"password": {user: "alice", realm: domain, pwd: "wrong"},
					"user":     {user: "nobody", realm: domain, pwd: password("alice")},
					"prefix":   {user: "alic", realm: domain, pwd: password("alice")},
				} {
					wrong.name, wrong.new, wrong.nonce = d.name, d.new, d.nonce
					res := ask(wrong.authorization(uri))
					if p := d.challenge(t, res); res.start != "SIP/2.0 401 Unauthorized" || p["stale"] == "true" || res.get("Authentication-Info") != "" {
						t.Errorf("wrong %s: %s %v", name, res.start, p)
					}
				}
				for _, wrong := range []string{"Basic YWxpY2U6c2VjcmV0LW9mLWFsaWNl", "Bearer eyJhbGciOiJub25lIn0.e30.", `Digest username="alice", realm="other.test", nonce="x", uri="sip:sip.test", response="00"`} {
					if res := ask(wrong); res.start != "SIP/2.0 401 Unauthorized" {
						t.Errorf("%s: %s", wrong, res.start)
					}
				}
				results.passed(t, "Go client", "RFC 7616, 3.5: rspauth and nextnonce, "+d.name+"; replay and wrong credentials", "TestMutualDigest", proto)
			})
		}
	}
}

func (s *server) dialAny(proto, user string) *ua {
	s.t.Helper()
	if proto == "tls" {
		return s.dialTLS(user)
	}
	return s.dial(proto, user)
}

// Client certificates name devices, by a URI or by fingerprint: no password is asked for, also for who logs in on them, and nobody else is believed to be there. The
// policy demands how well somebody is proven. RFC 3261, 26.3.1 and 26.3.2.2; RFC 5922, 7.1
func TestCertificateNamesDevice(t *testing.T) {
	t.Parallel()
	rules := filepath.Join(t.TempDir(), "policy.toml")
	policy := "[[rule]]\nname = \"cameras\"\nwhen = { kind = [\"camera\"] }\nrequire_trust = \"certificate\"\n[[rule]]\nname = \"bob\"\nwhen = { user = [\"bob\"] }\nrequire_trust = \"tls\"\n"
	if err := os.WriteFile(rules, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	s := prepareServer(t, domain, "[policy]\nfile = \""+rules+"\"\n", "alice", "bob")
	conf, err := os.ReadFile(s.conf)
	if err != nil {
		t.Fatal(err)
	}
	s.file("signalbox.toml", strings.Replace(string(conf), "ca = \"ca.crt\"\n", "ca = \"ca.crt\"\nclient_ca = \"ca.crt\"\n", 1))
	lobby := s.ca.device(t, filepath.Join(s.dir, "lobby"), "sip:lobby@"+domain)
	gate := s.ca.device(t, filepath.Join(s.dir, "gate"), "sip:somebody@else.test")
	s.command("device", "add", "lobby", "--kind", "phone", "--cert", "ca", "--instance", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
	s.command("device", "add", "gate", "--kind", "camera", "--cert", filepath.Join(s.dir, "gate.crt"))
	s.command("device", "add", "door", "--kind", "camera", "--password", password("door"))
	s.start()

	register := func(u *ua, fields ...string) *sip {
		t.Helper()
		return u.ask("REGISTER", "sip:"+domain, fields...)
	}
	expect := func(what string, res *sip, want string) {
		t.Helper()
		if !strings.HasPrefix(res.start, "SIP/2.0 "+want) {
			t.Errorf("%s: %s, want %s", what, res.start, want)
		}
	}
	onLobby := s.dialTLS("lobby", lobby)
	once := func(u *ua, fields ...string) *sip {
		t.Helper()
		return u.exchange(u.request("REGISTER", "sip:"+domain, fields...))
	}
	expect("the device, unasked", once(onLobby, "Contact: "+onLobby.contact()+tvInstance), "200")
	byPrint := s.dialTLS("gate", gate)
	expect("one by its fingerprint", once(byPrint), "200")
	expect("as another device", once(s.dialTLS("lobby", gate)), "401")
	expect("without a certificate", once(s.dialTLS("lobby")), "401")
	expect("over TCP", once(s.dial("tcp", "lobby")), "401")
	expect("by the beginning of its name", once(s.dialTLS("lob", lobby)), "401")

	// A user logs in on the device over its connection, by password; and over another that shows its certificate, whoever is registered over it.
	alice := func(u *ua) *ua {
		v := *u
		v.user, v.cseq = "alice", 100
		return &v
	}
	instance := "Contact: " + onLobby.contact() + tvInstance
	expect("alice elsewhere", register(s.dialTLS("alice"), instance), "403 Not On This Device")
	expect("alice with another device's certificate", register(s.dialTLS("alice", gate), instance), "403 Not On This Device")
	expect("alice on the device", register(alice(onLobby), instance), "200")
	second := s.dialTLS("alice", lobby)
	expect("alice over the device's second connection", register(second, "Contact: "+second.contact()+tvInstance, "Call-ID: second"), "200")
	if list := s.command("login", "list", "--user", "alice"); !strings.Contains(list, "lobby@"+domain) {
		t.Errorf("logins:\n%s", list)
	}

	// What the policy demands.
	bobTCP, bobTLS := s.dial("tcp", "bob"), s.dialTLS("bob")
	expect("bob without TLS", register(bobTCP), "403 TLS Required")
	expect("bob over TLS", register(bobTLS), "200")
	expect("a camera by password", register(s.dialTLS("door")), "403 Client Certificate Required")
	expect("leaving is free", register(bobTCP, "Contact: *", "Expires: 0"), "200")
	results.passed(t, "Go client", "RFC 3261, 26.3.1: client certificates name devices, trust that a policy demands", "TestCertificateNamesDevice", "tls")
}
