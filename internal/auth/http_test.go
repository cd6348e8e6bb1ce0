package auth

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
)

var webHome = Web{Realm: "example.org", From: netip.MustParseAddr("192.0.2.1")}

// ask sends GET /turn with an Authorization, "" for none.
func ask(v *Verifier, authorization string, at Web) (*httptest.ResponseRecorder, string, bool) {
	r := httptest.NewRequest(http.MethodGet, "/turn", nil)
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	w := httptest.NewRecorder()
	user, ok := v.VerifyHTTP(w, r, at)
	return w, user, ok
}

// webAlice answers a challenge as alice does.
func webAlice(t *testing.T, w *httptest.ResponseRecorder, change ...func(*phone)) string {
	t.Helper()
	p := alice(read(t, w.Result().Header.Get("WWW-Authenticate"), "nonce"))
	p.method, p.uri = http.MethodGet, "/turn"
	for _, fn := range change {
		fn(&p)
	}
	return p.value()
}

// RFC 7616, 3 and 3.3: who asks without credentials is asked for them, the stronger algorithm first; Basic is offered where nobody can listen. RFC 7616, 3.7
func TestHTTPChallenge(t *testing.T) {
	v := newVerifier(t)
	for _, secret := range []bool{false, true} {
		at := webHome
		at.Secret = secret
		w, _, ok := ask(v, "", at)
		var got []string
		for _, c := range w.Result().Header.Values("WWW-Authenticate") {
			if _, rest, ok := strings.Cut(c, "Basic "); ok {
				c = rest // its parameters are read by the same grammar
				got = append(got, "Basic "+read(t, c, "realm"))
				continue
			}
			got = append(got, "Digest "+read(t, c, "algorithm"))
		}
		want := "Digest SHA-256,Digest MD5"
		if secret {
			want += ",Basic example.org"
		}
		if ok || w.Code != 401 || strings.Join(got, ",") != want {
			t.Errorf("%d %q", w.Code, got)
		}
	}
}

// RFC 7616, 3.4: Digest with either algorithm proves who it is, once.
func TestHTTPDigest(t *testing.T) {
	v := newVerifier(t)
	for _, alg := range []string{"SHA-256", "MD5"} {
		w, _, _ := ask(v, "", webHome)
		right := webAlice(t, w, func(p *phone) { p.algorithm = alg })
		if w, user, ok := ask(v, right, webHome); !ok || user != "alice" || w.Body.Len() > 0 {
			t.Errorf("%s: %q %v %d", alg, user, ok, w.Code)
		}
		// RFC 7616, 5.5: not again.
		if w, _, ok := ask(v, right, webHome); ok || !strings.Contains(w.Result().Header.Get("WWW-Authenticate"), "stale=true") {
			t.Errorf("%s: a replay is accepted", alg)
		}
	}
	for name, change := range map[string]func(*phone){
		"wrong password": func(p *phone) { p.password = "wrong" },
		"nobody":         func(p *phone) { p.user = "mallory" },
		"another method": func(p *phone) { p.method = http.MethodPost },
		"another target": func(p *phone) { p.uri = "/admin" },
	} {
		w, _, _ := ask(v, "", webHome)
		if w, _, ok := ask(v, webAlice(t, w, change), webHome); ok || w.Code != 401 {
			t.Errorf("%s: %d", name, w.Code)
		}
	}
	w, _, _ := ask(v, "", webHome)
	elsewhere := webHome
	elsewhere.From = netip.MustParseAddr("192.0.2.9")
	if _, _, ok := ask(v, webAlice(t, w), elsewhere); ok {
		t.Error("captured credentials are good from another address")
	}
}

// RFC 7617: a password in the clear is taken where nobody can listen, and only there. After too many wrong ones the address waits.
func TestHTTPBasic(t *testing.T) {
	v := newVerifier(t)
	secret := webHome
	secret.Secret = true
	basic := func(password string) string {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth("alice", password)
		return r.Header.Get("Authorization")
	}
	right := alice("").password
	if _, user, ok := ask(v, basic(right), secret); !ok || user != "alice" {
		t.Errorf("%q %v", user, ok)
	}
	if w, _, ok := ask(v, basic(right), webHome); ok || w.Code != 401 {
		t.Errorf("in the clear: %d", w.Code)
	}
	for i := range failures + 2 {
		w, _, ok := ask(v, basic("wrong"), secret)
		if want := map[bool]int{false: 401, true: 429}[i > failures]; ok || i != failures && w.Code != want {
			t.Fatalf("wrong password %d: %d", i, w.Code)
		}
	}
	if w, _, ok := ask(v, basic(right), secret); ok || w.Code != 429 || w.Result().Header.Get("Retry-After") == "" {
		t.Errorf("after them, the right one: %d", w.Code)
	}
	other := secret
	other.From = netip.MustParseAddr("192.0.2.9")
	if _, _, ok := ask(v, basic(right), other); !ok {
		t.Error("another address has to wait too")
	}
}
