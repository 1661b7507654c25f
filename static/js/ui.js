// Navigation, dialogs, shortcuts, copying, forms. Everything works without this file.
const root = document.documentElement;
const $ = (selector) => document.querySelector(selector);
root.dataset.js = '';

const nav = document.getElementById('nav');
const toggleNav = (open = !nav.hasAttribute('data-open')) => {
  nav.toggleAttribute('data-open', open);
  for (const button of document.querySelectorAll('[data-action=nav]')) button.ariaExpanded = String(open);
  if (open) nav.querySelector('a')?.focus();
};

const actions = {
  nav: () => toggleNav(),
  'close-dialog': (button) => button.closest('dialog').close(),
  dismiss: (button) => button.closest('.banner').remove(),
};
document.addEventListener('click', (e) => {
  const button = e.target.closest('button, a');
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (menu.contains(e.target) && (!button || e.target.closest('summary'))) continue;
    if (menu.contains(button)) menu.querySelector('summary').focus();
    menu.open = false;
  }
  if (!button) return;
  if (button.ariaDisabled === 'true') { e.preventDefault(); return; }
  actions[button.dataset.action]?.(button);
  if (button.dataset.dialog) document.getElementById(button.dataset.dialog)?.showModal();
  if (button.dataset.copy) copy(button);
});
const copy = async (button) => {
  await navigator.clipboard.writeText(button.dataset.copy);
  window.dispatchEvent(new CustomEvent('announce', {detail: 'Copied.'}));
};

// Shortcuts: single keys can be turned off on this device (WCAG 2.1.4).
const setting = $('[data-action=shortcuts-enabled]');
const enabled = () => localStorage.getItem('shortcuts') !== 'off';
if (setting) {
  setting.checked = enabled();
  setting.addEventListener('change', () => localStorage.setItem('shortcuts', setting.checked ? 'on' : 'off'));
}
const PLACES = {o: /^\/$/, s: /^\/strategies\//, a: /^\/alerts\//, p: /^\/portfolio\//};
let chordUntil = 0;
const search = (e) => { e.preventDefault(); $('#search')?.focus(); };
const single = {
  '/': search,
  '?': () => document.getElementById('shortcuts')?.showModal(),
  p: () => document.getElementById('pause')?.click(),
  g: () => { chordUntil = Date.now() + 1500; },
};
const go = (pattern) => {
  const links = [...document.querySelectorAll('.nav a')];
  links.find((link) => pattern.test(link.pathname))?.click();
};
document.addEventListener('keydown', (e) => {
  if (e.key === 'Escape') {
    for (const menu of document.querySelectorAll('details.menu[open]')) { menu.open = false; menu.querySelector('summary').focus(); }
    if (nav?.hasAttribute('data-open')) { toggleNav(false); $('.bottom [data-action=nav]')?.focus(); }
  }
  if (e.key === 'k' && (e.ctrlKey || e.metaKey)) search(e);
  const typing = e.target.closest?.('input, select, textarea, [contenteditable], dialog');
  if (typing || e.ctrlKey || e.metaKey || e.altKey || !enabled()) return;
  if (Date.now() < chordUntil && PLACES[e.key]) { chordUntil = 0; go(PLACES[e.key]); return; }
  single[e.key]?.(e);
});

// Forms: show that a submission is under way, and bring the first error into view.
document.addEventListener('submit', (e) => {
  const button = e.submitter;
  if (e.defaultPrevented || e.target.method !== 'post' || !button) return;
  button.ariaBusy = 'true';
  setTimeout(() => { button.disabled = true; });
});
window.addEventListener('pageshow', (e) => {
  if (!e.persisted) return;
  for (const button of document.querySelectorAll('button[aria-busy]')) { button.disabled = false; button.ariaBusy = null; }
});
const focusError = (within = document) => within.querySelector('form [aria-invalid=true]')?.focus();
focusError();

// Fragments: a failed one keeps its old content and says so; a lost session goes to the login.
document.addEventListener('htmx:before:response', (e) => {
  const {raw, status} = e.detail.ctx.response;
  const lost = status === 401 || (raw.redirected && new URL(raw.url).pathname.startsWith('/login/'));
  if (!lost) return;
  e.preventDefault();
  location.assign(`/login/?next=${encodeURIComponent(location.pathname + location.search)}`);
});
const failed = (e) => {
  const {ctx} = e.detail;
  const status = ctx?.response?.status;
  const target = ctx?.target;
  if (!target?.isConnected || (status && status < 500 && ![403, 404].includes(status))) return;
  target.parentElement.querySelector(':scope > .error-box[data-for]')?.remove();
  const box = $('#error-template').content.cloneNode(true).querySelector('.error-box');
  box.dataset.for = target.id;
  const request = ctx.response?.headers?.get('X-Request-ID');
  const at = new Date().toLocaleTimeString();
  const what = status ? `The server answered ${status}` : 'The server did not answer in time';
  box.querySelector('div').append(`${what} at ${at}${request ? ` (request ${request})` : ''}.`);
  if (ctx.request?.method === 'GET') {
    const retry = document.createElement('button');
    retry.className = 'button button-secondary button-small';
    retry.type = 'button';
    retry.textContent = 'Retry';
    retry.addEventListener('click', () => {
      box.remove();
      htmx.ajax('GET', ctx.request.action, {target, swap: ctx.sourceElement?.getAttribute('hx-swap') ?? 'innerHTML'});
    });
    box.append(retry);
  }
  target.before(box);
};
document.addEventListener('htmx:response:error', failed);
document.addEventListener('htmx:error', failed);
document.addEventListener('htmx:after:swap', (e) => {
  const {ctx} = e.detail;
  if (ctx?.response?.status === 422) focusError();
  else if (ctx?.response?.status < 400 && ctx.target?.id) $(`.error-box[data-for="${CSS.escape(ctx.target.id)}"]`)?.remove();
});

// Figures bring their script along; pages without one do not fetch it.
const figures = () => { if ($('figure[data-chart]')) import(document.body.dataset.charts); };
document.addEventListener('htmx:after:swap', figures);
figures();
