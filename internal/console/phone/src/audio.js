// Sound: devices, levels, and the tones that a phone makes.

const chosen = 'signalbox.devices';

// devices are those that the user chose: {microphone, speaker, ringer}, "" or nothing is the browser's own choice.
export const devices = () => JSON.parse(localStorage.getItem(chosen) ?? '{}');
export const choose = change => localStorage.setItem(chosen, JSON.stringify({...devices(), ...change}));

// list asks the browser; names are known once the microphone was lent.
export async function list() {
  const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  const of = kind => all.filter(d => d.kind === kind && d.deviceId).map((d, i) => ({id: d.deviceId, name: d.label || `${kind === 'audioinput' ? 'Microphone' : 'Speaker'} ${i + 1}`}));
  return {microphones: of('audioinput'), speakers: of('audiooutput')};
}

// microphone lends the chosen one, or another if that is gone.
export async function microphone() {
  if (!navigator.mediaDevices) throw new DOMException('no secure context', 'SecurityError');
  const {microphone: id} = devices();
  try {
    return await navigator.mediaDevices.getUserMedia({audio: id ? {deviceId: {exact: id}} : true});
  } catch (error) {
    if (!id || error.name !== 'OverconstrainedError') throw error;
    return navigator.mediaDevices.getUserMedia({audio: true});
  }
}

// speak sends an element's sound to the chosen device, where the browser can.
export const speak = (element, id) => element.setSinkId?.(id ?? '').catch(() => {});

let context;
// listen gives the one AudioContext; browsers let it run after a click.
function listen() {
  context ??= new AudioContext();
  if (context.state === 'suspended') context.resume();
  return context;
}

// Meter tells how loud a stream is, from 0 to 1, some sixty times a second.
export class Meter {
  constructor(stream, show) {
    const context = listen();
    const analyser = new AnalyserNode(context, {fftSize: 512});
    this.source = context.createMediaStreamSource(stream);
    this.source.connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    const step = () => {
      analyser.getFloatTimeDomainData(samples);
      const rms = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
      show(Math.max(0, Math.min(1, 1 + Math.log10(rms + 1e-6) / 3))); // 60 dB
      this.frame = requestAnimationFrame(step);
    };
    step();
  }

  stop() {
    cancelAnimationFrame(this.frame);
    this.source.disconnect();
  }
}

const digits = {
  1: [697, 1209], 2: [697, 1336], 3: [697, 1477], 4: [770, 1209], 5: [770, 1336], 6: [770, 1477], 7: [852, 1209], 8: [852, 1336], 9: [852, 1477],
  '*': [941, 1209], 0: [941, 1336], '#': [941, 1477],
};

// tone plays frequencies for some seconds, softly in and out.
function tone(frequencies, seconds, at = 0, volume = 0.06) {
  const context = listen();
  const start = context.currentTime + at;
  const gain = new GainNode(context, {gain: 0});
  gain.connect(context.destination);
  gain.gain.setTargetAtTime(volume, start, 0.01);
  gain.gain.setTargetAtTime(0, start + seconds, 0.02);
  for (const frequency of frequencies) {
    const oscillator = new OscillatorNode(context, {frequency});
    oscillator.connect(gain);
    oscillator.start(start);
    oscillator.stop(start + seconds + 0.3);
  }
}

export const key = digit => tone(digits[digit] ?? [], 0.12);
export const ended = () => tone([425], 0.18);
export const arrived = () => tone([880], 0.08, 0, 0.04);

// repeat plays something again and again until the function it returns is called.
function repeat(play, seconds) {
  play();
  const timer = setInterval(play, seconds * 1000);
  return () => clearInterval(timer);
}

// ringback is what a caller hears while it rings; ringing is what the called one hears.
export const ringback = () => repeat(() => tone([425], 1, 0, 0.04), 5);
export const ringing = () => repeat(() => [659, 784, 988, 784].forEach((f, i) => tone([f, f * 2], 0.16, i * 0.2, 0.05)), 2.4);
