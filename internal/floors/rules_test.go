package floors

import (
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name, file, text string
		want             []string
	}{
		{"lower floor", "proxy/a.go", `import "signalbox/internal/wire"`, nil},
		{"same room", "media/turn/a.go", `import "signalbox/media"`, nil},
		{"top floor", "cmd/signalbox/a.go", `import "signalbox/proxy"`, nil},
		{"a test climbs", "proxy/a_test.go", `import "signalbox/cmd/signalbox"`, nil},
		{"trace form", "cmd/signalbox/a.go", `import "signalbox/internal/ladder"`, nil},
		{"neighbours", "registrar/a.go", `import "signalbox/proxy"`, []string{"registrar imports proxy on its own floor"}},
		{"own floor", "location/a.go", `import "signalbox/internal/database"`, []string{"location imports internal/database on its own floor"}},
		{"up", "internal/wire/a.go", `import "signalbox/proxy"`, []string{"internal/wire imports proxy on a higher floor"}},
		{"sipgo model", "proxy/a.go", `import "github.com/emiago/sipgo/sip"`, nil},
		{"sipgo layers", "proxy/a.go", `import "github.com/emiago/sipgo"`, []string{"proxy imports github.com/emiago/sipgo: of sipgo only the message model is used"}},
		{"sipgo in a test", "proxy/a_test.go", `import "github.com/emiago/sipgo"`, nil},
		{"harness in the program", "cmd/signalbox/a.go", `import "signalbox/internal/ladder/laddertest"`, []string{"cmd/signalbox imports signalbox/internal/ladder/laddertest: only tests play ladders"}},
		{"testing in the program", "proxy/a.go", `import "testing"`, []string{"proxy imports testing: tests do not belong in the program"}},
		{"testify", "proxy/a_test.go", `import "github.com/stretchr/testify/assert"`, []string{"proxy imports testify"}},
		{"no floor", "internal/helper/a.go", ``, []string{"internal/helper has no floor"}},
		{"from outside", "interop/bench/a.go", `import "signalbox/proxy"`, []string{"interop/bench imports proxy: what looks at the house from outside imports no room"}},
		{"a room imports a tool", "proxy/a.go", `import "signalbox/rfc"`, []string{"proxy imports rfc, which has no floor"}},
		{"init", "proxy/a.go", `func init() {}`, []string{"proxy/a.go has an init function: the world is handed in"}},
		{"a method named init", "proxy/a.go", `type x int; func (x) init() {}`, nil},
		{"testdata is not code", "proxy/testdata/a.go", `import "signalbox/cmd/signalbox"`, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			packages, err := read(fstest.MapFS{tt.file: {Data: []byte("package a\n" + tt.text)}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, check(packages)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnknownTopLevel(t *testing.T) {
	got := unknown([]string{"proxy", "go.mod", ".ci", "pkg", "signalbox-dev", "cpu.out"}, "/signalbox\n/signalbox-dev/\n*.out\n")
	if diff := cmp.Diff([]string{"pkg"}, got); diff != "" {
		t.Error(diff)
	}
}
