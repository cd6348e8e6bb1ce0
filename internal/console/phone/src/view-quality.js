import {html, nothing} from 'lit';
import {path} from './words.js';

const grades = {good: 'Good connection', fair: 'The connection is a little unsteady', poor: 'The connection is poor', silent: 'Nothing is heard from the other side'};

// qualityDetails says in one line how good a call is and, when opened, why: the path of the sound, what is lost, and how evenly it comes.
export function qualityDetails({quality: q, grade}) {
  if (!q) return nothing;
  const percent = x => `${(100 * x).toFixed(x > 0 && x < 0.1 ? 1 : 0)} %`;
  const ms = s => (s === null ? 'unknown' : `${Math.round(1000 * s)} ms`);
  const line = (name, value, more) => value ? html`<div><dt>${name}</dt><dd>${value}${more ? html` <small>${more}</small>` : nothing}</dd></div>` : nothing;
  return html`
    <details class="quality ${grade}">
      <summary><span class="dot"></span>${grades[grade] ?? 'On hold'}</summary>
      <dl>
        ${line('Path', path(q))}
        ${line('From', q.local?.address ?? q.local?.type, `${q.local?.type ?? ''} ${q.local?.protocol ?? ''}`)}
        ${line('To', q.remote?.address ?? q.remote?.type, q.remote?.type)}
        ${line('Lost', percent(q.loss), `${Math.max(0, q.lost)} of ${q.received + Math.max(0, q.lost)} packets in all`)}
        ${line('Jitter', ms(q.jitter))}
        ${line('Round trip', ms(q.roundTrip))}
        ${line('Codec', q.codec)}
      </dl>
    </details>`;
}
