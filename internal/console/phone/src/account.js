// Accounts: what the server says about itself, signing in, and TURN credentials.
import Utils from 'jssip/lib/Utils.js';

const md5 = Utils.calculateMD5;
const storage = 'signalbox.account';

// Refused is an error with words for the user, and the form field it belongs to.
export class Refused extends Error {
  constructor(message, field) {
    super(message);
    this.field = field;
  }
}

// serverConfig asks the server at origin who it is.
export async function serverConfig(origin) {
  const response = await fetch(`${origin}/phone/config.json`, {credentials: 'omit'});
  if (!response.ok) throw new Refused((await response.text()).trim() || 'The server does not answer.');
  return response.json();
}

// accountOf makes an account of what somebody typed: "alice" or "alice@example.org". The password itself is not kept.
export function accountOf(origin, domain, name, password) {
  const [user, given] = name.trim().replace(/^sips?:/i, '').split('@');
  if (!user) throw new Refused('Type your name, for example alice.', 'name');
  if (given && given.toLowerCase() !== domain.toLowerCase() && !new URL(origin).hostname.includes(given)) {
    throw new Refused(`This server has accounts of ${domain}, not of ${given}.`, 'name');
  }
  return {origin, domain, user, ha1: md5(`${user}:${domain}:${password}`)};
}

// A tab keeps its account until it is closed, so that a reload is no new sign-in.
export const remembered = () => JSON.parse(sessionStorage.getItem(storage) ?? 'null');
export const remember = account => sessionStorage.setItem(storage, JSON.stringify(account));
export const forget = () => sessionStorage.removeItem(storage);

// iceServers asks for TURN credentials with the account (Digest, RFC 7616); it tells a wrong password from a right one. null: there is no TURN.
export async function iceServers(account) {
  const path = `/turn?domain=${encodeURIComponent(account.domain)}`;
  const ask = headers => fetch(account.origin + path, {headers, credentials: 'omit', cache: 'no-store'});
  let response = await ask({});
  if (response.status === 401) response = await ask({Authorization: digest(account, path, response.headers.get('WWW-Authenticate') ?? '')});
  switch (response.status) {
    case 200: return (await response.json()).iceServers;
    case 401: throw new Refused('That name and password do not go together.', 'password');
    case 429: throw new Refused('There were too many wrong passwords. Wait a few minutes, then try again.', 'password');
    default: return null;
  }
}

function digest({user, domain, ha1}, uri, challenges) {
  const md5Challenge = challenges.split(/,\s*(?=Digest |Basic )/).find(c => /algorithm=MD5/.test(c)) ?? '';
  const nonce = /nonce="([^"]+)"/.exec(md5Challenge)?.[1] ?? '';
  const cnonce = crypto.getRandomValues(new Uint32Array(4)).join('');
  const response = md5(`${ha1}:${nonce}:00000001:${cnonce}:auth:${md5(`GET:${uri}`)}`);
  const quoted = s => `"${s.replace(/["\\]/g, '\\$&')}"`;
  return `Digest username=${quoted(user)}, realm=${quoted(domain)}, nonce="${nonce}", uri="${uri}", algorithm=MD5, qop=auth, nc=00000001, ` +
    `cnonce="${cnonce}", response="${response}"`;
}

// hold takes a lock until what it gives is called, or the tab is closed; null if another tab has it.
const hold = name => new Promise(resolve => {
  navigator.locks.request(name, {ifAvailable: true}, lock => lock ? new Promise(release => resolve(release)) : resolve(null));
});

// holdAccount tells the other tabs of this browser that an account is in use here, for as long as the tab lives.
export function holdAccount(user) {
  const held = navigator.locks ? hold(`signalbox:${user}`) : null;
  return async () => (await held)?.();
}

// takeDevice makes this tab one of the devices that the browser is for an account: the first that no other tab is. So a page that is loaded again is no new phone
// (RFC 5626, 4.1). Over plain http there are no locks, and each page is a phone of its own.
export async function takeDevice({user, domain}) {
  if (!navigator.locks) return {release() {}};
  const key = `signalbox.devices.${user}@${domain}`;
  const known = JSON.parse(localStorage.getItem(key) ?? '[]');
  for (const instance of [...known, crypto.randomUUID()]) {
    const release = await hold(`signalbox-device:${instance}`);
    if (!release) continue;
    if (!known.includes(instance)) localStorage.setItem(key, JSON.stringify([...known, instance].slice(-20)));
    return {instance, release};
  }
}

// inUse lists the accounts that other tabs hold.
export async function inUse() {
  const {held = []} = (await navigator.locks?.query()) ?? {};
  return held.map(lock => lock.name).filter(name => name.startsWith('signalbox:')).map(name => name.slice('signalbox:'.length));
}
