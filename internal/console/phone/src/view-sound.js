import {html, nothing} from 'lit';
import * as icons from './icons.js';
import {meter as bar} from './view-meter.js';

// soundDialog is where devices are chosen and tried.
export function soundDialog(app) {
  const {devices, found, meter, line} = app;
  const pick = (label, key, list) => html`
    <label>${label}
      <select @change=${e => app.chooseDevice(key, e.target.value)}>
        <option value="" ?selected=${!devices[key]}>The browser's choice</option>
        ${list.map(d => html`<option value=${d.id} ?selected=${devices[key] === d.id}>${d.name}</option>`)}
      </select>
    </label>`;
  return html`
    <dialog id="sound" aria-labelledby="sound-title" @close=${() => app.soundClosed()}>
      <header><h2 id="sound-title">Sound</h2><button class="round" aria-label="Close" @click=${() => app.querySelector('#sound').close()}>${icons.close}</button></header>
      ${found ? html`
        ${pick('Microphone', 'microphone', found.microphones)}
        <div class="levels one">${bar('Level of the microphone', meter)}</div>
        <p class="soft">${meter > 0.35 ? 'Your microphone works.' : 'Say something: the bar moves when you are heard.'}</p>
        ${found.speakers.length ? pick('Speaker', 'speaker', found.speakers) : nothing}` : nothing}
      <p class="problem" role="alert">${app.soundProblem}</p>
      <label class="check"><input type="checkbox" .checked=${line.relayOnly} @change=${e => app.relayOnly(e.target.checked)} ?disabled=${!app.config?.turn}>
        <span>Always by this server's relay<small>${app.config?.turn ? 'Hides your address from the other side, and helps where a network blocks calls' : 'This server has no relay'}</small></span>
      </label>
    </dialog>`;
}
