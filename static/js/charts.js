// Figures: fetched when near, coloured by role from the tokens, updated at most once a second.
const all = (selector, within = document) => within.querySelectorAll(selector);
const CONFIG = {displayModeBar: false, showSendToCloud: false, displaylogo: false, responsive: true, scrollZoom: false};
const ROLES = {
  live: 'financial-series-live', price: 'financial-series-live', equity: 'financial-palette-1',
  backtest: 'financial-series-backtest', benchmark: 'financial-series-benchmark',
  drawdown: 'semantic-loss', loss: 'semantic-loss', sell: 'semantic-loss',
  profit: 'semantic-profit', buy: 'semantic-profit', volume: 'semantic-border-control',
  limit: 'semantic-status-error', muted: 'semantic-text-muted', mark: 'semantic-text-muted',
};
for (let n = 1; n <= 6; n++) ROLES[`series-${n}`] = `financial-palette-${n}`;
const open = new Map();
const MAX_POINTS = 2000;

const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--colors-${name}`).trim();
const colour = (role) => token(ROLES[role] ?? 'financial-palette-1');
const faint = (hex, share) => {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
};
let library;
const plotly = () => library ??= new Promise((resolve, reject) => {
  const script = document.createElement('script');
  script.src = document.body.dataset.plotly;
  script.onload = () => resolve(window.Plotly);
  script.onerror = () => { library = null; reject(new Error('chart library')); };
  document.head.append(script);
});

const paint = (trace) => {
  const role = trace.meta?.role, own = colour(role), up = colour('profit'), down = colour('loss');
  if (trace.type === 'candlestick') {
    const rising = {line: {color: up, width: 1}, fillcolor: token('semantic-surface')};
    return {...trace, increasing: rising, decreasing: {line: {color: down, width: 1}, fillcolor: down}};
  }
  if (trace.type === 'waterfall') {
    const marker = (color) => ({marker: {color}});
    return {...trace, increasing: marker(up), decreasing: marker(down), totals: marker(colour('muted')),
      connector: {line: {color: token('semantic-border-control'), width: 1}}};
  }
  if (trace.type === 'heatmap') {
    const scale = ['neg', 'mid', 'pos'].map((end, i) => [i / 2, token(`financial-heat-${end}`)]);
    return {...trace, colorscale: scale, textfont: {color: token('semantic-text-primary')}};
  }
  if (trace.type === 'pie') {
    const colors = trace.labels.map((_, i) => token(`financial-palette-${1 + (i % 6)}`));
    return {...trace, marker: {...trace.marker, colors}};
  }
  if (role === 'band') return {...trace, fillcolor: token('financial-series-band'), line: {width: 0, color: 'rgba(0,0,0,0)'}};
  if (trace.type === 'bar') {
    const sizes = trace.orientation === 'h' ? trace.x : trace.y;
    const color = role === 'pnl' ? sizes.map((v) => (v < 0 ? down : up)) : role === 'allocation' ? token('semantic-accent') : own;
    return {...trace, marker: {...trace.marker, color}};
  }
  const painted = {...trace, line: {...trace.line, color: own}, marker: {...trace.marker, color: own}};
  if (trace.fill) painted.fillcolor = faint(own, 0.16);
  return painted;
};
const theme = (figure, layout) => {
  const style = getComputedStyle(document.body);
  const grid = token('semantic-border-subtle'), text = token('semantic-text-secondary');
  const themed = {...layout, autosize: true, dragmode: false, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)',
    font: {family: style.fontFamily, size: 12, color: text},
    hoverlabel: {bgcolor: token('semantic-surface'), bordercolor: token('semantic-border-control'), font: {color: token('semantic-text-primary')}}};
  for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
    themed[name] = {gridcolor: grid, zerolinecolor: token('semantic-border-control'), linecolor: grid, tickcolor: grid, zeroline: false,
      fixedrange: matchMedia('(pointer: coarse)').matches, ...layout[name]};
    if (name[0] === 'y' && figure.clientWidth < 480) themed[name].title = {text: ''};
  }
  themed.shapes = (layout.shapes ?? []).map((shape) => {
    const color = colour(shape.name);
    return {...shape, line: {...shape.line, color}, label: {...shape.label, font: {color}}};
  });
  themed.annotations = (layout.annotations ?? []).map((note) => ({...note, font: {...note.font, color: colour(note.name)}}));
  return themed;
};

const follows = (figure) => 'follow' in figure.dataset;
const draw = async (figure) => {
  const chart = open.get(figure);
  const Plotly = await plotly();
  const plot = figure.querySelector('.plot');
  if (!chart.canvas) {
    chart.canvas = document.createElement('div');
    chart.canvas.className = 'canvas';
    plot.replaceChildren(chart.canvas);
  }
  await Plotly.react(chart.canvas, chart.data.map(paint), theme(figure, chart.layout), CONFIG);
};
const load = async (figure) => {
  const chart = open.get(figure);
  if (chart.loading) return;
  chart.loading = true;
  figure.ariaBusy = 'true';
  try {
    const [answer] = await Promise.all([fetch(figure.dataset.src, {headers: {Accept: 'application/json'}}), plotly()]);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const {data, layout, meta} = await answer.json();
    Object.assign(chart, {data, layout});
    await draw(figure);
    if (follows(figure) && meta?.summary) figure.querySelector('figcaption').textContent = meta.summary;
    delete figure.dataset.state;
    figure.querySelector('.plot-error').hidden = true;
    figure.querySelector('.plot-explore').hidden = true;
    for (const tool of all('[data-needs-chart]', figure)) tool.hidden = false;
    figure.dataset.ready = '';
  } catch {
    // A drawn curve, even the server's, says more than an empty frame.
    if (!figure.querySelector('.plot .canvas, .plot .preview')) figure.dataset.state = 'error';
    figure.querySelector('.plot-error').hidden = false;
  }
  chart.loading = false;
  figure.ariaBusy = null;
};

// Range buttons are the alternative to dragging; the value axis follows what is visible.
const last = (chart) => chart.data.reduce((end, {x}) => (x?.length && x.at(-1) > end ? x.at(-1) : end), '');
const startOf = (end, range) => {
  const at = new Date(end.length > 10 ? `${end}Z` : end);
  if (range === 'YTD') return `${end.slice(0, 4)}-01-01`;
  at.setUTCMonth(at.getUTCMonth() - {'1M': 1, '3M': 3, '1Y': 12}[range]);
  return at.toISOString().slice(0, 10);
};
const visible = (chart, axis, start) => {
  const seen = chart.data.filter((trace) => (trace.yaxis ?? 'y') === axis).flatMap((trace) => trace.x.flatMap((x, i) =>
    x < start ? [] : [trace.low?.[i] ?? trace.y?.[i], trace.high?.[i] ?? trace.y?.[i]])).filter((v) => v != null);
  if (chart.data.some((trace) => (trace.yaxis ?? 'y') === axis && (trace.fill === 'tozeroy' || trace.type === 'bar'))) seen.push(0);
  if (!seen.length) return null;
  const low = seen.reduce((a, b) => Math.min(a, b)), high = seen.reduce((a, b) => Math.max(a, b));
  const pad = (high - low || Math.abs(high) || 1) * 0.05;
  return [low && low - pad, high && high + pad];
};
const setRange = async (figure, range) => {
  const chart = open.get(figure), end = last(chart), change = {};
  const start = range === 'All' ? null : startOf(end, range);
  change['xaxis.autorange'] = !start;
  if (start) change['xaxis.range'] = [start, end];
  for (const name of Object.keys(chart.layout).filter((key) => key.startsWith('yaxis'))) {
    const span = start && visible(chart, name.replace('axis', ''), start);
    change[`${name}.autorange`] = !span;
    if (span) change[`${name}.range`] = span;
  }
  (await plotly()).relayout(chart.canvas, change);
  for (const button of all('[data-range]', figure)) button.ariaPressed = String(button.dataset.range === range);
};

const png = async (figure) => {
  const chart = open.get(figure), {clientWidth: width, clientHeight: height} = chart.canvas;
  const link = document.createElement('a');
  const full = {data: chart.canvas.data, layout: {...chart.canvas.layout, paper_bgcolor: token('semantic-surface')}};
  link.href = await (await plotly()).toImage(full, {format: 'png', width, height, scale: 2});
  link.download = `${figure.id}.png`;
  link.click();
};
const cellsOf = (trace) => {
  if (trace.z) return trace.y.map((row, i) => [row, ...trace.z[i]]);
  if (trace.labels) return trace.labels.map((label, i) => [label, trace.values[i]]);
  if (trace.open) return trace.x.map((x, i) => [x, trace.open[i], trace.high[i], trace.low[i], trace.close[i]]);
  return trace.x.map((x, i) => [x, trace.y[i]]);
};
const headOf = (trace) => (trace.z ? ['', ...trace.x] : trace.open ? ['Time', 'Open', 'High', 'Low', 'Close'] : ['', trace.name]);
const table = (trace) => {
  const element = document.createElement('table');
  element.className = 'table';
  element.createCaption().textContent = trace.name;
  const row = (section, cells, tag) => {
    const line = section.insertRow();
    cells.forEach((value, i) => {
      const cell = document.createElement(i && tag !== 'th' ? 'td' : 'th');
      cell.scope = tag === 'th' ? 'col' : 'row';
      if (i) cell.className = 'num';
      cell.textContent = value ?? '—';
      line.append(cell);
    });
  };
  row(element.createTHead(), headOf(trace), 'th');
  const rows = element.createTBody();
  cellsOf(trace).reverse().forEach((cells) => row(rows, cells));
  return element;
};
const toggleTable = (figure, button) => {
  const chart = open.get(figure), holder = figure.querySelector('.plot-table');
  const shown = holder.hidden;
  holder.hidden = !shown;
  figure.querySelector('.plot').hidden = shown;
  button.ariaPressed = String(shown);
  if (shown) holder.replaceChildren(...chart.data.filter((trace) => trace.meta?.role !== 'band').map(table));
};

document.addEventListener('click', (e) => {
  const button = e.target.closest('figure.chart button'), figure = button?.closest('figure');
  if (!figure || !open.has(figure)) return;
  const {action, range} = button.dataset;
  if (range) setRange(figure, range);
  else if (action === 'png') png(figure);
  else if (action === 'table') toggleTable(figure, button);
  else if (action === 'retry' || action === 'explore') load(figure);
});

// Live points: collected, then drawn at most once a second with plain lists.
const flush = async (figure, chart) => {
  chart.timer = null;
  const points = chart.pending.splice(0);
  const index = chart.data?.findIndex(({meta}) => meta?.role === 'live' || meta?.role === 'equity') ?? -1;
  if (index < 0 || !points.length || !chart.canvas) return;
  const trace = chart.data[index];
  trace.x = [...trace.x, ...points.map(({x}) => x)].slice(-MAX_POINTS);
  trace.y = [...trace.y, ...points.map(({y}) => y)].slice(-MAX_POINTS);
  if (!document.hidden) await draw(figure);
};
// A figure of many accounts is fetched again instead, the picture alone where no chart was drawn.
const follow = (figure, chart) => {
  chart.timer = null;
  chart.isBehind = document.hidden;
  if (chart.isBehind) return;
  if (chart.canvas) load(figure);
  else figure.querySelector('.plot').dispatchEvent(new CustomEvent('chart:follow'));
};
window.addEventListener('live:event', ({detail}) => {
  if (detail.kind !== 'equity') return;
  for (const [figure, chart] of open) {
    if (follows(figure)) chart.timer ??= setTimeout(() => follow(figure, chart), 1000);
    if (figure.dataset.topic !== detail.topic) continue;
    chart.pending.push(detail.d);
    chart.timer ??= setTimeout(() => flush(figure, chart), 1000);
  }
});
document.body.addEventListener('live:refresh', () => {
  for (const [figure, chart] of open) if (chart.canvas && figure.dataset.topic) load(figure);
});
for (const name of ['live:refresh', 'live:poll']) {
  document.body.addEventListener(name, () => { for (const [figure, chart] of open) if (follows(figure)) follow(figure, chart); });
}

const idle = window.requestIdleCallback ?? ((run) => setTimeout(run, 1));
const near = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    const explore = target.querySelector('.plot-explore');
    if (matchMedia('(pointer: coarse)').matches && target.querySelector('.preview')) explore.hidden = false;
    else idle(() => load(target));
  }
}, {rootMargin: '200px'});
const scan = () => {
  for (const [figure, chart] of open) {
    if (figure.isConnected) continue;
    if (chart.canvas) window.Plotly?.purge(chart.canvas);
    open.delete(figure);
  }
  for (const figure of all('figure[data-chart]')) {
    if (open.has(figure)) continue;
    open.set(figure, {pending: []});
    near.observe(figure);
  }
};
const repaint = () => { for (const [figure, chart] of open) if (chart.canvas) draw(figure); };
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', repaint);
document.addEventListener('visibilitychange', () => {
  if (document.hidden) return;
  repaint();
  for (const [figure, chart] of open) if (chart.isBehind) follow(figure, chart);
});
new MutationObserver(repaint).observe(document.documentElement, {attributeFilter: ['data-theme', 'data-pnl']});
document.addEventListener('htmx:after:swap', scan);
scan();
