// A page with JsSIP. window.phone is what the tests drive.
import JsSIP from 'jssip';
import {Events, Line} from './line.js';

class Phone extends Events {
  texts = [];
  descriptions = []; // every SDP that went out or came in: {originator, type, sdp}

  start({url, user, domain, password, hz, register = true, pc = {}, extra = {}, token = false}) {
    this.line = new Line(hz);
    this.pc = {iceServers: [], ...pc};
    this.ua = new JsSIP.UA({
      sockets: [new JsSIP.WebSocketInterface(url)], uri: `sip:${user}@${domain}`, password, register, register_expires: 600,
      connection_recovery_min_interval: 1, connection_recovery_max_interval: 2, ...extra,
    });
    this.ua.on('connected', () => this.emit('connected'));
    this.ua.on('disconnected', e => this.emit('disconnected', {code: e.code, reason: e.reason}));
    this.ua.on('registered', e => this.emit('registered', {status: e.response.status_code, token: e.response.getHeader('Session-Token')}));
    this.ua.on('registrationFailed', e => this.emit('registrationFailed', {cause: e.cause, status: e.response?.status_code ?? 0}));
    this.ua.on('newMessage', ({originator, message, request}) => {
      if (originator === 'remote') this.emit('message', {from: request.from.uri.toString(), text: request.body, type: request.getHeader('Content-Type')});
    });
    this.ua.on('newRTCSession', ({originator, session, request}) => {
      this.#watch(session);
      if (originator === 'remote') {
        this.session = session;
        this.emit('incoming', {from: request.from.uri.toString(), contact: request.getHeader('Contact')});
      }
    });
    if (token) this.ua.registrator().setExtraHeaders(['Supported: session-token']);
    this.ua.start();
  }

  #watch(session) {
    const hear = pc => { this.line.hear(pc); };
    if (session.connection) hear(session.connection);
    session.on('peerconnection', e => hear(e.peerconnection));
    session.on('sdp', e => this.descriptions.push({originator: e.originator, type: e.type, sdp: e.sdp}));
    session.on('progress', e => this.emit('progress', {status: e.response?.status_code ?? 0}));
    session.on('accepted', () => this.emit('accepted'));
    session.on('confirmed', () => this.emit('confirmed'));
    session.on('ended', e => this.emit('ended', {cause: e.cause, originator: e.originator}));
    session.on('failed', e => this.emit('failed', {cause: e.cause, originator: e.originator, status: e.message?.status_code ?? 0}));
    session.on('hold', e => this.emit('hold', {originator: e.originator}));
    session.on('unhold', e => this.emit('unhold', {originator: e.originator}));
    session.on('newDTMF', e => e.originator === 'remote' && this.emit('dtmf', {tone: e.dtmf.tone}));
    session.on('newInfo', e => e.originator === 'remote' && this.emit('info', {type: e.info.contentType, body: e.info.body}));
    session.on('peerconnection:setremotedescriptionfailed', error => this.emit('broken', String(error)));
  }

  call(target, {video = false} = {}) {
    this.session = this.ua.call(target, {mediaStream: this.line.stream({video}), pcConfig: this.pc});
  }

  answer({video = false} = {}) { this.session.answer({mediaStream: this.line.stream({video}), pcConfig: this.pc}); }
  reject(status) { this.session.terminate({status_code: status}); }
  hangup() { this.session.terminate(); }
  hold() { return new Promise(done => this.session.hold({}, () => done(true))); }
  unhold() { return new Promise(done => this.session.unhold({}, () => done(true))); }
  dtmf(tones, transportType = 'INFO') { this.session.sendDTMF(tones, {transportType}); }

  // message resolves with the status of the answer.
  message(target, text) {
    return new Promise(done => this.ua.sendMessage(target, text, {
      eventHandlers: {succeeded: e => done(e.response.status_code), failed: e => done(e.response?.status_code ?? 0)},
    }));
  }

  // watch subscribes to the registrations of target (RFC 3680).
  watch(target) {
    this.watched = this.ua.subscribe(target, 'reg', 'application/reginfo+xml', {expires: 600});
    this.watched.on('notify', (final, request, body) => this.emit('notify', {final, body}));
    this.watched.on('terminated', (code, reason) => this.emit('unwatched', {reason: String(reason)}));
    this.watched.subscribe();
  }

  unwatch() { this.watched.terminate(); }

  stop() { this.ua.stop(); }
  audio() { return this.line.audio(); }
  pictures() { return this.line.pictures(); }
}

window.phone = new Phone();
