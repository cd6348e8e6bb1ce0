// The phone page.
import {LitElement, html, nothing} from 'lit';
import {Refused, accountOf, forget, holdAccount, iceServers, inUse, remember, remembered, serverConfig, takeDevice} from './account.js';
import * as audio from './audio.js';
import * as icons from './icons.js';
import {Line} from './line.js';
import './sip-phone.js';
import {chatView} from './view-chat.js';
import {callCard, dialer} from './view-phone.js';
import {insecure, signIn} from './view-signin.js';
import {soundDialog} from './view-sound.js';
import {noMicrophone} from './words.js';

const lineStates = {connecting: 'Connecting …', ready: 'Ready', failed: 'Not connected'};

class Phone extends LitElement {
  config = null;
  line = null;
  problem = null; // of signing in: {message, field}
  busy = false;
  inUse = [];
  notice = '';
  keypadOpen = false;
  partner = null; // of the open chat
  view = 'phone'; // or chat, where there is room for one only
  atEnd = true; // of the open chat
  known = []; // {who, name, what, at}, the latest first
  devices = audio.devices();
  found = null;
  meter = 0;
  soundProblem = '';
  clock = '';
  shown; // the state of the call that is shown

  createRenderRoot() { return this; }

  async connectedCallback() {
    super.connectedCallback();
    setInterval(() => this.#tick(), 500);
    navigator.mediaDevices?.addEventListener('devicechange', () => this.#listDevices());
    addEventListener('resize', () => this.atEnd && this.#scroll()); // a keyboard that opens, a phone that is turned
    try {
      this.config = await serverConfig(location.origin);
    } catch (error) {
      this.problem = {message: error instanceof Refused ? error.message : 'The server does not answer.'};
      return this.requestUpdate();
    }
    const account = remembered();
    if (account?.origin === location.origin && account.domain === this.config.domain) await this.#begin(account);
    else await this.#watchTabs();
    this.requestUpdate();
  }

  // The accounts of other tabs change while the sign-in is open.
  async #watchTabs() {
    while (!this.line) {
      const now = await inUse();
      if (String(now) !== String(this.inUse)) { this.inUse = now; this.requestUpdate(); }
      this.requestUpdate();
      await new Promise(resolve => setTimeout(resolve, 1000));
    }
  }

  async signIn(name, password) {
    this.problem = null;
    this.busy = true;
    this.requestUpdate();
    try {
      const account = accountOf(location.origin, this.config.domain, name, password);
      await iceServers(account); // tells a wrong password
      remember(account);
      await this.#begin(account);
    } catch (error) {
      this.problem = error instanceof Refused ? error : {message: 'The server does not answer. Is it running?'};
    }
    this.busy = false;
    this.requestUpdate();
  }

  async #begin(account) {
    this.release = holdAccount(account.user);
    this.line = new Line(account, await takeDevice(account));
    this.line.relayOnly = localStorage.getItem('signalbox.relay') === 'true';
    this.known = JSON.parse(localStorage.getItem(this.#knownKey()) ?? '[]');
    this.line.addEventListener('change', () => this.#lineChanged());
    this.line.addEventListener('notice', e => this.#say(e.detail));
    this.line.addEventListener('over', e => this.#remember(e.detail.who, e.detail.direction === 'out' ? 'you called' : e.detail.since ? 'called you' : e.detail.declined ? 'you declined' : 'missed call'));
    this.line.addEventListener('message', e => this.#arrived(e.detail));
    this.line.start();
    this.#listDevices();
    addEventListener('pagehide', () => this.line?.stop());
  }

  signOut() {
    forget();
    this.line.stop();
    this.release();
    this.line = this.partner = null;
    this.view = 'phone';
    this.#watchTabs();
    this.requestUpdate();
  }

  #knownKey() { return `signalbox.known.${this.line.account.user}@${this.line.account.domain}`; }

  #remember(who, what) {
    const entry = {who, name: this.line.name(who), what, at: Date.now()};
    this.known = [entry, ...this.known.filter(k => k.who !== who)].slice(0, 20);
    localStorage.setItem(this.#knownKey(), JSON.stringify(this.known));
    this.requestUpdate();
  }

  #lineChanged() {
    const {call} = this.line;
    if (call?.state !== 'up') this.keypadOpen = false;
    if (call?.state === 'incoming') this.view = 'phone';
    if (this.line.unread.has(this.partner) && this.querySelector('.chat')?.checkVisibility() && document.visibilityState === 'visible') this.line.read(this.partner);
    this.#tick();
    this.requestUpdate();
  }

  #arrived(who) {
    this.#remember(who, 'wrote to you');
    if (!this.partner) this.partner = who;
    if (this.atEnd) this.#scroll(); // who reads what was before goes on reading
  }

  #say(text) {
    this.notice = text;
    clearTimeout(this.noticeTimer);
    this.noticeTimer = setTimeout(() => { this.notice = ''; this.requestUpdate(); }, 6000);
    this.requestUpdate();
  }

  #tick() {
    const call = this.line?.call;
    const seconds = call?.state === 'up' ? Math.floor((Date.now() - call.since) / 1000) : 0;
    const clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
    const title = call?.state === 'incoming' ? `${call.name} is calling` : this.line ? `${this.line.account.user} · Phone` : 'Phone';
    if (document.title !== title) document.title = title;
    if (clock !== this.clock) { this.clock = clock; this.requestUpdate(); }
  }

  toggleKeypad() { this.keypadOpen = !this.keypadOpen; this.requestUpdate(); }

  show(view) {
    this.view = view;
    if (view === 'chat' && this.partner) this.line.read(this.partner);
    this.requestUpdate();
    this.#scroll();
  }

  openChat(to) {
    const who = this.line.address(to);
    if (!who) { this.#say('Type whom to write to: a name, or an address such as bob@example.org.'); return false; }
    this.partner = who;
    this.show('chat');
    this.updateComplete.then(() => this.querySelector('#text')?.focus());
    return true;
  }

  closeChat() { this.partner = null; this.requestUpdate(); }

  write(input) {
    if (!this.line.send(this.partner, input.value)) return;
    this.#remember(this.partner, 'you wrote');
    input.value = '';
    this.#scroll();
  }

  scrolled({target: t}) { this.atEnd = t.scrollHeight - t.scrollTop - t.clientHeight < 40; }

  #scroll() { this.updateComplete.then(() => this.querySelector('.bubbles')?.scrollTo({top: 1e9})); }

  async #listDevices() { this.found = await audio.list(); this.requestUpdate(); }

  // The sound dialog shows the level of the microphone as long as it is open.
  async openSound() {
    this.soundProblem = '';
    this.querySelector('#sound').showModal();
    await this.#measure();
    await this.#listDevices();
  }

  async #measure() {
    this.#stopMeter();
    try {
      this.preview = await audio.microphone();
      this.meterOf = new audio.Meter(this.preview, level => { if (Math.abs(level - this.meter) > 0.02) { this.meter = level; this.requestUpdate(); } });
    } catch (error) {
      this.soundProblem = noMicrophone(error);
      this.requestUpdate();
    }
  }

  #stopMeter() {
    this.meterOf?.stop();
    this.preview?.getTracks().forEach(t => t.stop());
    this.meterOf = this.preview = null;
    this.meter = 0;
  }

  soundClosed() { this.#stopMeter(); this.requestUpdate(); }

  async chooseDevice(key, id) {
    audio.choose({[key]: id});
    this.devices = audio.devices();
    await this.line.useDevices();
    if (key === 'microphone') await this.#measure();
    this.requestUpdate();
  }

  relayOnly(on) {
    this.line.relayOnly = on;
    localStorage.setItem('signalbox.relay', String(on));
  }

  // What had the focus may have gone with the call's state: who uses the keyboard goes on where that is of use.
  updated() {
    const state = this.line?.call?.state ?? '';
    if (state === this.shown) return;
    const first = this.shown === undefined;
    this.shown = state;
    if (first || (document.activeElement ?? document.body) !== document.body) return;
    if (state) this.querySelector(state === 'incoming' ? '.call .go' : '.call button')?.focus();
    else if (matchMedia('(hover: hover)').matches) this.querySelector('#to')?.focus(); // elsewhere it would open a keyboard
  }

  render() {
    if (!this.line) return signIn(this);
    const {line} = this;
    const unread = [...line.unread.values()].reduce((a, b) => a + b, 0);
    return html`
      <header class="top">
        <span class="avatar" aria-hidden="true">${line.account.user[0]}</span>
        <span class="grow"><strong>${line.account.user}</strong><small class="state ${line.state}" role="status"><span class="dot"></span>${lineStates[line.state]}</small></span>
        <button class="round" aria-label="Sound settings" title="Sound" @click=${() => this.openSound()}>${icons.sound}</button>
        <button class="round" aria-label="Sign out" title="Sign out" @click=${() => this.signOut()}>${icons.leave}</button>
      </header>
      <div class="notices" aria-live="polite">
        ${insecure(this.config)}
        ${line.trouble ? html`<p class="notice">${line.trouble}</p>` : nothing}
        ${this.notice ? html`<p class="notice">${this.notice}</p>` : nothing}
      </div>
      <main class="columns only-${this.view}">
        <div class="left">${line.call ? callCard(this) : dialer(this)}</div>
        <div class="right">${chatView(this)}</div>
      </main>
      <nav class="tabs" aria-label="Views">
        <button aria-current=${this.view === 'phone' ? 'page' : nothing} @click=${() => this.show('phone')}>${icons.call}<span>Phone</span></button>
        <button aria-current=${this.view === 'chat' ? 'page' : nothing} @click=${() => this.show('chat')}>${icons.chat}<span>Messages</span>${unread ? html`<span class="count">${unread}</span>` : nothing}</button>
      </nav>
      ${soundDialog(this)}`;
  }
}

customElements.define('signalbox-phone', Phone);
