package turn

import (
	"encoding/binary"
	"net/netip"

	"github.com/pion/stun/v4"
)

// Attributes that package stun has no name for (RFC 8656, 18).
const (
	attrAdditionalFamily stun.AttrType = 0x8000
	attrAddressErrorCode stun.AttrType = 0x8001
	attrICMP             stun.AttrType = 0x8004
)

// Address families, as REQUESTED-ADDRESS-FAMILY and addresses have them (RFC 8489, 14.1).
const (
	familyIPv4 = 1
	familyIPv6 = 2
)

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}

// understood tells whether we know what an attribute means, or need not (RFC 8489, 14). DONT-FRAGMENT is one that we know (RFC 8656, 7.2 step 4).
func understood(t stun.AttrType) bool {
	switch t {
	case stun.AttrUsername, stun.AttrMessageIntegrity, stun.AttrRealm, stun.AttrNonce, stun.AttrMappedAddress, stun.AttrXORMappedAddress, stun.AttrErrorCode,
		stun.AttrUnknownAttributes, stun.AttrChannelNumber, stun.AttrLifetime, stun.AttrXORPeerAddress, stun.AttrData, stun.AttrXORRelayedAddress,
		stun.AttrRequestedAddressFamily, stun.AttrEvenPort, stun.AttrRequestedTransport, stun.AttrReservationToken, stun.AttrDontFragment:
		return true
	}
	return t.Optional()
}

// foreign lists what is not understood.
func foreign(m *stun.Message) (list stun.UnknownAttributes) {
	for _, a := range m.Attributes {
		if !understood(a.Type) && len(list) < maxUnknown {
			list = append(list, a.Type)
		}
	}
	return list
}

// decode reads a frame that classify has let through. What stands behind the signature is not signed: it is dropped (RFC 8489, 14.5).
func decode(b []byte) (*stun.Message, error) {
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if err := m.Decode(); err != nil {
		return nil, err
	}
	for i, a := range m.Attributes {
		if a.Type == stun.AttrMessageIntegrity {
			m.Attributes = m.Attributes[:i+1]
			break
		}
	}
	return m, nil
}

// valueOf is an attribute's value; ok is false if it is there and has another length.
func valueOf(m *stun.Message, t stun.AttrType, length int) (v []byte, ok bool) {
	a, there := m.Attributes.Get(t)
	if !there {
		return nil, true
	}
	return a.Value, len(a.Value) == length
}

// readAddress reads an address as it is spelt: one that is mapped into IPv6 stays so (RFC 8489, 14.2).
func readAddress(v []byte, id [stun.TransactionIDSize]byte) (at netip.AddrPort, ok bool) {
	if len(v) < 4 {
		return at, false
	}
	addr, ok := netip.AddrFromSlice(v[4:])
	if !ok || v[1] != familyOf(addr) {
		return at, false
	}
	return netip.AddrPortFrom(mask(addr, id), binary.BigEndian.Uint16(v[2:])^magicCookie>>16), true
}

// mask hides an address under the magic cookie and the transaction; masked twice it is itself.
func mask(a netip.Addr, id [stun.TransactionIDSize]byte) netip.Addr {
	if a.Is4() {
		b := a.As4()
		binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])^magicCookie)
		return netip.AddrFrom4(b)
	}
	b := a.As16()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])^magicCookie)
	for i, c := range id {
		b[4+i] ^= c
	}
	return netip.AddrFrom16(b)
}

// appendAddress writes the value that readAddress reads.
func appendAddress(b []byte, at netip.AddrPort, id [stun.TransactionIDSize]byte) []byte {
	b = append(b, 0, familyOf(at.Addr()))
	b = binary.BigEndian.AppendUint16(b, at.Port()^magicCookie>>16)
	return append(b, mask(at.Addr(), id).AsSlice()...)
}

// address is an attribute that holds one.
type address struct {
	of stun.AttrType
	at netip.AddrPort
}

func (a address) AddTo(m *stun.Message) error {
	m.Add(a.of, appendAddress(nil, a.at, m.TransactionID))
	return nil
}

// plainValue is an attribute as it stands.
type plainValue struct {
	of    stun.AttrType
	value []byte
}

func (a plainValue) AddTo(m *stun.Message) error {
	m.Add(a.of, a.value)
	return nil
}

// number is an attribute of 32 bits.
func number(of stun.AttrType, n uint32) plainValue {
	return plainValue{of, binary.BigEndian.AppendUint32(nil, n)}
}

const dataIndication = uint16(0x0017) // method Data, class indication (RFC 8656, 17)

// indicationRoom is what stands before the data of a Data indication at most: header, XOR-PEER-ADDRESS of IPv6, and the head of DATA.
const indicationRoom = stunHeader + 4 + 20 + 4

// putIndication writes a Data indication (RFC 8656, 11.3) around n bytes of data that stand at the end of b, and returns where in b it begins. Room for padding is behind b.
// Its transaction is never answered, so that any will do.
func putIndication(b []byte, n int, peer netip.AddrPort, id [stun.TransactionIDSize]byte) []byte {
	size := 4 + len(peer.Addr().AsSlice())
	padded := (n + 3) &^ 3
	start := len(b) - n - stunHeader - 4 - size - 4
	out := b[start : len(b)+padded-n]
	clear(out[len(b)-start:])
	binary.BigEndian.PutUint16(out, dataIndication)
	binary.BigEndian.PutUint16(out[2:], uint16(4+size+4+padded))
	binary.BigEndian.PutUint32(out[4:], magicCookie)
	copy(out[8:], id[:])
	at := out[stunHeader:]
	binary.BigEndian.PutUint16(at, uint16(stun.AttrXORPeerAddress))
	binary.BigEndian.PutUint16(at[2:], uint16(size))
	appendAddress(at[4:4], peer, id)
	at = at[4+size:]
	binary.BigEndian.PutUint16(at, uint16(stun.AttrData))
	binary.BigEndian.PutUint16(at[2:], uint16(n))
	return out
}

// readSend reads a Send indication without decoding it whole: it is how media go until a channel is bound. What must be understood and is not spoils it
// (RFC 8656, 11.2). whole says that the datagram may not be fragmented (RFC 8656, 18.9).
func readSend(b []byte) (peer netip.AddrPort, data []byte, whole, ok bool) {
	id := [stun.TransactionIDSize]byte(b[8:stunHeader])
	var hasPeer, hasData bool
	for rest := b[stunHeader:]; len(rest) >= 4; {
		t, n := stun.AttrType(binary.BigEndian.Uint16(rest)), int(binary.BigEndian.Uint16(rest[2:]))
		v := rest[4 : 4+n]
		switch {
		case t == stun.AttrXORPeerAddress && !hasPeer:
			if peer, hasPeer = readAddress(v, id); !hasPeer {
				return peer, nil, false, false
			}
		case t == stun.AttrData && !hasData:
			data, hasData = v, true
		case t == stun.AttrDontFragment:
			whole = true
		case !understood(t):
			return peer, nil, false, false
		}
		rest = rest[4+(n+3)&^3:]
	}
	return peer, data, whole, hasPeer && hasData
}
