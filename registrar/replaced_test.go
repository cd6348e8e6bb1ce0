package registrar

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"signalbox/internal/wire"
)

// What was replaced is remembered for as long as its phone tries, and no more of it than there is room for.
func TestReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r replaced
		alice, bob := wire.AOR{User: "alice", Host: "example.org"}, wire.AOR{User: "bob", Host: "example.org"}
		expect := func(what string, aor wire.AOR, callID string, want bool) {
			t.Helper()
			if r.has(aor, callID) != want {
				t.Errorf("%s: not %v", what, want)
			}
		}
		expect("nothing yet", alice, "a", false)
		r.add(alice, "a")
		expect("somebody else's", bob, "a", false)
		expect("another one", alice, "b", false)
		for range 3 {
			time.Sleep(replacedFor)
			expect("it still tries", alice, "a", true)
		}
		time.Sleep(replacedFor + time.Second)
		expect("it has given up", alice, "a", false)
		for i := range maxReplaced + 1 {
			r.add(alice, strconv.Itoa(i))
		}
		expect("the last there is room for", alice, strconv.Itoa(maxReplaced-1), true)
		expect("beyond", alice, strconv.Itoa(maxReplaced), false)
		time.Sleep(replacedFor + time.Second)
		r.add(alice, "room again")
		expect("room again", alice, "room again", true)
		if len(r.until) != 1 {
			t.Errorf("%d are kept", len(r.until))
		}
	})
}
