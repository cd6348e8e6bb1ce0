package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"signalbox/internal/console"
	"signalbox/internal/database"
	"signalbox/internal/wire"
)

var testDesk = desk{domains: wire.NewDomains([]string{"example.org", "example.net"}, []string{"192.0.2.7"})}

func TestReadUsers(t *testing.T) {
	cred := func(user, domain, password string) console.Credentials {
		u, err := database.NewUser(user, domain, password)
		if err != nil {
			t.Fatal(err)
		}
		return credentials(u)
	}
	md5, sha256 := database.HA1("alice", "example.org", "secret")
	for _, tt := range []struct {
		name, file string
		want       []console.Credentials
	}{
		{"plain", "username,password\nalice,secret\nbob,hidden\n", []console.Credentials{cred("alice", "example.org", "secret"), cred("bob", "example.org", "hidden")}},
		{"byte order mark and CRLF", "\xef\xbb\xbfusername,password\r\nalice,secret\r\n", []console.Credentials{cred("alice", "example.org", "secret")}},
		{"no newline at the end", "username,password\nalice,secret", []console.Credentials{cred("alice", "example.org", "secret")}},
		{"header in any case and order", "Password, USERNAME\nsecret,alice\n", []console.Credentials{cred("alice", "example.org", "secret")}},
		{"domain in the name", "username,password\nalice@example.net,secret\n", []console.Credentials{cred("alice", "example.net", "secret")}},
		{"our address is our domain", "username,password\nalice@192.0.2.7,secret\n", []console.Credentials{cred("alice", "example.org", "secret")}},
		{"domain column", "id,username,domain,password,rpid\n1,alice,example.net,secret,\n", []console.Credentials{cred("alice", "example.net", "secret")}},
		{"quoted comma and quote", "username,password\nalice,\"se,cr\"\"et\"\n", []console.Credentials{cred("alice", "example.org", `se,cr"et`)}},
		{"hashes", "username,ha1,ha1_sha256\nalice," + strings.ToUpper(md5) + "," + sha256 + "\n", []console.Credentials{cred("alice", "example.org", "secret")}},
		{"one hash", "username,ha1\nalice," + md5 + "\n", []console.Credentials{{User: "alice@example.org", MD5: md5}}},
		{"only a header", "username,password\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := readUsers(strings.NewReader(tt.file), "u.csv", testDesk.account)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestReadUsersErrors(t *testing.T) {
	for _, tt := range []struct{ name, file, want string }{
		{"empty", "", "u.csv: is empty: want a header line such as username,password"},
		{"no header", "alice,secret\n", "u.csv:1: no header: the first line names the columns username and password (or ha1, ha1_sha256)"},
		{"no name", "username,password\nalice,a\n,b\n", "u.csv:3: the user name is empty"},
		{"no password", "username,password\nalice,a\nbob,\n", `u.csv:3: user "bob" has neither password nor hash`},
		{"too few fields", "username,password\nalice\n", "u.csv:2: wrong number of fields"},
		{"too many fields", "username,password\nalice,a,b\n", "u.csv:2: wrong number of fields"},
		{"bare quote", "username,password\nalice,a\"b\n", `u.csv:2: bare " in non-quoted-field`},
		{"quote without end", "username,password\nalice,\"ab\n", `u.csv:2: extraneous or missing " in quoted-field`},
		{"hash too short", "username,ha1\nalice,abc\n", `u.csv:2: user "alice": the MD5 hash is not 32 lower-case hex digits`},
		{"twice", "username,password\nalice,a\nbob,b\nalice,c\n", "u.csv:4: alice@example.org stands in line 2 already"},
		{"control character (hardening 70)", "username,password\n\"al\x01ice\",a\n", `u.csv:2: the user name "al\x01ice" has characters that cannot be printed`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readUsers(strings.NewReader(tt.file), "u.csv", testDesk.account)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func FuzzReadUsers(f *testing.F) {
	f.Add("username,password\nalice,secret\n")
	f.Add("\xef\xbb\xbfusername,ha1\r\n\"a\nb\",x")
	f.Fuzz(func(t *testing.T, file string) {
		users, err := readUsers(strings.NewReader(file), "u.csv", testDesk.account)
		if err != nil && !strings.HasPrefix(err.Error(), "u.csv:") {
			t.Errorf("%v does not say where", err)
		}
		for _, u := range users {
			if !strings.Contains(u.User, "@") || u.MD5 == "" && u.SHA256 == "" {
				t.Errorf("got %v", u)
			}
		}
	})
}
