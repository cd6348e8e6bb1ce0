import {html, nothing} from 'lit';
import * as icons from './icons.js';

// chatView is the conversations, or one of them.
export function chatView(app) {
  const {line, partner} = app;
  const all = [...line.chats.keys()].reverse();
  if (!partner) {
    return html`
      <section class="card chats" aria-label="Messages">
        <h2>Messages</h2>
        ${all.length ? all.map(who => overview(app, who)) : html`<p class="empty">${icons.chat}<span>No messages yet.<br>Type a name and press Message to write the first.</span></p>`}
      </section>`;
  }
  const messages = line.chats.get(partner) ?? [];
  const name = line.name(partner);
  return html`
    <section class="card chat" aria-label="Messages with ${name}">
      <header>
        <button class="round" aria-label="All messages" @click=${() => app.closeChat()}>${icons.back}</button>
        <h2>${name}</h2>
        <button class="round go" aria-label="Call ${name}" ?disabled=${line.state !== 'ready' || !!line.call} @click=${() => line.dial(partner)}>${icons.call}</button>
      </header>
      <ol class="bubbles" role="log" aria-live="polite" tabindex="0" @scroll=${e => app.scrolled(e)}>
        ${messages.map(m => html`
          <li class=${m.mine ? 'mine' : 'theirs'}>
            <p>${m.text}</p>
            <small class=${m.mine && !['sent', 'sending'].includes(m.state) ? 'problem' : ''}>${when(m)}</small>
          </li>`)}
        ${messages.length ? nothing : html`<li class="nothing">Write the first message to ${name}.</li>`}
      </ol>
      <form @submit=${e => { e.preventDefault(); app.write(e.target.elements.text); }}>
        <label class="hidden" for="text">Message to ${name}</label>
        <input id="text" name="text" autocomplete="off" maxlength="1000" placeholder="Message">
        <button class="round primary" aria-label="Send">${icons.send}</button>
      </form>
    </section>`;
}

function overview(app, who) {
  const last = app.line.chats.get(who).at(-1);
  const unread = app.line.unread.get(who);
  const name = app.line.name(who);
  return html`
    <button class="row" @click=${() => app.openChat(who)}>
      <span class="avatar" aria-hidden="true">${name[0]}</span>
      <span class="grow"><strong>${name}</strong><small>${last ? `${last.mine ? 'You: ' : ''}${last.text}` : ''}</small></span>
      ${unread ? html`<span class="count" aria-label="${unread} unread">${unread}</span>` : nothing}
    </button>`;
}

function when({at, mine, state}) {
  const time = at.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit'});
  if (!mine || state === 'sent') return time;
  return state === 'sending' ? 'sending …' : state;
}
