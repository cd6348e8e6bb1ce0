package sdp

// A description comes from anybody who may call.
const (
	// maxSize is four times what a browser with video, simulcast and many candidates sends.
	maxSize = 32 << 10

	// maxMedia is what a conference page offers at most; each may cost two ports.
	maxMedia = 8

	// maxCodecs of one medium: payload types have seven bits, Chromium offers about 50 for video.
	maxCodecs = 96

	// maxFeedback values of one format; there are about ten in use.
	maxFeedback = 16

	// maxCrypto lines of one medium: there are about ten suites.
	maxCrypto = 16
)
