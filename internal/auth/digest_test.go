package auth

import (
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"testing"
)

// RFC 7616, 3.9.1: the example's responses, in both algorithms (RFC 8760, 2.1; RFC 7616, 3.4.1).
func TestRespond(t *testing.T) {
	c := credentials{
		uri: "/dir/index.html", nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc: "00000001", qop: "auth",
		cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
	}
	a1 := []byte("Mufasa:http-auth@example.org:Circle of Life")
	for alg, want := range map[algorithm]string{
		algMD5:    "8ca523f5e9506fed4657c9700eebdbec",
		algSHA256: "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		ha1 := fmt.Sprintf("%x", md5.Sum(a1))
		if alg == algSHA256 {
			ha1 = fmt.Sprintf("%x", sha256.Sum256(a1))
		}
		got := alg.respond(nil, ha1, "GET", &c)
		if string(got) != want {
			t.Errorf("%v: got %s, want %s", alg, got, want)
		}
		// RFC 8760, 2.2: the size of the digest depends on the algorithm.
		if len(got) != alg.size() || !same(got, want) || same(got, want[1:]) || same(got, want+"0") || same(got, "") {
			t.Errorf("%v: comparison is wrong", alg)
		}
	}
}
