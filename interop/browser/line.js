// What both kinds of page share: the tone a page speaks with, what it hears, and what has happened, for the test to ask.

// Events keeps what happened until the test asks for it.
export class Events {
  #queues = new Map();

  #queue(name) {
    if (!this.#queues.has(name)) this.#queues.set(name, {values: [], waiting: []});
    return this.#queues.get(name);
  }

  emit(name, value = null) {
    const q = this.#queue(name);
    if (q.waiting.length > 0) q.waiting.shift()(value);
    else q.values.push(value);
  }

  // next resolves with the oldest event of that name that was not asked for yet.
  next(name) {
    const q = this.#queue(name);
    if (q.values.length > 0) return Promise.resolve(q.values.shift());
    return new Promise(resolve => q.waiting.push(resolve));
  }

  // count is how many wait to be asked for.
  count(name) {
    return this.#queue(name).values.length;
  }
}

// Line is one end of a call: a tone (and a moving picture) to send, and an ear.
export class Line {
  constructor(hz) {
    this.context = new AudioContext();
    const tone = new OscillatorNode(this.context, {frequency: hz});
    const volume = new GainNode(this.context, {gain: 0.3});
    this.mouth = new MediaStreamAudioDestinationNode(this.context);
    tone.connect(volume).connect(this.mouth);
    tone.start();
    this.ear = new AnalyserNode(this.context, {fftSize: 32768, smoothingTimeConstant: 0});
    this.connections = [];
  }

  // stream is what this page sends.
  stream({video = false} = {}) {
    const tracks = this.mouth.stream.getTracks().map(track => track.clone());
    if (video) tracks.push(this.#picture());
    return new MediaStream(tracks);
  }

  #picture() {
    const canvas = document.createElement('canvas');
    canvas.width = 320;
    canvas.height = 240;
    const pen = canvas.getContext('2d');
    let n = 0;
    setInterval(() => {
      pen.fillStyle = `hsl(${n++ % 360} 80% 50%)`;
      pen.fillRect(0, 0, canvas.width, canvas.height);
    }, 40);
    return canvas.captureStream(25).getVideoTracks()[0];
  }

  // hear listens to what comes by a connection.
  hear(connection) {
    if (this.connections.includes(connection)) return;
    this.connections.push(connection);
    const attach = track => {
      const stream = new MediaStream([track]);
      const element = document.createElement(track.kind); // without an element Chromium decodes nothing
      element.muted = true;
      element.srcObject = stream;
      element.play();
      document.body.append(element);
      if (track.kind === 'audio') this.context.createMediaStreamSource(stream).connect(this.ear);
    };
    connection.addEventListener('track', event => attach(event.track));
    connection.getReceivers().forEach(receiver => receiver.track && attach(receiver.track));
  }

  // audio measures: the loudest frequency in Hz and its level in dB, and what the connection counts.
  async audio() {
    await this.context.resume();
    const bins = new Float32Array(this.ear.frequencyBinCount);
    this.ear.getFloatFrequencyData(bins);
    let peak = 1;
    for (let i = 1; i < bins.length - 1; i++) if (bins[i] > bins[peak]) peak = i;
    const [left, top, right] = [bins[peak - 1], bins[peak], bins[peak + 1]];
    const between = left + right === 2 * top ? 0 : (left - right) / (2 * (left - 2 * top + right));
    const hz = (peak + between) * this.context.sampleRate / this.ear.fftSize;
    return {hz: Number.isFinite(hz) ? hz : 0, level: Number.isFinite(top) ? top : -200, ...await this.stats()};
  }

  // pictures counts requests for a new picture: those that came, the key frames sent, and those that were made.
  async pictures() {
    const counted = {pli: 0, fir: 0, keys: 0, asked: 0};
    for (const s of (await this.connections.at(-1).getStats()).values()) {
      if (s.kind !== 'video') continue;
      if (s.type === 'outbound-rtp') {
        counted.pli += s.pliCount ?? 0;
        counted.fir += s.firCount ?? 0;
        counted.keys += s.keyFramesEncoded ?? 0;
      }
      if (s.type === 'inbound-rtp') counted.asked += (s.pliCount ?? 0) + (s.firCount ?? 0);
    }
    return counted;
  }

  // stats adds up the counters of the newest connection.
  async stats() {
    const counted = {received: 0, sent: 0, lost: 0, frames: 0, ice: '', dtls: '', codec: '', local: '', remote: ''};
    const connection = this.connections.at(-1);
    if (!connection) return counted;
    counted.ice = connection.iceConnectionState;
    const report = await connection.getStats();
    for (const s of report.values()) {
      if (s.type === 'inbound-rtp' && s.kind === 'audio') {
        counted.received += s.packetsReceived;
        counted.lost += s.packetsLost;
        counted.codec = report.get(s.codecId)?.mimeType ?? '';
      }
      if (s.type === 'inbound-rtp' && s.kind === 'video') counted.frames += s.framesDecoded;
      if (s.type === 'outbound-rtp' && s.kind === 'audio') counted.sent += s.packetsSent;
      if (s.type === 'transport') {
        counted.dtls = s.dtlsState;
        const pair = report.get(s.selectedCandidatePairId);
        counted.local = report.get(pair?.localCandidateId)?.candidateType ?? '';
        counted.remote = report.get(pair?.remoteCandidateId)?.candidateType ?? '';
      }
    }
    return counted;
  }
}
