// quality reads what a connection counts: the way the sound takes, and how much of it arrives. before is the last reading.
export async function quality(connection, before) {
  const report = await connection.getStats();
  const q = {codec: '', received: 0, sent: 0, lost: 0, jitter: 0, roundTrip: null, local: null, remote: null, hear: 0, speak: 0};
  const candidate = id => {
    const c = report.get(id);
    return c && {type: c.candidateType, protocol: c.protocol, relay: c.relayProtocol, address: c.address && `${c.address.includes(':') ? `[${c.address}]` : c.address}:${c.port}`};
  };
  for (const s of report.values()) {
    switch (s.kind === 'video' ? '' : s.type) {
      case 'inbound-rtp':
        q.received += s.packetsReceived;
        q.lost += s.packetsLost;
        q.jitter = s.jitter ?? 0;
        q.hear = s.audioLevel ?? 0;
        q.codec = report.get(s.codecId)?.mimeType?.replace('audio/', '') ?? '';
        break;
      case 'outbound-rtp': q.sent += s.packetsSent; break;
      case 'media-source': q.speak = s.audioLevel ?? 0; break;
      case 'remote-inbound-rtp': q.roundTrip ??= s.roundTripTime; break;
      case 'transport': {
        const pair = report.get(s.selectedCandidatePairId);
        if (!pair) break;
        q.local = candidate(pair.localCandidateId);
        q.remote = candidate(pair.remoteCandidateId);
        q.roundTrip = pair.currentRoundTripTime ?? q.roundTrip;
      }
    }
  }
  // Loss of the last seconds says more than that of the whole call.
  const [received, lost] = [q.received - (before?.received ?? 0), q.lost - (before?.lost ?? 0)];
  q.loss = received + lost > 0 ? Math.max(0, lost) / (received + lost) : 0;
  q.silent = before ? received === 0 : false;
  return q;
}

// grade is one word for it.
export function grade(q) {
  if (!q) return '';
  if (q.silent) return 'silent';
  if (q.loss > 0.05 || q.jitter > 0.08 || q.roundTrip > 0.6) return 'poor';
  if (q.loss > 0.01 || q.jitter > 0.03 || q.roundTrip > 0.3) return 'fair';
  return 'good';
}
