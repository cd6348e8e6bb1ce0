import {html, nothing} from 'lit';

// signIn asks who somebody is; on a server that is tried out there are accounts ready.
export function signIn(app) {
  const {config, problem, busy} = app;
  const ready = config?.ready ?? [];
  const next = ready.find(a => !app.inUse.includes(a.user)) ?? ready[0];
  return html`
    <main class="signin">
      <div class="card">
        <img class="logo" src="/phone/icon.svg" alt="" width="44" height="44">
        <h1>Phone</h1>
        <p class="soft">Calls and messages in your browser${config ? html`, for accounts of <strong>${config.domain}</strong>` : nothing}.</p>
        ${insecure(config)}
        ${ready.length ? html`
          <div class="ready" role="group" aria-label="Accounts that are ready">
            ${ready.map(a => html`
              <button class=${a === next ? 'primary' : 'plain'} ?disabled=${busy} @click=${() => app.signIn(a.user, a.password)}>
                <span class="avatar" aria-hidden="true">${a.user[0]}</span>
                <span class="grow">Continue as <strong>${a.user}</strong></span>
                ${app.inUse.includes(a.user) ? html`<span class="hint">in use in another tab</span>` : nothing}
              </button>`)}
          </div>
          <p class="or"><span>or with another account</span></p>` : nothing}
        <form @submit=${e => { e.preventDefault(); app.signIn(e.target.elements.name.value, e.target.elements.password.value); }}>
          <label>Name
            <input name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required ?autofocus=${config && !ready.length}
              aria-invalid=${problem?.field === 'name'} aria-describedby="problem" placeholder="alice">
          </label>
          <label>Password
            <input name="password" type="password" autocomplete="current-password" required
              aria-invalid=${problem?.field === 'password'} aria-describedby="problem">
          </label>
          <p id="problem" class="problem" role="alert">${problem?.message ?? ''}</p>
          <button class=${ready.length ? 'plain wide' : 'primary wide'} ?disabled=${busy || !config}>${busy ? 'Signing in …' : 'Sign in'}</button>
        </form>
      </div>
      <p class="fine"><a href="/phone/licenses.txt">Licences</a></p>
    </main>`;
}

// insecure warns before somebody is disappointed: without https there is no microphone.
export function insecure(config) {
  if (window.isSecureContext) return nothing;
  const secure = config?.https && `https://${location.hostname}:${config.https}/phone`;
  return html`<p class="notice" role="alert">This page was opened over http, and browsers lend the microphone to https pages only.
    ${secure ? html` <a href=${secure}>Open it over https</a>` : nothing}</p>`;
}
