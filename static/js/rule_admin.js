// The administration's form of a rule: every change is checked by the server, field by field.
const form = document.getElementById('thresholdrule_form');
const show = (name, texts) => {
  const control = form.elements[name];
  const row = (control?.closest ? control : control?.[0])?.closest('.form-row, .fieldBox');
  if (!row) return;
  row.querySelector('.errorlist')?.remove();
  row.classList.toggle('errors', texts.length > 0);
  control.setAttribute?.('aria-invalid', String(texts.length > 0));
  if (!texts.length) return;
  const list = document.createElement('ul');
  list.className = 'errorlist';
  list.setAttribute('role', 'status');
  for (const text of texts) list.append(Object.assign(document.createElement('li'), {textContent: text}));
  row.prepend(list);
};
const place = location.pathname.match(/^(.*\/thresholdrule\/)(?:add|([^/]+)\/change)\/$/);
const check = async () => {
  const body = new FormData(form);
  body.append('rule', place[2] ?? '');
  const answer = await fetch(`${place[1]}check/`, {method: 'POST', body});
  if (!answer.ok) return;
  const {errors} = await answer.json();
  for (const {name} of form.elements) if (name) show(name, errors[name] ?? []);
};
let waiting;
if (form && place) form.addEventListener('change', () => { clearTimeout(waiting); waiting = setTimeout(check, 150); });
