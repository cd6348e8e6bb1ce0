package auth

import (
	"fmt"
	"testing"
)

type fixed struct{ md5, sha256 string }

func (f fixed) HA1(string, string) (string, string, bool) { return f.md5, f.sha256, true }

func BenchmarkChallenge(b *testing.B) {
	v := newVerifier(b)
	req := request(b, "REGISTER", "sip:example.org")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(req, Registrar, "example.org", home); err == nil {
			b.Fatal("accepted")
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, scope := range []Scope{Registrar, Proxy} {
		for _, alg := range []algorithm{algMD5, algSHA256} {
			b.Run(fmt.Sprintf("%d/%v", scope.code(), alg), func(b *testing.B) {
				p := alice("")
				p.algorithm = alg.String()
				v := newVerifier(b, func(c *Config) { c.Users = fixed{p.ha1(), p.ha1()} })
				p.nonce = challenged(b, v, home)
				req := request(b, "REGISTER", "sip:example.org", scope.credentials()+": "+p.value())
				n, _ := v.mint.open(p.nonce, "example.org")
				b.ReportAllocs()
				for b.Loop() {
					v.used.buckets[n.seq%usedBuckets].entries = [usedWays]counts{} // as if it were the first time
					if _, err := v.Verify(req, scope, "example.org", home); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkWrongPassword(b *testing.B) {
	for _, name := range []string{"alice", "nobody"} {
		b.Run(name, func(b *testing.B) {
			v := newVerifier(b, func(c *Config) { c.Users = onlyAlice{} })
			p := alice(challenged(b, v, home))
			p.user, p.password = name, "wrong"
			req := p.register(b)
			n, _ := v.mint.open(p.nonce, "example.org")
			b.ReportAllocs()
			for b.Loop() {
				v.throttle.buckets[n.source%sourceBuckets].entries = [sourceWays]debtor{}
				if _, err := v.Verify(req, Registrar, "example.org", home); err == nil {
					b.Fatal("accepted")
				}
			}
		})
	}
}

type onlyAlice struct{}

func (onlyAlice) HA1(name, _ string) (string, string, bool) {
	if name != "alice" {
		return "", "", false
	}
	return "00000000000000000000000000000000", "0000000000000000000000000000000000000000000000000000000000000000", true
}
