package messages

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"

	"signalbox/internal/wire"
	"signalbox/media"
)

// session is a page with its channel. But for the fields of the second group all belong to the goroutine of run.
type session struct {
	g     *Gateway
	page  Page
	flow  *flow
	began time.Time
	pc    *webrtc.PeerConnection
	place *media.Guest

	taken  atomic.Bool  // the page has opened its channel
	opened chan channel // gets it
	frames chan []byte  // what the page says
	stop   chan struct{}
	once   sync.Once
	why    string // it ended

	channel  channel
	pending  map[string]pending // by the branch of our requests
	credit   time.Time          // up to when the page has used its rate
	host     string             // of our Contact and Via
	callID   string             // of our REGISTERs
	cseq     uint32
	expires  time.Duration // that we ask for
	reached  bool          // we are registered
	register time.Time     // when the next REGISTER is due; zero: never
	asked    bool          // a REGISTER awaits its response
}

// pending is a request that awaits its final response.
type pending struct {
	id       string // the page's; a REGISTER has none
	register bool
	until    time.Time
}

func newSession(g *Gateway, p Page, id wire.FlowID) *session {
	return &session{
		g: g, page: p, flow: newFlow(id), began: time.Now(), opened: make(chan channel, 1), frames: make(chan []byte), stop: make(chan struct{}),
		pending: map[string]pending{}, expires: expires, callID: wire.NewTag() + wire.NewTag(),
		host: strings.ToLower(wire.NewTag()) + ".invalid", // RFC 7118, 5
	}
}

// end makes run return. It never waits.
func (s *session) end(why string) {
	s.once.Do(func() {
		s.why = why
		close(s.stop)
	})
}

// run is the life of a session.
func (s *session) run() {
	defer s.finish()
	opening := time.NewTimer(s.g.times.open)
	defer opening.Stop()
	select {
	case s.channel = <-s.opened:
	case <-opening.C:
		s.end("the channel was not opened in time")
		return
	case <-s.stop:
		return
	}
	reader := make(chan struct{})
	go func() {
		defer close(reader)
		s.read()
	}()
	defer func() { // the reader ends with its channel
		s.flow.close()
		s.hangUp()
		<-reader
	}()
	s.g.log.Debug("messages: page has opened its channel", "user", s.page.User.String())
	s.sendRegister(s.expires)
	s.serve()
}

// serve runs one event at a time until the session ends.
func (s *session) serve() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		frames := s.frames
		if s.backlog() { // who does not read is not read
			frames = nil
			again.Reset(tick)
		} else if wait := s.wait(time.Now()); wait > 0 { // SCTP tells the page to be patient
			frames = nil
			again.Reset(wait)
		}
		select {
		case b := <-s.flow.inbox:
			s.receive(b)
		case b := <-frames:
			s.submit(b)
		case now := <-ticker.C:
			s.tick(now)
		case <-again.C:
		case <-s.stop:
			s.leave()
			return
		}
	}
}

// leave takes the registration back, and waits a moment for the answer.
func (s *session) leave() {
	if !s.reached {
		return
	}
	s.sendRegister(0)
	patience := time.NewTimer(leaveTime)
	defer patience.Stop()
	for s.asked {
		select {
		case b := <-s.flow.inbox:
			s.receive(b)
		case <-patience.C:
			return
		}
	}
}

// backlog tells that the page does not read.
func (s *session) backlog() bool { return s.channel.BufferedAmount() > maxBacklog }

// wait is how long the page has to wait for its next frame to be read.
func (s *session) wait(now time.Time) time.Duration {
	return s.credit.Add(-(burst - 1) * pace).Sub(now)
}

// spend counts a frame. What was not used long ago is no credit.
func (s *session) spend(now time.Time) {
	if s.credit.Before(now) {
		s.credit = now
	}
	s.credit = s.credit.Add(pace)
}

// read hands over what the page says.
func (s *session) read() {
	b := make([]byte, maxFrame)
	for {
		n, isText, err := s.channel.ReadDataChannel(b)
		if err != nil { // closed, or a frame that is too long
			s.end("the page has closed the channel: " + err.Error())
			return
		}
		frame := append([]byte(nil), b[:n]...)
		if !isText {
			frame = nil // no JSON
		}
		select {
		case s.frames <- frame:
		case <-s.stop:
			return
		}
	}
}

// tick does what is due.
func (s *session) tick(now time.Time) {
	switch {
	case now.Sub(s.began) > lifetime:
		s.end("the session is over: the password is asked for again")
		return
	case !s.page.Valid():
		s.end("the account has changed")
		return
	}
	for branch, p := range s.pending {
		if now.Before(p.until) {
			continue
		}
		delete(s.pending, branch)
		s.settle(p, 408, "")
	}
	if !s.register.IsZero() && now.After(s.register) && !s.asked {
		s.sendRegister(s.expires)
	}
}

// say sends a frame to the page. What waits is bounded: by maxBacklog, beyond which nothing is taken for the page or from it.
func (s *session) say(v any) bool {
	_, err := s.channel.WriteDataChannel(appendFrame(v), true)
	return err == nil
}

func (s *session) hangUp() {
	if s.pc != nil {
		_ = s.pc.GracefulClose()
	}
}

// finish gives everything back. The flow closes first: the registrar and the transactions hear of it.
func (s *session) finish() {
	s.end("refused")
	s.flow.close()
	s.hangUp()
	if s.place != nil {
		_ = s.place.Close()
	}
	s.g.log.Debug("messages: session ended", "user", s.page.User.String(), "reason", s.why)
	s.g.leave(s)
}
