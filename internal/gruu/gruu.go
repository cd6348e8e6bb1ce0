package gruu

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"strings"
	"sync"

	"signalbox/internal/wire"
)

// ID stands for an instance of one address-of-record. It says nothing about the instance to whoever has not the key.
type ID [idSize]byte

// Target is what a GRUU leads to: the bindings of AOR whose instance has this ID and, if it is a temporary one, this epoch.
type Target struct {
	AOR       wire.AOR
	ID        ID
	Temporary bool
	Epoch     uint32
}

// Maker makes and opens GRUUs. Safe for concurrent use.
type Maker struct {
	macs  sync.Pool // of *keyed
	block cipher.Block
}

// keyed is a keyed hash, AES-CMAC (NIST SP 800-38B), and the room it works in. The three of a Contact's two GRUUs cost less than one HMAC.
type keyed struct {
	block      cipher.Block
	whole, cut [aes.BlockSize]byte // K1 and K2: go into the last block, as it is full or not
	text       []byte
	sum        [aes.BlockSize]byte

	counter, stream [ivSize]byte
}

func newKeyed(key []byte) (*keyed, error) {
	k := &keyed{text: make([]byte, 0, 256)}
	var err error
	if k.block, err = aes.NewCipher(key); err != nil {
		return nil, err
	}
	k.block.Encrypt(k.whole[:], k.whole[:])
	double(&k.whole)
	k.cut = k.whole
	double(&k.cut)
	return k, nil
}

// double is multiplication by x in the field of 2^128 elements.
func double(b *[aes.BlockSize]byte) {
	carry := b[0] >> 7
	for i := range b {
		b[i] <<= 1
		if i+1 < len(b) {
			b[i] |= b[i+1] >> 7
		}
	}
	b[len(b)-1] ^= carry * 0x87
}

// cmac hashes the text into the sum.
func (k *keyed) cmac() {
	text := k.text
	k.sum = [aes.BlockSize]byte{}
	for ; len(text) > aes.BlockSize; text = text[aes.BlockSize:] {
		subtle.XORBytes(k.sum[:], k.sum[:], text[:aes.BlockSize])
		k.block.Encrypt(k.sum[:], k.sum[:])
	}
	last := &k.whole
	if len(text) < aes.BlockSize {
		last = &k.cut
		k.sum[len(text)] ^= 0x80
	}
	subtle.XORBytes(k.sum[:], k.sum[:], text)
	subtle.XORBytes(k.sum[:], k.sum[:], last[:])
	k.block.Encrypt(k.sum[:], k.sum[:])
}

// Base 32, because a URI parameter is compared without case (RFC 3261, 19.1.4). The user part is compared with it: wire.UserText.
var params = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const (
	publicSize = idSize + sealSize
	plainSize  = 1 + maxUser + idSize + epochSize + stampSize
	sealedSize = ivSize + plainSize
)

// New makes a Maker. The key is 32 random bytes or more; with another key all GRUUs are others.
func New(key []byte) (*Maker, error) {
	if len(key) < 32 {
		return nil, errors.New("gruu: the key needs at least 32 bytes")
	}
	m := &Maker{}
	signing, err := newKeyed(derive(key, "sign")[:16])
	if err != nil {
		return nil, err
	}
	m.macs.New = func() any {
		k := *signing
		k.text = make([]byte, 0, 256)
		return &k
	}
	m.block, err = aes.NewCipher(derive(key, "seal")[:16])
	return m, err
}

func derive(key []byte, purpose string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("gruu " + purpose))
	return h.Sum(nil)
}

// mac fills out with the signature over the texts, which purpose keeps apart from others.
func (k *keyed) mac(out []byte, purpose byte, texts ...string) {
	k.text = append(k.text[:0], purpose)
	for _, s := range texts {
		k.text = binary.BigEndian.AppendUint16(k.text, uint16(len(s)))
		k.text = append(k.text, s...)
	}
	k.cmac()
	copy(out, k.sum[:])
}

// ID of an instance, which is written in its canonical form.
func (m *Maker) ID(aor wire.AOR, instance string) (id ID) {
	k := m.macs.Get().(*keyed)
	defer m.macs.Put(k)
	return k.id(aor, instance)
}

func (k *keyed) id(aor wire.AOR, instance string) (id ID) {
	k.mac(id[:], 'i', aor.User, aor.Host, instance)
	return id
}

// AppendPublic appends the public GRUU of an instance. It is always the same one: its owner is known as long as the address-of-record is.
// RFC 5627, 5.1
func (m *Maker) AppendPublic(dst []byte, aor wire.AOR, instance string) []byte {
	k := m.macs.Get().(*keyed)
	defer m.macs.Put(k)
	return k.appendPublic(dst, aor, k.id(aor, instance))
}

// AppendTemporary appends a temporary GRUU of an instance, another one for each stamp. There is none for an address-of-record with a very long
// name: ok is false. RFC 5627, 5.1
func (m *Maker) AppendTemporary(dst []byte, aor wire.AOR, instance string, epoch uint32, stamp uint64) (gruu []byte, ok bool) {
	k := m.macs.Get().(*keyed)
	defer m.macs.Put(k)
	return m.appendTemporary(k, dst, aor, k.id(aor, instance), epoch, stamp)
}

// AppendParams appends both as parameters of the instance's Contact; a temporary one only where there is one. RFC 5627, 5.2
func (m *Maker) AppendParams(dst []byte, aor wire.AOR, instance string, epoch uint32, stamp uint64) []byte {
	k := m.macs.Get().(*keyed)
	defer m.macs.Put(k)
	id := k.id(aor, instance)
	dst = append(k.appendPublic(append(dst, `;pub-gruu="`...), aor, id), '"')
	if gruu, ok := m.appendTemporary(k, append(dst, `;temp-gruu="`...), aor, id, epoch, stamp); ok {
		dst = append(gruu, '"')
	}
	return dst
}

func (k *keyed) appendPublic(dst []byte, aor wire.AOR, id ID) []byte {
	var raw [publicSize]byte
	copy(raw[:], id[:])
	k.mac(raw[idSize:], 'p', aor.User, aor.Host, string(id[:]))
	dst = append(aor.Append(dst), ";gr="...)
	return params.AppendEncode(dst, raw[:])
}

func (m *Maker) appendTemporary(k *keyed, dst []byte, aor wire.AOR, id ID, epoch uint32, stamp uint64) (gruu []byte, ok bool) {
	if len(aor.User) > maxUser {
		return dst, false
	}
	var raw [sealedSize]byte
	plain := raw[ivSize:]
	plain[0] = byte(len(aor.User))
	copy(plain[1:], aor.User)
	rest := plain[1+maxUser:]
	copy(rest, id[:])
	binary.BigEndian.PutUint32(rest[idSize:], epoch)
	binary.BigEndian.PutUint64(rest[idSize+epochSize:], stamp)
	// The signature is the initialisation vector: what is equal in any two of them cannot be seen, and none is ever used for two texts.
	k.mac(raw[:ivSize], 't', aor.Host, string(plain))
	m.cover(k, plain, raw[:ivSize])
	dst = append(dst, "sip:"...)
	dst = wire.UserText.AppendEncode(dst, raw[:])
	dst = append(append(dst, '@'), aor.Host...)
	return append(dst, ";gr"...), true
}

// cover encrypts, and decrypts: counter mode, without the kilobyte that crypto/cipher allocates for it.
func (m *Maker) cover(k *keyed, b, iv []byte) {
	for i := byte(0); len(b) > 0; i++ {
		copy(k.counter[:], iv)
		k.counter[ivSize-1] ^= i
		m.block.Encrypt(k.stream[:], k.counter[:])
		b = b[subtle.XORBytes(b, b, k.stream[:]):]
	}
}

// Is tells a URI that claims to be a GRUU.
func Is(u wire.URI) bool {
	if u.Params == "" {
		return false
	}
	_, ok := u.Param("gr")
	return ok
}

// Open reads a GRUU in one of our domains: aor is its canonical user and host. ok is false for one that we have not made.
func (m *Maker) Open(u wire.URI, aor wire.AOR) (t Target, ok bool) {
	if gr, _ := u.Param("gr"); gr != "" {
		return m.openPublic(gr, aor)
	}
	return m.openTemporary(aor)
}

func (m *Maker) openPublic(gr string, aor wire.AOR) (t Target, ok bool) {
	var raw [publicSize]byte
	if len(gr) != params.EncodedLen(publicSize) {
		return t, false
	}
	if _, err := params.Decode(raw[:], []byte(strings.ToLower(gr))); err != nil {
		return t, false
	}
	k := m.macs.Get().(*keyed)
	defer m.macs.Put(k)
	var want [sealSize]byte
	k.mac(want[:], 'p', aor.User, aor.Host, string(raw[:idSize]))
	return Target{AOR: aor, ID: ID(raw[:idSize])}, subtle.ConstantTimeCompare(want[:], raw[idSize:]) == 1
}

func (m *Maker) openTemporary(aor wire.AOR) (t Target, ok bool) {
	var raw [sealedSize]byte
	if len(aor.User) != wire.UserText.EncodedLen(sealedSize) {
		return t, false
	}
	if _, err := wire.UserText.Decode(raw[:], []byte(aor.User)); err != nil {
		return t, false
	}
	k := m.macs.Get().(*keyed)
	defer m.macs.Put(k)
	plain := raw[ivSize:]
	m.cover(k, plain, raw[:ivSize])
	var want [ivSize]byte
	k.mac(want[:], 't', aor.Host, string(plain))
	if subtle.ConstantTimeCompare(want[:], raw[:ivSize]) != 1 || plain[0] > maxUser {
		return t, false
	}
	rest := plain[1+maxUser:]
	return Target{
		AOR: wire.AOR{User: string(plain[1 : 1+plain[0]]), Host: aor.Host}, ID: ID(rest[:idSize]),
		Temporary: true, Epoch: binary.BigEndian.Uint32(rest[idSize:]),
	}, true
}
