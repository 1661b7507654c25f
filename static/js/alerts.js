// The page of alerts that is left open all day: a key, a sound, a notification, a held-back list.
const $ = (selector) => document.querySelector(selector);
const WANTED = {sound: 'alerts-sound', notify: 'alerts-notify'};
const isOn = (what) => localStorage.getItem(WANTED[what]) === 'on';
const announce = (text) => window.dispatchEvent(new CustomEvent('announce', {detail: text}));

// Sound: two short tones, made here; a page may sound only after somebody has pressed a button.
let audio;
const sound = (isLoud) => {
  audio ??= new AudioContext();
  for (const [i, pitch] of (isLoud ? [880, 660, 880] : [660]).entries()) {
    const tone = audio.createOscillator(), volume = audio.createGain();
    const at = audio.currentTime + i * 0.18;
    tone.frequency.value = pitch;
    volume.gain.setValueAtTime(0.15, at);
    volume.gain.exponentialRampToValueAtTime(0.001, at + 0.16);
    tone.connect(volume).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.16);
  }
};
const notice = (d) => {
  if (!document.hidden || Notification.permission !== 'granted') return;
  const shown = new Notification(d.title, {body: d.strategy ?? '', tag: d.id, lang: 'en'});
  shown.onclick = () => { window.focus(); location.assign(d.url); };
};

// Opt-in: each button says whether it is on, on this device.
const buttons = {sound: $('[data-alerts=sound]'), notify: $('[data-alerts=notify]')};
const show = (what) => { buttons[what].ariaPressed = String(isOn(what)); buttons[what].hidden = false; };
const toggle = async (what) => {
  let on = !isOn(what);
  if (on && what === 'notify') on = await Notification.requestPermission() === 'granted';
  localStorage.setItem(WANTED[what], on ? 'on' : 'off');
  if (on && what === 'sound') sound(false);
  show(what);
};
for (const what of Object.keys(WANTED)) {
  if (!buttons[what] || (what === 'notify' && !('Notification' in window))) continue;
  buttons[what].addEventListener('click', () => toggle(what));
  show(what);
}

// New rows come in at the top; whoever reads further down is told instead.
const bar = $('[data-alerts=show]');
let waiting = 0;
const isReading = () => bar && window.scrollY > 240;
bar?.addEventListener('click', () => {
  waiting = 0;
  bar.hidden = true;
  window.scrollTo({top: 0});
  document.body.dispatchEvent(new CustomEvent('alerts:refresh'));
});
window.addEventListener('live:event', ({detail: {kind, d}}) => {
  if (kind !== 'alert') return;
  if (isOn('sound')) sound(d.level === 'critical');
  if (isOn('notify')) notice(d);
  if (!isReading()) return;
  waiting += 1;
  bar.textContent = `${waiting} new – show`;
  bar.hidden = false;
});
document.addEventListener('htmx:config:request', (e) => {
  const {sourceElement, sourceEvent} = e.detail.ctx;
  if (sourceElement?.id === 'results' && sourceEvent?.type === 'alerts:refresh' && waiting && isReading()) e.preventDefault();
});

// `a` acknowledges the row in focus, or the first one; the focus stays in the list.
let place = -1;
const rows = () => [...document.querySelectorAll('[data-alert-row]')];
document.addEventListener('keydown', (e) => {
  const typing = e.target.closest?.('input:not([type=checkbox]), select, textarea, dialog');
  if (e.key !== 'a' || typing || e.ctrlKey || e.metaKey || e.altKey || localStorage.getItem('shortcuts') === 'off') return;
  const row = e.target.closest?.('[data-alert-row]') ?? rows()[0];
  const button = row?.querySelector('[data-acknowledge]');
  if (!button) return;
  place = rows().indexOf(row);
  button.click();
  announce('Acknowledged.');
});
document.addEventListener('htmx:after:swap', () => {
  if (place < 0 || (document.activeElement && document.activeElement !== document.body)) return;
  const left = rows();
  left[Math.min(place, left.length - 1)]?.querySelector('a')?.focus();
  place = -1;
});
document.body.addEventListener('announce-error', (e) => announce(e.detail.text));
