import {html, nothing} from 'lit';
import * as icons from './icons.js';
import {meter} from './view-meter.js';
import {qualityDetails} from './view-quality.js';

// dialer is where calls and chats begin.
export function dialer(app) {
  const {line, config} = app;
  const begin = action => e => {
    e.preventDefault();
    const input = app.querySelector('#to');
    if (action(input.value) !== false) input.value = '';
  };
  return html`
    <section class="card dialer" aria-label="Call or write">
      <form @submit=${begin(to => line.dial(to))}>
        <label for="to">Whom do you want to reach?</label>
        <input id="to" list="known" autocomplete="off" autocapitalize="none" spellcheck="false" placeholder="bob, or bob@example.org">
        <datalist id="known">${app.known.map(k => html`<option value=${k.name}></option>`)}</datalist>
        <div class="pair">
          <button class="go wide" ?disabled=${line.state !== 'ready'}>${icons.call} Call</button>
          <button class="plain wide" type="button" @click=${begin(to => app.openChat(to))}>${icons.chat} Message</button>
        </div>
      </form>
      ${config?.echo ? html`
        <button class="row" ?disabled=${line.state !== 'ready'} @click=${() => line.dial(config.echo)}>
          <span class="badge">${icons.echo}</span>
          <span class="grow"><strong>Echo test</strong><small>Speak, and hear yourself: that microphone, network and speaker work</small></span>
        </button>` : nothing}
    </section>
    ${app.known.length ? html`
      <section class="card list" aria-label="Recent">
        <h2>Recent</h2>
        ${app.known.slice(0, 6).map(k => html`
          <div class="row">
            <span class="avatar" aria-hidden="true">${k.name[0]}</span>
            <span class="grow"><strong>${k.name}</strong><small>${k.what}, ${ago(k.at)}</small></span>
            <button class="round" aria-label="Message ${k.name}" @click=${() => app.openChat(k.who)}>${icons.chat}</button>
            <button class="round go" aria-label="Call ${k.name}" ?disabled=${line.state !== 'ready'} @click=${() => line.dial(k.who)}>${icons.call}</button>
          </div>`)}
      </section>` : nothing}`;
}

function ago(at) {
  const date = new Date(at);
  const today = new Date().toDateString() === date.toDateString();
  return today ? date.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit'}) : date.toLocaleDateString([], {day: 'numeric', month: 'short'});
}

const states = {calling: 'Calling …', ringing: 'Ringing …', incoming: 'is calling', ended: ''};

// callCard is the call that there is.
export function callCard(app) {
  const {call} = app.line;
  const up = call.state === 'up';
  return html`
    <section class="card call ${call.state} ${app.keypadOpen ? 'dialling' : ''}" aria-label="Call">
      <span class="avatar large ${call.state}" aria-hidden="true">${call.name[0]}</span>
      <h2 class="who">${call.name}</h2>
      ${call.name === app.line.name(call.who) ? nothing : html`<p class="soft">${call.who}</p>`}
      <p class="status" role="status">${up ? upStatus(call) : call.state === 'ended' ? call.trouble : states[call.state]}</p>
      ${up ? html`<p class="timer" role="timer">${app.clock}</p>` : nothing}
      ${call.state === 'ended' && call.insecure && app.config?.https
        ? html`<p><a href=${`https://${location.hostname}:${app.config.https}/phone`}>Open this page over https</a></p>` : nothing}
      ${buttons(app)}
      ${up ? qualityView(app) : nothing}
    </section>`;
}

function upStatus(call) {
  if (call.cut) return 'The network was interrupted. Waiting for it to come back …';
  if (call.held) return 'On hold';
  if (call.heldByOther) return `${call.name} has put you on hold`;
  return 'Connected';
}

function buttons(app) {
  const {line} = app;
  const {call} = line;
  switch (call.state) {
    case 'incoming': return html`
      <div class="actions">
        <button class="big stop" @click=${() => line.hangup()}>${icons.hangup}<span>Decline</span></button>
        <button class="big go" autofocus @click=${() => line.answer()}>${icons.call}<span>Answer</span></button>
      </div>`;
    case 'ended': return html`
      <div class="pair">
        <button class="plain wide" @click=${() => line.dismiss()}>Close</button>
        <button class="go wide" @click=${() => { line.dismiss(); line.dial(call.who); }}>${icons.call} Call again</button>
      </div>`;
    case 'up': return html`
      <div class="actions small">
        <button class="tool" aria-pressed=${!!call.muted} @click=${() => line.mute(!call.muted)}>${call.muted ? icons.muted : icons.microphone}<span>${call.muted ? 'Unmute' : 'Mute'}</span></button>
        <button class="tool" aria-pressed=${!!call.held} @click=${() => line.hold(!call.held)}>${call.held ? icons.resume : icons.pause}<span>${call.held ? 'Resume' : 'Hold'}</span></button>
        <button class="tool" aria-pressed=${app.keypadOpen} @click=${() => app.toggleKeypad()}>${icons.keypad}<span>Keypad</span></button>
        <button class="tool" @click=${() => app.openChat(call.who)}>${icons.chat}<span>Message</span></button>
      </div>
      ${app.keypadOpen ? pad(app) : nothing}
      <button class="big stop alone" @click=${() => line.hangup()}>${icons.hangup}<span>Hang up</span></button>`;
  }
  return html`<button class="big stop alone" @click=${() => line.hangup()}>${icons.hangup}<span>Cancel</span></button>`;
}

function pad(app) {
  return html`
    <div class="pad" role="group" aria-label="Keypad">
      <output class="digits" aria-label="Pressed">${app.line.call.digits ?? ''}</output>
      ${[...'123456789*0#'].map(k => html`<button class="key" @click=${() => app.line.digit(k)}>${k}</button>`)}
    </div>`;
}

// qualityView shows how loud both sides are, how the sound travels and how much of it arrives.
function qualityView({line: {call}}) {
  const {quality: q} = call;
  if (!q) return nothing;
  return html`
    <div class="levels">
      <span>You</span>${meter('Your level', call.muted || call.held ? 0 : level(q.speak))}
      <span>${call.name}</span>${meter(`Level of ${call.name}`, call.held ? 0 : level(q.hear))}
    </div>
    ${qualityDetails(call)}`;
}

// level makes a level that the ear finds even.
const level = x => (x > 0 ? Math.max(0, 1 + Math.log10(x) / 2.5) : 0);
