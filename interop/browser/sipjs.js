// A page with SIP.js. window.phone is what the tests drive, as in jssip.js.
import {Inviter, Messager, Registerer, RegistererState, SessionState, Subscriber, SubscriptionState, UserAgent, Web} from 'sip.js';
import {Events, Line} from './line.js';

class Phone extends Events {
  async start({url, user, domain, password, hz, register = true, pc = {}, extra = {}}) {
    this.line = new Line(hz);
    this.domain = domain;
    this.ua = new UserAgent({
      uri: UserAgent.makeURI(`sip:${user}@${domain}`),
      authorizationUsername: user, authorizationPassword: password, logLevel: 'error',
      transportOptions: {server: url},
      sessionDescriptionHandlerFactory: Web.defaultSessionDescriptionHandlerFactory(async constraints => this.line.stream({video: Boolean(constraints.video)})),
      sessionDescriptionHandlerFactoryOptions: {iceGatheringTimeout: 1000, peerConnectionConfiguration: {iceServers: [], ...pc}},
      delegate: {
        onConnect: () => this.emit('connected'),
        onDisconnect: error => this.emit('disconnected', {reason: String(error ?? '')}),
        onInvite: invitation => {
          this.session = invitation;
          this.#watch(invitation);
          this.emit('incoming', {from: invitation.request.from.uri.toString(), contact: invitation.request.getHeader('Contact')});
        },
        onMessage: message => {
          message.accept();
          this.emit('message', {from: message.request.from.uri.toString(), text: message.request.body, type: message.request.getHeader('Content-Type')});
        },
      },
      ...extra,
    });
    await this.ua.start();
    if (!register) return;
    this.registerer = new Registerer(this.ua, {expires: 600});
    this.registerer.stateChange.addListener(state => state === RegistererState.Registered && this.emit('registered', {status: 200}));
    await this.registerer.register({requestDelegate: {onReject: r => this.emit('registrationFailed', {cause: r.message.reasonPhrase, status: r.message.statusCode})}});
  }

  #watch(session) {
    session.stateChange.addListener(state => {
      const pc = session.sessionDescriptionHandler?.peerConnection;
      if (pc) this.line.hear(pc);
      if (state === SessionState.Established) this.emit('confirmed');
      if (state === SessionState.Terminated) this.emit('ended', {cause: 'Terminated'});
    });
    session.delegate = {
      onInvite: request => this.emit('reinvite', {body: request.body}),
      onInfo: info => { info.accept(); this.emit('info', {type: info.request.getHeader('Content-Type'), body: info.request.body}); },
    };
  }

  async call(target, {video = false} = {}) {
    this.session = new Inviter(this.ua, UserAgent.makeURI(target), {sessionDescriptionHandlerOptions: {constraints: {audio: true, video}}});
    this.#watch(this.session);
    await this.session.invite({requestDelegate: {
      onProgress: r => this.emit('progress', {status: r.message.statusCode}),
      onAccept: () => this.emit('accepted'),
      onReject: r => this.emit('failed', {cause: r.message.reasonPhrase, status: r.message.statusCode}),
    }});
  }

  answer({video = false} = {}) { return this.session.accept({sessionDescriptionHandlerOptions: {constraints: {audio: true, video}}}); }
  reject(status) { return this.session.reject({statusCode: status}); }

  hangup() {
    switch (this.session.state) {
      case SessionState.Established: return this.session.bye();
      case SessionState.Initial:
      case SessionState.Establishing: return this.session instanceof Inviter ? this.session.cancel() : this.session.reject();
    }
  }

  #hold(hold) {
    return new Promise((done, fail) => {
      this.session.sessionDescriptionHandlerOptionsReInvite = {hold};
      this.session.invite({requestDelegate: {onAccept: () => done(true), onReject: r => fail(new Error(String(r.message.statusCode)))}});
    });
  }

  hold() { return this.#hold(true); }
  unhold() { return this.#hold(false); }

  // dtmf sends tones by INFO, or in the audio (RFC 4733).
  async dtmf(tones, transport = 'INFO') {
    if (transport !== 'INFO') return this.session.sessionDescriptionHandler.sendDtmf(tones);
    for (const tone of tones) {
      await this.session.info({requestOptions: {body: {contentDisposition: 'render', contentType: 'application/dtmf-relay', content: `Signal=${tone}\r\nDuration=100`}}});
    }
  }

  // message resolves with the status of the answer.
  message(target, text) {
    return new Promise(done => new Messager(this.ua, UserAgent.makeURI(target), text).message({requestDelegate: {
      onAccept: r => done(r.message.statusCode), onReject: r => done(r.message.statusCode),
    }}));
  }

  // watch subscribes to the registrations of target (RFC 3680).
  async watch(target) {
    this.watched = new Subscriber(this.ua, UserAgent.makeURI(target), 'reg', {expires: 600, extraHeaders: ['Accept: application/reginfo+xml']});
    let reason = '';
    this.watched.delegate = {onNotify: n => {
      n.accept();
      const [, final] = /^terminated;reason=(.*)/.exec(n.request.getHeader('Subscription-State')) ?? [];
      reason = final ?? '';
      this.emit('notify', {final: final !== undefined, body: n.request.body});
    }};
    this.watched.stateChange.addListener(state => state === SubscriptionState.Terminated && this.emit('unwatched', {reason}));
    await this.watched.subscribe();
  }

  unwatch() { return this.watched.unsubscribe(); }

  stop() { return this.ua.stop(); }
  audio() { return this.line.audio(); }
}

window.phone = new Phone();
