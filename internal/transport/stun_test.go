package transport

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"testing"
)

const stunID = "b7e7a701bc34d686fa87dfae"

// binding is a binding request with those attributes (in hex).
func binding(attributes string) []byte {
	a, err := hex.DecodeString(attributes)
	if err != nil {
		panic(err)
	}
	id, _ := hex.DecodeString(stunID)
	b := binary.BigEndian.AppendUint16(nil, stunRequest)
	b = binary.BigEndian.AppendUint16(b, uint16(len(a)))
	b = binary.BigEndian.AppendUint32(b, stunCookie)
	return append(append(b, id...), a...)
}

// RFC 5626, 8: a binding request on the SIP port is answered with XOR-MAPPED-ADDRESS. The addresses and their masked forms are those of RFC 5769, 2.2 and 2.3.
// RFC 8489, 5 and 14: header and attributes; RFC 8489, 14.2: the address, masked. RFC 5626, 3.5: a phone keeps its NAT open by it.
func TestAnswerSTUN(t *testing.T) {
	for _, tt := range []struct{ name, from, attributes, want string }{
		{"IPv4", "192.0.2.1:32853", "", "0101000c2112a442" + stunID + "002000080001a147e112a643"},
		{"IPv6", "[2001:db8:1234:5678:11:2233:4455:6677]:32853", "",
			"010100182112a442" + stunID + "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"},
		{"optional attribute", "192.0.2.1:32853", "8022000401020304", "0101000c2112a442" + stunID + "002000080001a147e112a643"},
		{"credentials are not asked for", "192.0.2.1:32853", "0006000161000000", "0101000c2112a442" + stunID + "002000080001a147e112a643"},
		// RFC 5626, 4.4.2: by an error the phone learns that its flow has failed. RFC 8489, 14.8: its reason is padded.
		{"a dead flow", "192.0.2.1:32853", "", "011100142112a442" + stunID + "0009000f0000041e" + "466c6f77204661696c656400"},
		// RFC 8489, 6.3.1: unknown comprehension-required attributes get 420 and their list.
		{"CHANGE-REQUEST", "192.0.2.1:32853", "0003000400000006",
			"011100242112a442" + stunID + "0009001500000414556e6b6e6f776e20417474726962757465000000" + "000a000200030000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := binding(tt.attributes)
			if !isSTUN(req) {
				t.Fatal("not recognised")
			}
			got := answerSTUN(req, netip.MustParseAddrPort(tt.from), tt.name != "a dead flow")
			if hex.EncodeToString(got) != tt.want {
				t.Errorf("got  %x\nwant %s", got, tt.want)
			}
		})
	}
}

// RFC 8489, 7 and 14.7: a fingerprint is verified, and answered with one.
func TestSTUNFingerprint(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:32853")
	req := addFingerprint(binding(""))
	answer := answerSTUN(req, from, true)
	if _, fingerprint, ok := readAttributes(answer); !fingerprint || !ok {
		t.Errorf("answer %x has no valid fingerprint", answer)
	}
	req[len(req)-1]++
	if answer := answerSTUN(req, from, true); answer != nil {
		t.Errorf("a wrong fingerprint was answered with %x", answer)
	}
}

// hardening 63: lengths that lie, at every place.
// RFC 8489, 6.3: what breaks the rules is discarded in silence.
func TestSTUNMalformed(t *testing.T) {
	from := netip.MustParseAddrPort("192.0.2.1:32853")
	whole := addFingerprint(binding("0006000161000000" + "80220000"))
	for n := range whole {
		if answer := answerSTUN2(whole[:n], from); answer != nil {
			t.Errorf("cut after %d bytes: answered", n)
		}
	}
	for _, attributes := range []string{"00", "000600", "0006ffff", "00060001", "0006000561000000", "8028000400000000" + "80220000", "802800080000000000000000"} {
		if answer := answerSTUN2(binding(attributes), from); answer != nil {
			t.Errorf("attributes %s: answered", attributes)
		}
	}
	for kind := range 0x4000 {
		b := binding("")
		binary.BigEndian.PutUint16(b, uint16(kind))
		if answer := answerSTUN2(b, from); answer != nil && kind != stunRequest {
			t.Errorf("type %04x: answered", kind)
		}
	}
}

// answerSTUN2 answers what take would have answered.
func answerSTUN2(b []byte, from netip.AddrPort) []byte {
	if !isSTUN(b) {
		return nil
	}
	return answerSTUN(b, from, true)
}

// hardening 53: no answer is three times as long as its request, so that we are no reflector.
func FuzzSTUN(f *testing.F) {
	f.Add(binding(""))
	f.Add(addFingerprint(binding("0003000400000006")))
	f.Add(binding("00030000" + "00040000" + "00050000"))
	f.Add(binding("0006000161000000"))
	from := netip.MustParseAddrPort("[2001:db8::1]:32853")
	f.Fuzz(func(t *testing.T, b []byte) {
		answer := answerSTUN2(b, from)
		if answer == nil {
			return
		}
		if len(answer) > 3*len(b) {
			t.Errorf("%d bytes for %d", len(answer), len(b))
		}
		if !isSTUN(answer) || int(binary.BigEndian.Uint16(answer[2:])) != len(answer)-stunHeader || !bytes.Equal(answer[4:stunHeader], b[4:stunHeader]) {
			t.Errorf("answer %x to %x", answer, b)
		}
		if _, _, ok := readAttributes(answer); !ok {
			t.Errorf("attributes of %x", answer)
		}
	})
}

func BenchmarkAnswerSTUN(b *testing.B) {
	req, from := binding(""), netip.MustParseAddrPort("192.0.2.1:32853")
	b.ReportAllocs()
	for b.Loop() {
		answerSTUN(req, from, true)
	}
}
