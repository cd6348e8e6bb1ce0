// Line is a SIP account that is connected: it calls, is called, and chats. What happens is told by events; its fields are what is shown.
import JsSIP from 'jssip';
import {iceServers} from './account.js';
import * as audio from './audio.js';
import {grade, quality} from './stats.js';
import * as words from './words.js';

JsSIP.debug.disable();

// How long a call waits for more ways to be found: for any, and once a relay is there; one over UDP is the best there is.
const gather = {any: 1200, relay: 400, udp: 100};

export class Line extends EventTarget {
  state = 'connecting'; // connecting, ready, failed
  trouble = '';
  call = null; // {who, name, direction, state: calling|ringing|incoming|up|ended, held, heldByOther, muted, since, quality, grade, trouble}
  chats = new Map(); // address -> [{text, mine, at, state}]
  unread = new Map();
  relayOnly = false;
  #ua;
  #device; // takeDevice's
  #session;
  #negotiating = null; // the session, while hold is being negotiated
  #sound = new Audio();
  #tone = () => {};

  constructor(account, device) {
    super();
    this.account = account;
    this.#device = device;
    this.#sound.autoplay = true;
    const socket = new JsSIP.WebSocketInterface(`${account.origin.replace(/^http/, 'ws')}/sip`);
    this.#ua = new JsSIP.UA({
      sockets: [socket], uri: `sip:${account.user}@${account.domain}`, realm: account.domain, ha1: account.ha1, register_expires: 600, instance_id: device.instance,
      user_agent: 'Signalbox phone', no_answer_timeout: 60, connection_recovery_min_interval: 1, connection_recovery_max_interval: 15,
    });
    this.#ua.on('registered', () => this.#set({state: 'ready', trouble: ''}));
    this.#ua.on('disconnected', () => this.#set({state: 'connecting', trouble: 'The connection to the server was lost. It is tried again by itself.'}));
    this.#ua.on('registrationFailed', e => this.#set({state: 'failed', trouble: words.registrationFailed(e)}));
    this.#ua.on('newRTCSession', ({originator, session, request}) => originator === 'remote' && this.#incoming(session, request));
    this.#ua.on('newMessage', ({originator, request}) => originator === 'remote' && this.#received(request));
  }

  start() { this.#ua.start(); }

  stop() {
    this.#tone();
    this.#ua.stop();
    this.#device.release();
  }

  // address makes a whole address of what somebody typed; null if nothing can be made of it.
  address(typed) {
    const text = typed.trim().replace(/^sips?:/i, '');
    const uri = text && JsSIP.URI.parse(`sip:${text.includes('@') ? text : `${text}@${this.account.domain}`}`);
    return uri?.user ? uri.toAor().replace(/^sip:/, '') : null;
  }

  // name is an address without a domain that is clear anyway.
  name(address) {
    const [user, domain] = address.split('@');
    return domain === this.account.domain ? decodeURIComponent(user) : address;
  }

  // dial calls somebody. The microphone is asked for first: a call nobody can be heard in is none.
  async dial(typed) {
    const who = this.address(typed);
    if (!who) return this.#notice('Type whom to call: a name, or an address such as bob@example.org.');
    if (this.#session) return;
    this.#set({call: {who, name: this.name(who), direction: 'out', state: 'calling', since: 0}});
    const stream = await this.#microphone();
    if (!stream || !this.call) return stream?.getTracks().forEach(t => t.stop());
    const session = this.#ua.call(`sip:${who}`, {mediaStream: stream, pcConfig: await this.#rtc()});
    this.#hold(session, stream);
  }

  async answer() {
    const session = this.#session;
    const stream = await this.#microphone();
    if (!stream || this.#session !== session) return session?.isEnded() === false && session.terminate({status_code: 480});
    this.#stream = stream;
    session.answer({mediaStream: stream, pcConfig: await this.#rtc()});
  }

  hangup() {
    this.#tone();
    if (this.#session && !this.#session.isEnded()) {
      this.#change({declined: this.call?.state === 'incoming'});
      this.#session.terminate(this.call?.state === 'incoming' ? {status_code: 603} : {});
    } else {
      this.#set({call: null});
    }
  }

  // dismiss takes the last call off the screen.
  dismiss() { if (this.call?.state === 'ended') this.#set({call: null}); }

  mute(on) {
    if (on) this.#session.mute({audio: true});
    else this.#session.unmute({audio: true});
    this.#change({muted: on});
  }

  hold(on) {
    this.#change({held: on});
    this.#negotiateHold(this.#session);
  }

  // One negotiation at a time: what is pressed meanwhile waits for its end. JsSIP would begin another.
  #negotiateHold(session) {
    if (!session || session !== this.#session || session === this.#negotiating || session.isOnHold().local === this.call.held) return;
    const again = () => { this.#negotiating = null; this.#negotiateHold(session); };
    if (this.call.held ? session.hold({}, again) : session.unhold({}, again)) this.#negotiating = session;
    else setTimeout(() => this.#negotiateHold(session), 100); // the other side is at it
  }

  digit(key) {
    audio.key(key);
    const sender = this.#session.connection?.getSenders().find(s => s.dtmf);
    this.#session.sendDTMF(key, sender?.dtmf.canInsertDTMF ? {transportType: 'RFC2833', duration: 120} : {});
    this.#change({digits: (this.call.digits ?? '') + key});
  }

  send(to, text) {
    const who = this.address(to);
    if (!who || !text.trim()) return null;
    const message = {text: text.trim(), mine: true, at: new Date(), state: 'sending'};
    this.#chat(who).push(message);
    this.#ua.sendMessage(`sip:${who}`, message.text, {
      contentType: 'text/plain;charset=UTF-8',
      eventHandlers: {
        succeeded: () => { message.state = 'sent'; this.#changed(); },
        failed: e => { message.state = words.messageFailed(e, this.name(who)); this.#changed(); },
      },
    });
    this.#changed();
    return who;
  }

  read(who) {
    if (this.unread.delete(who)) this.#changed();
  }

  // useDevices brings a running call to the chosen devices.
  async useDevices() {
    audio.speak(this.#sound, audio.devices().speaker);
    if (!this.#session?.connection || !this.#stream) return;
    const stream = await audio.microphone().catch(() => null);
    const [track] = stream?.getAudioTracks() ?? [];
    const sender = this.#session.connection.getSenders().find(s => s.track?.kind === 'audio' || s.dtmf);
    if (!track || !sender) return;
    track.enabled = !this.call.muted;
    this.#stream.getTracks().forEach(t => t.stop());
    this.#stream = stream;
    await sender.replaceTrack(track);
  }

  #stream = null;

  async #microphone() {
    try {
      return await audio.microphone();
    } catch (error) {
      this.#change({state: 'ended', trouble: words.noMicrophone(error), insecure: !window.isSecureContext});
      return null;
    }
  }

  async #rtc() {
    // Without relays most calls work; a call is not lost for want of them.
    const servers = await iceServers(this.account).catch(() => null);
    return {iceServers: servers ?? [], iceTransportPolicy: this.relayOnly ? 'relay' : 'all'};
  }

  #incoming(session, request) {
    if (this.#session) return session.terminate({status_code: 486});
    const who = request.from.uri.toAor().replace(/^sip:/, '');
    this.#set({call: {who, name: request.from.display_name || this.name(who), direction: 'in', state: 'incoming', since: 0}});
    this.#hold(session, null);
    this.#tone = audio.ringing();
  }

  #hold(session, stream) {
    this.#session = session;
    this.#stream = stream;
    if (session.connection) this.#wire(session.connection);
    session.on('peerconnection', e => this.#wire(e.peerconnection));
    let waiting;
    session.on('icecandidate', ({candidate, ready}) => {
      const relay = candidate.type === 'relay' || / typ relay /.test(candidate.candidate);
      if (!waiting || relay) setTimeout(ready, relay ? gather[candidate.relayProtocol] ?? gather.relay : gather.any);
      waiting = true;
    });
    session.on('progress', e => {
      if (e.originator !== 'remote' || this.call.state === 'up') return;
      this.#tone();
      // With early media the other side makes its own sound.
      this.#tone = e.response?.body ? () => {} : audio.ringback();
      this.#change({state: 'ringing'});
    });
    session.on('accepted', () => {
      this.#tone();
      this.#tone = () => {};
      this.#change({state: 'up', since: Date.now()});
      this.#measure(session);
    });
    session.on('hold', e => e.originator === 'remote' && this.#change({heldByOther: true}));
    session.on('unhold', e => e.originator === 'remote' && this.#change({heldByOther: false}));
    session.on('newDTMF', e => e.originator === 'remote' && this.#notice(`${this.call.name} pressed ${e.dtmf.tone}.`));
    session.on('ended', e => this.#over(e));
    session.on('failed', e => this.#over(e));
  }

  #wire(connection) {
    connection.addEventListener('track', ({track, streams}) => {
      if (track.kind !== 'audio') return;
      this.#sound.srcObject = streams[0] ?? new MediaStream([track]);
      audio.speak(this.#sound, audio.devices().speaker);
      this.#sound.play().catch(() => {});
    });
    connection.addEventListener('iceconnectionstatechange', () => {
      const lost = connection.iceConnectionState === 'disconnected' || connection.iceConnectionState === 'failed';
      if (this.call?.state === 'up') this.#change({cut: lost});
    });
  }

  // measure looks at the connection every second as long as the call is up.
  async #measure(session) {
    let before = null;
    while (this.#session === session && !session.isEnded()) {
      const q = await quality(session.connection, before).catch(() => null);
      if (q && this.#session === session) {
        const held = this.call.held || this.call.heldByOther;
        this.#change({quality: q, grade: held ? '' : grade(q)});
        before = q;
      }
      await new Promise(resolve => setTimeout(resolve, 1000));
    }
  }

  #over(event) {
    this.#tone();
    const call = this.call;
    this.#stream?.getTracks().forEach(t => t.stop());
    this.#session = this.#stream = null;
    this.#sound.srcObject = null;
    if (!call) return;
    if (call.state === 'up') audio.ended();
    this.#change({state: 'ended', trouble: words.callEnded(event, call.name, call.state === 'up'), lasted: call.since ? Date.now() - call.since : 0});
    this.dispatchEvent(new CustomEvent('over', {detail: call}));
  }

  #received(request) {
    const who = request.from.uri.toAor().replace(/^sip:/, '');
    if (!/^text\/plain/i.test(request.getHeader('Content-Type') ?? 'text/plain') || !request.body) return;
    this.#chat(who).push({text: request.body, mine: false, at: new Date(), state: ''});
    this.unread.set(who, (this.unread.get(who) ?? 0) + 1);
    audio.arrived();
    this.dispatchEvent(new CustomEvent('message', {detail: who}));
    this.#changed();
  }

  #chat(who) {
    if (!this.chats.has(who)) this.chats.set(who, []);
    return this.chats.get(who);
  }

  #change(values) { if (this.call) this.#set({call: {...this.call, ...values}}); }

  #set(values) {
    Object.assign(this, values);
    this.#changed();
  }

  #notice(text) { this.dispatchEvent(new CustomEvent('notice', {detail: text})); }
  #changed() { this.dispatchEvent(new Event('change')); }
}
