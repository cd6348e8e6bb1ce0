package gruu

const (
	// idSize is the length in bytes of what stands for an instance: 64 bits among the ten instances of one address-of-record.
	idSize = 8

	// sealSize is the length of a public GRUU's signature, 56 bits: guessing one takes 2^55 requests, and gains an address that answers 480.
	sealSize = 7

	// ivSize is the length of a temporary GRUU's signature, which is its initialisation vector too.
	ivSize = 16

	// maxUser is the longest user name a temporary GRUU is made for. All have the same length, which so says nothing of the name.
	maxUser = 40

	// stampSize and epochSize are those of the numbers in a temporary GRUU.
	stampSize, epochSize = 8, 4
)
