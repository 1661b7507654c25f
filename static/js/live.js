// Live updates: protocol version 1 of docs/interface.md. One socket per page.
const root = document.documentElement;
const body = document.body;
const conn = document.getElementById('conn');
const HELD = new Set(['metrics', 'equity', 'pnl', 'risk', 'allocation']);
const FINISHED = new Set(['succeeded', 'failed', 'cancelled']);
const LOUD = new Set(['error', 'critical']);
const last = new Map();
const unread = new Map();
const jobsSeen = new Map();
const jobsOver = new Set();
const held = [];
let socket, subscribed = new Set(), hb = 15, lastFrame = 0, attempts = 0, retryTimer;
let state = 'connecting', staleSince = null, paused = false, resuming = false, missed = 0;
let stopped = false, refused = false;
const pageTitle = document.title;

const all = (selector, within = document) => within.querySelectorAll(selector);
const fire = (name, target = body) => target.dispatchEvent(new CustomEvent(name));
const time = (at) => at.toLocaleTimeString([], {hour: '2-digit', minute: '2-digit', second: '2-digit', hour12: false});
const clock = (s) => {
  const t = Math.max(0, Math.round(s)), two = (n) => String(n).padStart(2, '0');
  const h = Math.floor(t / 3600), m = Math.floor(t / 60) % 60;
  return h ? `${h}:${two(m)}:${two(t % 60)}` : `${two(m)}:${two(t % 60)}`;
};

// Announcements: errors assertive, the rest polite, batched so that a burst stays short.
const queues = {polite: [], assertive: []};
const announce = (text, kind = 'polite') => {
  if (queues[kind].push(text) === 1) setTimeout(() => {
    const texts = queues[kind].splice(0);
    const many = texts.length > 3;
    document.getElementById(`announce-${kind}`).textContent =
      many ? `${texts.length} new messages. Latest: ${texts.at(-1)}` : texts.join(' ');
  }, 400);
};
window.addEventListener('announce', (e) => announce(e.detail));

// Topics: what the page binds, with the newest sequence the server had when it rendered.
const readHeads = (within) => {
  for (const element of [body, ...all('[data-heads]', within)]) {
    const heads = JSON.parse(element.dataset.heads || '{}');
    for (const [name, head] of Object.entries(heads)) if (!last.has(name)) last.set(name, head);
  }
};
const wanted = () => {
  const names = new Set(['alerts', 'jobs']);
  if (refused) return names;
  for (const element of all('[data-topic]')) names.add(element.dataset.topic);
  for (const element of all('[data-live]')) names.add(element.dataset.live.replace(/\.[^.]*$/, ''));
  return names;
};
const request = (names) => [...names].map((n) => (last.has(n) ? {n, since: last.get(n)} : {n}));
const send = (frame) => { if (socket?.readyState === 1) socket.send(JSON.stringify(frame)); };
const resubscribe = () => {
  const names = wanted();
  const added = [...names].filter((n) => !subscribed.has(n));
  const gone = [...subscribed].filter((n) => !names.has(n));
  subscribed = names;
  if (added.length) send({t: 'sub', topics: request(added)});
  if (gone.length) send({t: 'unsub', topics: gone.map((n) => ({n}))});
};

const show = () => {
  const shown = paused && state === 'live' ? 'paused' : state;
  const words = {connecting: 'Connecting', live: 'Live', offline: 'Offline', paused: 'Paused'};
  const text = shown === 'stale' ? `Stale since ${time(staleSince)}` : words[shown];
  const label = conn.querySelector('.conn-text');
  if (label.firstChild?.data !== text) label.textContent = text;
  label.querySelector('span')?.remove();
  if (paused && held.length) {
    const waiting = document.createElement('span');
    waiting.ariaHidden = 'true';
    waiting.textContent = `, ${held.length} waiting`;
    label.append(waiting);
  }
  for (const element of [conn, conn.querySelector('.conn')]) element.dataset.state = shown;
  root.dataset.liveState = shown;
};
const setState = (next) => {
  if (next === 'stale' && state !== 'stale') staleSince = new Date();
  const changed = next !== state;
  state = next;
  show();
  if (changed) window.dispatchEvent(new CustomEvent('live:state', {detail: {state}}));
};

const connect = () => {
  clearTimeout(retryTimer);
  if (stopped || socket?.readyState < 2) return;
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  const mine = socket = new WebSocket(`${scheme}://${location.host}/ws/live/`);
  mine.onopen = () => {
    lastFrame = Date.now();
    subscribed = wanted();
    send({t: 'hello', v: 1, build: body.dataset.build, topics: request(subscribed)});
  };
  mine.onmessage = (e) => { if (mine === socket) receive(JSON.parse(e.data)); };
  mine.onclose = (e) => { if (mine === socket) closed(e.code); };
};
const closed = (code) => {
  socket = null;
  resuming = true;
  if (code === 4401) {
    stopped = true;
    location.assign(`/login/?next=${encodeURIComponent(location.pathname + location.search)}`);
    return;
  }
  if (code === 4409) { stopped = true; newBuild(); }
  if (code === 4403) refused = true;
  setState(navigator.onLine ? (attempts || state !== 'connecting' ? 'stale' : 'connecting') : 'offline');
  const wait = Math.random() * Math.min(10_000, 500 * 2 ** attempts++);
  if (!stopped) retryTimer = setTimeout(connect, wait);
};
const reconnectNow = () => {
  attempts = 0;
  if (!socket) connect();
};
const newBuild = () => { document.getElementById('new-build').hidden = false; };

const receive = (frame) => {
  lastFrame = Date.now();
  if (frame.t === 'evt') accept(frame);
  else if (frame.t === 'welcome') welcome(frame);
  if (frame.t === 'hb') window.dispatchEvent(new CustomEvent('live:heartbeat', {detail: frame}));
  if (frame.t === 'hb' && state === 'stale') setState('live');
};
const welcome = (frame) => {
  hb = frame.hb;
  attempts = 0;
  let gap = false;
  for (const [name, {head, gap: hole}] of Object.entries(frame.topics)) {
    if (hole) gap = true;
    last.set(name, hole ? head : Math.max(head, last.get(name) ?? 0));
  }
  setState('live');
  if (gap) { window.dispatchEvent(new CustomEvent('live:gap')); fire('live:refresh'); }
  if (resuming && missed) announce(`Reconnected. ${missed} missed ${missed === 1 ? 'alert' : 'alerts'} shown.`);
  resuming = false;
  missed = 0;
  if (body.dataset.build && frame.build && frame.build !== body.dataset.build) newBuild();
};
const accept = (frame) => {
  if (frame.seq <= (last.get(frame.topic) ?? -1)) return;
  last.set(frame.topic, frame.seq);
  if (paused && HELD.has(frame.kind)) { held.push(frame); show(); return; }
  apply(frame);
};
const apply = (frame) => {
  const {topic, kind, d} = frame;
  if (kind === 'job') job(d);
  else if (kind === 'alert') alert(d, frame.ts);
  else if (kind === 'alert_state') settle(d);
  else if (kind === 'invalidate') {
    const element = document.getElementById(d.fragment);
    if (element) fire('live:invalidate', element);
  } else if (kind !== 'equity') values(topic, d);
  count(topic, kind);
  window.dispatchEvent(new CustomEvent('live:event', {detail: frame}));
};

const values = (topic, fields) => {
  for (const [field, value] of Object.entries(fields ?? {})) {
    if (typeof value?.s !== 'string') continue;
    for (const element of all(`[data-live="${CSS.escape(topic)}.${CSS.escape(field)}"]`)) {
      if (element.textContent === value.s) continue;
      const text = document.createElement('span');
      text.className = 'pl';
      if (value.dir) text.dataset.dir = value.dir;
      text.textContent = value.s;
      text.dataset.flash = '';
      element.replaceChildren(text);
      element.value = value.v ?? '';
    }
  }
};
// "3 new signals – show": rows are never inserted under the reader.
const count = (topic, kind) => {
  for (const element of all(`[data-new="${CSS.escape(kind)}"]`)) {
    if (element.dataset.topic && element.dataset.topic !== topic) continue;
    element.dataset.n = Number(element.dataset.n || 0) + 1;
    element.textContent = `${element.dataset.n} new – show`;
    element.hidden = false;
  }
};

const job = (d) => {
  const finished = FINISHED.has(d.state);
  for (const element of all(`[data-job="${CSS.escape(d.id)}"]`)) {
    if (element.dataset.state !== d.state || finished) {
      element.dataset.state = d.state;
      fire('live:invalidate', element);
    }
    const bar = element.querySelector('progress');
    if (bar && d.total) { bar.max = d.total; bar.value = Math.max(bar.value, d.done); }
    const set = (name, text) => {
      const field = element.querySelector(`[data-field=${name}]`);
      if (field) field.textContent = text;
    };
    const unit = element.dataset.unit ? ` ${element.dataset.unit}` : '';
    if (d.total) set('amount', `${d.done.toLocaleString('en')} of ${d.total.toLocaleString('en')}${unit}`);
    set('left', d.eta_s == null ? '' : `about ${clock(d.eta_s)} left`);
    set('step', d.step ?? '');
  }
  jobsSeen.set(d.id, Date.now());
  const tray = document.getElementById('jobs-tray');
  if (tray) {
    const active = new Set(tray.dataset.active.split(' ').filter(Boolean));
    if (finished) active.delete(d.id); else active.add(d.id);
    tray.dataset.active = [...active].join(' ');
    const tally = tray.querySelector('.tally');
    tally.textContent = active.size;
    tally.toggleAttribute('data-zero', !active.size);
  }
  // News of a job comes on its own topic and on that of its owner.
  const isNews = finished && !jobsOver.has(d.id);
  if (finished) jobsOver.add(d.id); else jobsOver.delete(d.id);
  if (isNews) {
    if (d.state !== 'cancelled') announce(`${d.title}: ${d.state}.`, d.state === 'failed' ? 'assertive' : 'polite');
    fire('jobs:refresh');
  }
};

const alertRow = document.getElementById('alert-row');
let rowAskedAt = 0, bannerAt = 0;
const alert = (d, ts) => {
  if (resuming) missed += 1;
  if (d.state === 'resolved' || d.state === 'acknowledged') { settle(d); return; }
  unread.set(d.id, d);
  const at = new Date(d.breached_at ?? ts * 1000);
  const word = LOUD.has(d.level) ? 'Error' : d.level === 'warning' ? 'Warning' : 'Note';
  const text = [d.strategy, time(at), resuming && 'missed while disconnected'].filter(Boolean).join(' · ');
  banner(d, word, text);
  announce(`${word}: ${d.title}. ${d.strategy ?? ''}`, LOUD.has(d.level) ? 'assertive' : 'polite');
};
const banner = (d, word, text) => {
  const copy = document.getElementById('banner-template').content.cloneNode(true);
  const element = copy.querySelector('.banner');
  element.dataset.level = LOUD.has(d.level) ? 'error' : d.level;
  element.dataset.alert = d.id;
  element.querySelector('.shape').dataset.shape = word === 'Error' ? 'cross' : word === 'Warning' ? 'triangle' : 'ring';
  element.querySelector('strong').textContent = `${word}:`;
  const link = element.querySelector('a');
  link.textContent = d.title;
  link.href = d.url || '/alerts/';
  element.querySelector('.banner-detail').textContent = text + (unread.size > 1 ? ` · ${unread.size} unread` : '');
  alertRow.replaceChildren(copy);
  bannerAt = performance.now();
  marks();
  fire('alerts:refresh');
};
const settle = (d) => {
  unread.delete(d.id);
  if (alertRow.querySelector(`[data-alert="${CSS.escape(d.id)}"]`)) clearBanner();
  marks();
  fire('alerts:refresh');
};
const clearBanner = () => {
  const none = document.createElement('p');
  none.className = 'alert-none';
  none.textContent = unread.size ? `${unread.size} unread alerts` : 'No new alerts';
  alertRow.replaceChildren(none);
};
const marks = () => {
  document.title = (unread.size ? `(${unread.size}) ` : '') + pageTitle;
  const icon = document.querySelector('link[rel=icon]');
  icon.dataset.calm ??= icon.href;
  const loud = [...unread.values()].some((d) => LOUD.has(d.level));
  icon.href = loud ? icon.dataset.alert : icon.dataset.calm;
};

const pause = () => {
  paused = !paused;
  const button = document.getElementById('pause');
  button.ariaPressed = String(paused);
  button.querySelector('span').textContent = paused ? 'Resume' : 'Pause';
  if (!paused) held.splice(0).forEach(apply);
  show();
};
const watch = () => {
  const silent = (Date.now() - lastFrame) / 1000;
  if (socket?.readyState === 1 && silent > 3 * hb + 1) { const old = socket; socket = null; old.close(); closed(1006); }
  else if (state === 'live' && silent > 2 * hb + 1) setState('stale');
  for (const element of all('.job[data-started] [data-field=elapsed]')) {
    const started = Date.parse(element.closest('.job').dataset.started);
    element.textContent = `${clock((Date.now() - started) / 1000)} elapsed`;
  }
};

if (conn) {
  readHeads(document);
  document.getElementById('pause')?.addEventListener('click', pause);
  alertRow.addEventListener('click', (e) => {
    if (e.target.dataset.action !== 'dismiss') return;
    e.stopPropagation();
    unread.delete(alertRow.querySelector('[data-alert]')?.dataset.alert);
    clearBanner();
    marks();
  });
  // What the server said before an alert came must not take its banner away.
  alertRow.addEventListener('htmx:config:request', () => { rowAskedAt = performance.now(); });
  alertRow.addEventListener('htmx:before:swap', (e) => { if (rowAskedAt < bannerAt) e.preventDefault(); });
  window.addEventListener('offline', () => setState('offline'));
  window.addEventListener('online', () => { setState(socket?.readyState === 1 ? 'live' : 'stale'); reconnectNow(); });
  document.addEventListener('visibilitychange', () => { if (!document.hidden) reconnectNow(); });
  document.addEventListener('htmx:after:swap', () => { readHeads(document); resubscribe(); });
  // A job that the socket keeps up to date need not be polled.
  document.addEventListener('htmx:config:request', (e) => {
    const {sourceElement, sourceEvent} = e.detail.ctx;
    const seen = jobsSeen.get(sourceElement?.dataset?.job) ?? 0;
    if (sourceEvent?.type === 'every' && state === 'live' && Date.now() - seen < 5000) e.preventDefault();
  });
  setInterval(watch, 1000);
  setInterval(() => { if (state !== 'live' && !document.hidden) fire('live:poll'); }, 5000);
  connect();
}
