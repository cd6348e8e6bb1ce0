// Icons are drawn with lines, 24 by 24, in the colour of the text around them.
import {svg} from 'lit';

const icon = paths => svg`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${paths}</svg>`;
const handset = svg`<path d="M6.6 3.8 8.3 3.4a1.6 1.6 0 0 1 1.9 1l.9 2.3a1.6 1.6 0 0 1-.4 1.7L9.5 9.6a12 12 0 0 0 4.9 4.9l1.2-1.2a1.6 1.6 0 0 1 1.7-.4l2.300.9a1.6 1.6 0 0 1 1 1.9l-.4 1.7a2.2 2.2 0 0 1-2.4 1.7C10.7 18.4 5.6 13.3 4.9 6.2a2.2 2.2 0 0 1 1.7-2.4Z"/>`;

export const call = icon(handset);
export const hangup = icon(svg`<g transform="rotate(135 12 12)">${handset}</g>`);
export const microphone = icon(svg`<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5.5 11.5a6.5 6.5 0 0 0 13 0M12 18v3"/>`);
export const muted = icon(svg`<path d="M15 9.5V6a3 3 0 0 0-5.9-.7M9 9.5V11a3 3 0 0 0 4.8 2.4M5.5 11.5a6.5 6.5 0 0 0 10.7 5M18.5 11.5a6.5 6.5 0 0 1-.5 2.5M12 18v3M4 4l16 16"/>`);
export const pause = icon(svg`<path d="M9 5.5v13M15 5.5v13"/>`);
export const resume = icon(svg`<path d="M8 5.5v13l10.5-6.5Z"/>`);
export const keypad = icon([5, 12, 19].flatMap(y => [5, 12, 19].map(x => svg`<circle class="dot" cx=${x} cy=${y} r="1.5"/>`)));
export const chat = icon(svg`<path d="M4 6.5A2.5 2.5 0 0 1 6.5 4h11A2.5 2.5 0 0 1 20 6.5v7a2.5 2.5 0 0 1-2.5 2.5H10l-4.5 4v-4.2A2.5 2.5 0 0 1 4 13.5Z"/>`);
export const send = icon(svg`<path d="M12 19V5M6 11l6-6 6 6"/>`);
export const sound = icon(svg`<path d="M4 7h9M17 7h3M4 17h3M11 17h9"/><circle cx="15" cy="7" r="2"/><circle cx="9" cy="17" r="2"/>`);
export const echo = icon(svg`<path d="M9 6 4.5 10.5 9 15M4.5 10.5h10a5 5 0 0 1 0 10H12"/>`);
export const leave = icon(svg`<path d="M14 4.5H7A1.5 1.5 0 0 0 5.5 6v12A1.5 1.5 0 0 0 7 19.5h7M11 12h9M16.5 8.5 20 12l-3.5 3.5"/>`);
export const back = icon(svg`<path d="M14.5 6 8.5 12l6 6"/>`);
export const close = icon(svg`<path d="m6.5 6.5 11 11M17.5 6.5l-11 11"/>`);
