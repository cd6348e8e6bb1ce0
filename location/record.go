package location

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"strings"

	"signalbox/internal/wire"
)

// A record holds the bindings of one address, in memory and on disk in the same bytes: a count, then the fields of each binding, numbers as
// varints, strings with their length before them. No bindings are no bytes.

var errRecord = errors.New("damaged record")

const (
	flagBehind = 1 << iota
	flagInParams
	flagDevice
	flagCertified
	flagEpoch
	flagLost
	flagEpochCSeq
	flagSession // the last of eight
)

// appendRecord encodes bindings. The same bindings give the same bytes.
func appendRecord(dst []byte, c clock, bs []Binding) []byte {
	if len(bs) == 0 {
		return dst
	}
	dst = binary.AppendUvarint(dst, uint64(len(bs)))
	for i := range bs {
		dst = appendBinding(dst, c, &bs[i])
	}
	return dst
}

func appendBinding(dst []byte, c clock, b *Binding) []byte {
	var flags byte
	if b.Behind {
		flags |= flagBehind
	}
	if b.Device != (wire.AOR{}) {
		flags |= flagDevice
	}
	if b.Certified {
		flags |= flagCertified
	}
	if b.Epoch != 0 {
		flags |= flagEpoch
	}
	if !b.Lost.IsZero() {
		flags |= flagLost
	}
	if b.EpochCSeq != 0 {
		flags |= flagEpochCSeq
	}
	if b.Session != 0 {
		flags |= flagSession
	}
	// The instance stands in the contact's parameters nearly always: then its place is enough.
	at := strings.Index(b.Params, b.InstanceID)
	if at > 0 && b.InstanceID != "" {
		flags |= flagInParams
	}
	dst = append(dst, flags)
	dst = appendString(dst, b.Contact.Raw)
	dst = appendString(dst, b.Params)
	if flags&flagInParams != 0 {
		dst = binary.AppendUvarint(dst, uint64(at))
		dst = binary.AppendUvarint(dst, uint64(len(b.InstanceID)))
	} else {
		dst = appendString(dst, b.InstanceID)
	}
	dst = appendString(dst, b.CallID)
	dst = appendString(dst, b.UserAgent)
	dst = binary.AppendVarint(dst, int64(b.Q))
	dst = binary.AppendUvarint(dst, uint64(b.CSeq))
	dst = binary.AppendVarint(dst, int64(b.RegID))
	updated := c.ms(b.Updated)
	dst = binary.AppendVarint(dst, updated)
	dst = binary.AppendVarint(dst, c.ms(b.Expires)-updated)
	dst = binary.AppendVarint(dst, updated-c.ms(b.Created))
	dst = append(dst, byte(b.Flow.Proto))
	dst = appendAddr(dst, b.Flow.Local)
	dst = appendAddr(dst, b.Flow.Remote)
	dst = binary.AppendUvarint(dst, b.Flow.Serial)
	dst = binary.AppendUvarint(dst, uint64(len(b.Path)))
	for _, p := range b.Path {
		dst = appendString(dst, p)
	}
	if flags&flagDevice != 0 {
		dst = appendString(appendString(dst, b.Device.User), b.Device.Host)
	}
	if flags&flagEpoch != 0 {
		dst = binary.AppendUvarint(dst, uint64(b.Epoch))
	}
	if flags&flagLost != 0 {
		dst = binary.AppendVarint(dst, c.ms(b.Lost)-updated)
	}
	if flags&flagEpochCSeq != 0 {
		dst = binary.AppendUvarint(dst, uint64(b.EpochCSeq))
	}
	if flags&flagSession != 0 {
		dst = binary.AppendUvarint(dst, uint64(b.Session))
	}
	return dst
}

func appendString(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func appendAddr(dst []byte, a netip.AddrPort) []byte {
	at := len(dst)
	dst = append(dst, 0)
	dst, _ = a.AppendBinary(dst) // never fails; at most 18 bytes and a zone
	dst[at] = byte(len(dst) - at - 1)
	return dst
}

// decodeRecord appends the bindings of a record to dst. Their strings are parts of rec.
func decodeRecord(dst []Binding, c clock, rec string) ([]Binding, error) {
	if rec == "" {
		return dst, nil
	}
	r := reader{rest: rec}
	n := r.count(MaxBindings)
	if dst == nil {
		dst = make([]Binding, 0, n)
	}
	for range n {
		dst = append(dst, Binding{})
		r.binding(&dst[len(dst)-1], c)
	}
	if r.bad || r.rest != "" || n == 0 {
		return nil, errRecord
	}
	return dst, nil
}

// reader takes a record apart. After the first thing that is wrong it is bad and returns zero values.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) binding(b *Binding, c clock) {
	flags := r.byte()
	b.Behind, b.Certified = flags&flagBehind != 0, flags&flagCertified != 0
	b.Contact = parseContact(r.string())
	b.Params = r.string()
	if flags&flagInParams != 0 {
		at, n := r.count(len(b.Params)), r.count(len(b.Params))
		if at+n > len(b.Params) {
			r.fail()
			return
		}
		b.InstanceID = b.Params[at : at+n]
	} else {
		b.InstanceID = r.string()
	}
	b.CallID = r.string()
	b.UserAgent = r.string()
	b.Q = int(r.varint())
	b.CSeq = uint32(r.count(math.MaxUint32))
	if id := int(r.varint()); b.InstanceID != "" {
		b.RegID = id // the first version wrote one that counts for nothing too (RFC 5626, 6)
	}
	updated := r.varint()
	b.Updated = c.time(updated)
	b.Expires = c.time(updated + r.varint())
	b.Created = c.time(updated - r.varint())
	b.Flow.Proto = wire.Proto(r.byte())
	b.Flow.Local = r.addr()
	b.Flow.Remote = r.addr()
	b.Flow.Serial = r.uvarint()
	if n := r.count(len(r.rest)); n > 0 {
		b.Path = make([]string, n)
		for i := range b.Path {
			b.Path[i] = r.string()
		}
	}
	if flags&flagDevice != 0 {
		b.Device.User, b.Device.Host = r.string(), r.string()
	}
	if flags&flagEpoch != 0 {
		b.Epoch = uint32(r.count(math.MaxUint32))
	}
	if flags&flagLost != 0 {
		b.Lost = c.time(updated + r.varint())
	}
	if flags&flagEpochCSeq != 0 {
		b.EpochCSeq = uint32(r.count(math.MaxUint32))
	}
	if flags&flagSession != 0 {
		b.Session = uint32(r.count(math.MaxUint32))
	}
}

// parseContact keeps what it cannot parse as it is: a later version may be stricter than the one that took the registration.
func parseContact(s string) wire.URI {
	u, err := wire.ParseURI(s)
	if err != nil {
		return wire.URI{Raw: s}
	}
	return u
}

func (r *reader) fail() { r.rest, r.bad = "", true }

func (r *reader) byte() byte {
	if r.rest == "" {
		r.fail()
		return 0
	}
	b := r.rest[0]
	r.rest = r.rest[1:]
	return b
}

// uvarint is binary.Uvarint for a string.
func (r *reader) uvarint() uint64 {
	var x uint64
	for i := range len(r.rest) {
		b := r.rest[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break
		}
		x |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.rest = r.rest[i+1:]
			return x
		}
	}
	r.fail()
	return 0
}

func (r *reader) varint() int64 {
	x := r.uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// count reads a number that must not be above limit.
func (r *reader) count(limit int) int {
	n := r.uvarint()
	if n > uint64(limit) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count(len(r.rest))
	if n > len(r.rest) { // the length itself took the last bytes
		r.fail()
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) addr() (a netip.AddrPort) {
	var buf [math.MaxUint8]byte
	n := int(r.byte())
	if n > len(r.rest) {
		r.fail()
		return a
	}
	copy(buf[:], r.rest[:n])
	r.rest = r.rest[n:]
	if a.UnmarshalBinary(buf[:n]) != nil {
		r.fail()
	}
	return a
}
