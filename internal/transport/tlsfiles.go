package transport

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookEvery is how often the files are looked at, at most: a renewed certificate is in use within a second, and a flood of handshakes does not become a flood
// of stat calls.
const lookEvery = time.Second

// CertFiles serves a certificate and key from two PEM files and reads them again when they change. A pair that cannot be read or does not match (one of
// the two is written first) leaves the old one in use.
type CertFiles struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu      sync.Mutex
	cert    *tls.Certificate
	stamps  [2]stamp // of the files that cert was read from, or that failed last
	looked  time.Time
	failing bool
}

// stamp tells one state of a file from another.
type stamp struct {
	size     int64
	modified time.Time
}

// NewCertFiles reads the pair for the first time.
func NewCertFiles(certFile, keyFile string, log *slog.Logger) (*CertFiles, error) {
	f := &CertFiles{certFile: certFile, keyFile: keyFile, log: log, now: time.Now}
	stamps, err := f.stat()
	if err != nil {
		return nil, fmt.Errorf("transport: %w", err)
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("transport: certificate %s, key %s: %w", certFile, keyFile, err)
	}
	f.cert, f.stamps, f.looked = &cert, stamps, f.now()
	return f, nil
}

// Certificate is for Config.Certificate.
func (f *CertFiles) Certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := f.now(); now.Sub(f.looked) >= lookEvery || now.Before(f.looked) {
		f.looked = now
		f.refresh()
	}
	return f.cert, nil
}

// refresh reads the files again if they are not as they were.
func (f *CertFiles) refresh() {
	stamps, err := f.stat()
	if err == nil {
		if stamps == f.stamps {
			return
		}
		var cert tls.Certificate
		if cert, err = tls.LoadX509KeyPair(f.certFile, f.keyFile); err == nil {
			f.cert, f.failing = &cert, false
			f.log.Info("certificate read again", "file", f.certFile, "until", cert.Leaf.NotAfter)
		}
		f.stamps = stamps
	} else {
		f.stamps = [2]stamp{} // when the files are back they are read, whatever they are
	}
	if err != nil && !f.failing {
		f.failing = true
		f.log.Error("certificate cannot be read, the old one stays in use", "file", f.certFile, "error", err)
	}
}

func (f *CertFiles) stat() (s [2]stamp, err error) {
	for i, name := range []string{f.certFile, f.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return s, err
		}
		s[i] = stamp{info.Size(), info.ModTime()}
	}
	return s, nil
}
