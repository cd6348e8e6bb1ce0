package auth

import (
	"math/rand/v2"
	"testing"
)

// hardening 24: each count of a nonce is accepted once; those that were overtaken still are, within the window.
func TestMark(t *testing.T) {
	u := new(used)
	n := nonce{issued: 1, seq: 1}
	for i, tt := range []struct {
		nc   uint32
		want bool
	}{
		{2, true}, {2, false}, {1, true}, {1, false}, {3, true}, {66, true}, {4, true}, {3, false}, {2, false}, {67, true}, {3, false},
		{1000, true}, {937, true}, {936, false}, {66, false}, {1<<32 - 1, true}, {1000, false}, {1<<32 - 2, true}, {1<<32 - 1, false},
	} {
		if got := u.mark(n, tt.nc); got != tt.want {
			t.Errorf("step %d, nc %d: %v", i, tt.nc, got)
		}
	}
	if !u.mark(nonce{issued: 1, seq: 2}, 2) {
		t.Error("the counts of one nonce count for another")
	}
}

// A full bucket forgets the oldest nonce, and takes back neither it nor anything as old: whatever is forgotten, nothing is accepted twice.
func TestMarkForgets(t *testing.T) {
	u := new(used)
	at := func(i uint64) nonce { return nonce{issued: i, seq: i * usedBuckets} } // all in one bucket
	for i := range uint64(usedWays) {
		if !u.mark(at(i+2), 1) {
			t.Fatal("no room")
		}
	}
	if !u.mark(at(100), 1) {
		t.Fatal("a full bucket takes nothing")
	}
	for _, i := range []uint64{1, 2} {
		if u.mark(at(i), 2) {
			t.Errorf("nonce %d is accepted, though nobody knows what became of it", i)
		}
	}
	if !u.mark(at(3), 2) || u.mark(at(3), 1) || u.mark(at(100), 1) {
		t.Error("what is remembered is wrong")
	}
}

// In any order, from many nonces in one bucket, no pair of nonce and count is accepted twice.
func TestMarkNeverTwice(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	u := new(used)
	accepted := map[[2]uint64]bool{}
	for range 200_000 {
		seq, nc := 1+r.Uint64N(20), 1+r.Uint32N(100)
		if u.mark(nonce{issued: 1 + seq/2, seq: seq * usedBuckets}, nc) {
			k := [2]uint64{seq, uint64(nc)}
			if accepted[k] {
				t.Fatalf("%v accepted twice", k)
			}
			accepted[k] = true
		}
	}
	if len(accepted) < 100 {
		t.Errorf("only %d accepted", len(accepted))
	}
}
