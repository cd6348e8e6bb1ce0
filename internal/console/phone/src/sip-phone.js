// <sip-phone to="support"> is a button that calls, for any page:
//
//   <script type="module" src="https://sip.example.org/sip-phone.js"></script>
//   <sip-phone to="support" label="Call us"></sip-phone>
//
// It calls with the account in user and password, or with the one that the visitor signs in with. server is where this file came from, unless
// it is given. Its colours are the page's: --sip-phone-accent and the rest below can be set.
import {LitElement, css, html, nothing} from 'lit';
import {Refused, accountOf, iceServers, remember, remembered, serverConfig, takeDevice} from './account.js';
import * as icons from './icons.js';
import {Line} from './line.js';
import {qualityDetails} from './view-quality.js';

const here = new URL(import.meta.url).origin;

class SipPhone extends LitElement {
  static properties = {
    to: {}, label: {}, server: {}, user: {}, password: {},
    line: {state: true}, problem: {state: true}, asking: {state: true}, busy: {state: true}, clock: {state: true},
  };

  static styles = css`
    :host { display: inline-block; font: inherit; --ink: var(--sip-phone-ink, light-dark(#1d2126, #ececea)); --soft: light-dark(#5d6570, #a3aab4);
      --card: var(--sip-phone-card, light-dark(#fff, #1c1f25)); --line: light-dark(#dedcd6, #343a44); --accent: var(--sip-phone-accent, light-dark(#0f766e, #5ec4b6));
      --on: light-dark(#fff, #08211d); --red: light-dark(#b42318, #ff8a80); color: var(--ink); }
    .box { display: flex; align-items: center; gap: .6rem; flex-wrap: wrap; }
    .box.open { background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: .6rem .8rem; max-width: 26rem; }
    button { font: inherit; font-weight: 600; display: inline-flex; align-items: center; gap: .5rem; border: 0; border-radius: 999px; padding: .6rem 1.1rem; cursor: pointer;
      background: var(--accent); color: var(--on); }
    button.plain { background: none; color: inherit; border: 1px solid var(--line); }
    button.stop { background: var(--red); color: light-dark(#fff, #2b0a07); }
    button:disabled { opacity: .5; cursor: default; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    .icon { width: 1.25em; height: 1.25em; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round; stroke-linejoin: round; }
    .icon .dot { fill: currentColor; stroke: none; }
    .status { display: grid; line-height: 1.3; flex: 1000 1 7rem; }
    .buttons { display: flex; flex-wrap: wrap; gap: .6rem; flex: 1 0 auto; max-width: 100%; }
    .buttons button { flex: 1; justify-content: center; white-space: nowrap; padding-inline: .8rem; }
    small { color: var(--soft); }
    .quality { flex-basis: 100%; font-size: .88em; border-top: 1px solid var(--line); padding-top: .5rem; }
    summary { display: flex; align-items: center; gap: .5rem; cursor: pointer; list-style: none; border-radius: .4rem; }
    summary::-webkit-details-marker { display: none; }
    summary::after { content: ""; margin-left: auto; width: .45em; height: .45em; border: solid var(--soft); border-width: 0 1.5px 1.5px 0; transform: rotate(45deg) translate(-2px, -2px); }
    details[open] summary::after { transform: rotate(225deg) translate(-2px, -2px); }
    summary .dot { width: .55em; height: .55em; border-radius: 50%; background: var(--soft); flex: none; }
    .good .dot { background: light-dark(#15803d, #4cc27a); }
    .fair .dot { background: #d9911a; }
    .poor .dot, .silent .dot { background: var(--red); }
    dl { display: grid; gap: .25rem; margin: .5rem 0 .2rem; }
    dl div { display: grid; grid-template-columns: 5.5em 1fr; gap: .5rem; }
    dt { color: var(--soft); }
    dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
    .problem { color: var(--red); flex-basis: 100%; margin: 0; }
    form { display: flex; gap: .5rem; flex-wrap: wrap; align-items: end; }
    label { display: grid; gap: .2rem; font-size: .85em; color: var(--soft); }
    input { font: inherit; color: var(--ink); background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .5rem .7rem; width: 9rem; }`;

  get #origin() { return this.server ? new URL(this.server).origin : here; }

  connectedCallback() {
    super.connectedCallback();
    this.timer = setInterval(() => this.line?.call?.state === 'up' && this.#tick(), 500);
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    clearInterval(this.timer);
    this.#leave();
  }

  #tick() {
    const seconds = Math.floor((Date.now() - this.line.call.since) / 1000);
    this.clock = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
  }

  // call is what a click does, and what a page may do itself.
  async call() {
    this.problem = '';
    const known = remembered();
    if (this.user) await this.#dial(this.user, this.password ?? '');
    else if (known?.origin === this.#origin) await this.#start(known);
    else this.asking = true;
  }

  hangup() { this.line?.hangup(); }

  async #dial(name, password) {
    this.busy = true;
    try {
      const {domain} = await serverConfig(this.#origin);
      const account = accountOf(this.#origin, domain, name, password);
      await iceServers(account);
      if (!this.user) remember(account);
      this.asking = false;
      await this.#start(account);
    } catch (error) {
      this.problem = error instanceof Refused ? error.message : 'The server does not answer.';
    }
    this.busy = false;
  }

  async #start(account) {
    this.busy = true;
    const device = await takeDevice(account);
    this.busy = false;
    if (!this.isConnected) return device.release();
    this.line = new Line(account, device);
    let called = false;
    this.line.addEventListener('change', () => {
      const {state, call, trouble} = this.line ?? {};
      if (state === 'ready' && !called) { called = true; this.line.dial(this.to); }
      if (state === 'failed' || call?.state === 'ended') {
        this.problem = call?.trouble || trouble;
        this.dispatchEvent(new CustomEvent('ended', {detail: this.problem}));
        setTimeout(() => this.#leave());
      }
      this.requestUpdate();
    });
    this.line.addEventListener('notice', e => { this.problem = e.detail; this.#leave(); });
    this.line.start();
  }

  #leave() {
    this.line?.stop();
    this.line = null;
  }

  render() {
    const call = this.line?.call;
    const up = call?.cut ? 'Waiting for the network …' : call?.heldByOther ? 'You are on hold' : `Connected ${this.clock ?? ''}`;
    const words = {calling: 'Calling …', ringing: 'Ringing …', up};
    return html`<div class="box ${this.line || this.asking ? 'open' : ''}">
      ${this.line ? html`
        <span class="status" role="status"><strong>${call?.name ?? this.to}</strong><small>${words[call?.state] ?? 'Connecting …'}</small></span>
        <span class="buttons">
          ${call?.state === 'up' ? html`<button class="plain" aria-pressed=${!!call.muted} @click=${() => this.line.mute(!call.muted)}>${call.muted ? icons.muted : icons.microphone}${call.muted ? 'Unmute' : 'Mute'}</button>` : nothing}
          <button class="stop" @click=${() => (call ? this.hangup() : this.#leave())}>${icons.hangup}Hang up</button>
        </span>
        ${call?.state === 'up' ? qualityDetails(call) : nothing}`
        : this.asking ? html`
          <form @submit=${e => { e.preventDefault(); this.#dial(e.target.elements.name.value, e.target.elements.password.value); }}>
            <label>Name<input name="name" autocomplete="username" autocapitalize="none" required></label>
            <label>Password<input name="password" type="password" autocomplete="current-password" required></label>
            <button ?disabled=${this.busy}>${icons.call}Call</button>
            <button type="button" class="plain" @click=${() => { this.asking = false; this.problem = ''; }}>Cancel</button>
          </form>`
          : html`<button ?disabled=${this.busy || !this.to} @click=${() => this.call()}>${icons.call}${this.label ?? `Call ${this.to ?? ''}`}</button>`}
      ${this.problem ? html`<p class="problem" role="alert">${this.problem}</p>` : nothing}
    </div>`;
  }
}

if (!customElements.get('sip-phone')) customElements.define('sip-phone', SipPhone);
