// What went wrong, in words for people.
import JsSIP from 'jssip';

const causes = JsSIP.C.causes;

// why a call did not come about, or ended. who is a name.
export function callEnded({cause, originator, message}, who, answered) {
  const code = message?.status_code;
  switch (cause) {
    case causes.BYE: return originator === 'remote' ? `${who} hung up.` : 'Call ended.';
    case causes.CANCELED: return originator === 'remote' ? `Missed call from ${who}.` : 'Call cancelled.';
    case causes.BUSY: return `${who} is busy with another call.`;
    case causes.REJECTED: return code === 403 ? `You may not call ${who}.` : originator === 'remote' ? `${who} declined the call.` : 'Call declined.';
    case causes.NOT_FOUND: return `There is nobody called ${who} here. Check the spelling.`;
    case causes.UNAVAILABLE: return code === 408 ? `${who} does not answer.` : `${who} is not connected now.`;
    case causes.NO_ANSWER:
    case causes.EXPIRES: return `${who} does not answer.`;
    case causes.ADDRESS_INCOMPLETE: return 'That address is not complete.';
    case causes.INCOMPATIBLE_SDP:
    case causes.BAD_MEDIA_DESCRIPTION:
    case causes.MISSING_SDP: return `Your browser and ${who}'s phone have no way of sending sound in common.`;
    case causes.AUTHENTICATION_ERROR: return 'The server does not know you any more. Sign in again.';
    case causes.USER_DENIED_MEDIA_ACCESS: return noMicrophone();
    case causes.CONNECTION_ERROR: return 'The connection to the server was lost.';
    case causes.REQUEST_TIMEOUT:
    case causes.NO_ACK: return 'The server does not answer.';
    case causes.RTP_TIMEOUT: return 'No sound came through any more, so the call was ended.';
    case causes.WEBRTC_ERROR: return 'Your browser could not set up the sound of this call.';
  }
  if (code === 503) return 'The server is busy or restarting. Try again in a moment.';
  return answered ? 'Call ended.' : `The call did not work (${code ? `${code} ${message.reason_phrase}` : cause}).`;
}

// registrationFailed tells why the server did not take us.
export function registrationFailed({cause, response}) {
  switch (response?.status_code) {
    case 401:
    case 403:
    case 407: return 'That name and password do not go together.';
    case 404: return 'There is no such account here.';
    case 503: return 'The server is busy or restarting. It is tried again by itself.';
  }
  return cause === causes.CONNECTION_ERROR || cause === causes.REQUEST_TIMEOUT
    ? 'The server does not answer. It is tried again by itself.' : `The server refused: ${response?.reason_phrase ?? cause}.`;
}

export function messageFailed({cause, response}, who) {
  const code = response?.status_code;
  if (cause === causes.NOT_FOUND) return `There is nobody called ${who} here.`;
  if (cause === causes.UNAVAILABLE) return `${who} is not connected now.`;
  if (cause === causes.REJECTED) return `${who} does not take messages from you.`;
  return code ? `Not delivered (${code} ${response.reason_phrase}).` : 'Not delivered: the server does not answer.';
}

// noMicrophone says why there is none, and what to do; error is what getUserMedia threw, if it was asked.
export function noMicrophone(error) {
  if (!window.isSecureContext) {
    return 'Browsers lend the microphone to https pages only, and this page was opened over http.';
  }
  switch (error?.name) {
    case 'NotFoundError':
    case 'OverconstrainedError': return 'No microphone was found. Plug one in, or choose another in the sound settings.';
    case 'NotReadableError': return 'The microphone is used by another program. Close that, then try again.';
  }
  return 'This page may not use your microphone. Click the icon left of the address, allow the microphone, and try again.';
}

// path tells how the sound travels.
export function path({local, remote}) {
  if (!local) return '';
  const relays = {udp: 'UDP', tcp: 'TCP', tls: 'TLS'};
  if (local.type === 'relay') return `by this server's relay over ${relays[local.relay] ?? 'UDP'}`;
  if (remote.type === 'relay') return 'by the relay of the other side';
  return local.type === 'host' && remote.type === 'host' ? 'direct' : 'direct, through a router';
}
