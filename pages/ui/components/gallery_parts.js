// The parts of the gallery. Names and labels come from data, so every text is set as textContent.

const LETTER = { keep: 'K', relabel: 'L', remove: 'X' };
const SAID = { keep: 'kept', relabel: 'relabelled', remove: 'removed' };
const CRISP = 96;   // pixels; smaller pictures are shown as they are, not blurred

function el(tag, className = '', text = null, attributes = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function within(parent, ...children) {
  parent.append(...children.filter(Boolean));
  return parent;
}

function percent(p) {
  return p === null || p === undefined ? '' : `${(100 * p).toFixed(p < 0.0995 || p >= 0.9995 ? 1 : 0)} %`;
}

function isDark(node) {
  const probe = el('span', '', null, { style: 'color: var(--st-background-color)' });
  node.append(probe);
  const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
  probe.remove();
  return r + g + b < 384;
}

// The element that scrolls the page.
function scrollerOf(root) {
  /** @type {HTMLElement | null} */
  const scroller = (root.getRootNode().host ?? root).closest('[data-testid="stMain"]');
  return scroller;
}

// Streamlit fades an element while its answer is on the way. Every mark here is drawn at once, so nothing may fade.
function unfading(root) {
  const place = (root.getRootNode().host ?? root).closest('[data-testid="stElementContainer"]');
  place?.style.setProperty('opacity', '1', 'important');
  place?.style.setProperty('transition', 'none', 'important');
}

// Thousands with a narrow space, as formats.py writes them.
function grouped(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, '\u202f');
}

// How much of the scrolled area Streamlit's header covers: 0 when the gallery scrolls in its own box.
function headerOver(root) {
  let above = root.getRootNode().host ?? root.parentElement;
  while (above && !/auto|scroll/.test(getComputedStyle(above).overflowY)) above = above.parentElement;
  /** @type {HTMLElement | null} */
  const header = document.querySelector('[data-testid="stHeader"]');
  return header && (!above || above.matches('[data-testid="stMain"]')) ? header.offsetHeight : 0;
}

function command(what, text, key, title, value = null) {
  const button = el('button', 'command', null, { type: 'button', 'data-do': what, title });
  if (value !== null) button.dataset.value = value;
  return within(button, el('span', '', text), key && el('kbd', '', key, { 'aria-hidden': 'true' }));
}

function picture(src, alt) {
  const image = el('img', '', null, { alt, decoding: 'async', loading: 'lazy', draggable: 'false' });
  image.onload = () => image.classList.toggle('crisp', image.naturalWidth < CRISP);
  image.onerror = () => image.classList.add('broken');
  image.src = src;
  return image;
}

// The face of a sample: its picture, or the cells of its row.
function face(item, alt) {
  return item.cells?.length ? rowFace(item.cells) : picture(item.src, alt);
}

function rowFace(cells) {
  const row = el('span', 'row');
  for (const cell of cells) {
    const title = `${cell.name}: ${cell.text}${cell.odd ? ', unusual' : ''}`;
    within(row, within(el('span', `cell${cell.odd ? ' odd' : ''}${cell.group ? ' group-of' : ''}`, null, { title }),
      el('span', 'column', cell.name), el('span', 'value', cell.text)));
  }
  return row;
}

// ---- frame ----

function buildParts(root) {
  /** @type {Record<string, any>} */
  const parts = { ...buildBar(), ...buildBanner(), ...buildLists(), help: buildHelp() };
  parts.stage = el('div', 'stage');
  parts.finish = el('div', 'finish', null, { role: 'status' });
  parts.finish.hidden = true;
  parts.live = el('div', 'live', null, { 'aria-live': 'polite', role: 'status' });
  parts.note = el('span', 'note', '', { 'aria-hidden': 'true' });
  const toast = within(el('div', 'toast'), parts.note);
  parts.empty = el('p', 'empty', 'No images here. Widen the filters to see more.');
  parts.empty.hidden = true;
  root.replaceChildren(parts.bar, parts.banner, parts.empty, parts.finish, parts.stage, parts.grid, parts.film, toast, parts.help, parts.live);
  return parts;
}

function buildBar() {
  const bar = el('div', 'bar', null, { role: 'toolbar', 'aria-label': 'Decisions' });
  const decisions = within(el('div', 'group decisions'),
    command('keep', 'Keep', 'K', 'Keep the given label'),
    command('relabel', 'Relabel', 'L', 'Relabel to the suggestion'),
    command('remove', 'Remove', 'X', 'Remove from the training data'),
    command('pick', 'Label…', '/', 'Relabel to any class'));
  const all = command('all', 'Select all', 'A', 'Select every image on this page');
  const clear = command('clear', 'Clear', 'Esc', 'Clear the selection');
  const edits = within(el('div', 'group edits'), command('undo', 'Undo', 'U', 'Undo the last decision (also Ctrl+Z); with Shift the whole burst'), all, clear);
  const status = el('span', 'status', '');
  const progress = el('span', 'progress', '');
  const name = el('button', 'link reviewer', '', { type: 'button', 'data-do': 'name', title: 'Your name, saved with each of your decisions' });
  const disputed = el('button', 'link disputed', '', { type: 'button', 'data-do': 'conflict', title: 'Two people decided differently' });
  const meter = el('span', 'fill');
  const views = within(el('div', 'group views', null, { role: 'group', 'aria-label': 'View' }),
    viewButton('grid', 'Grid', 'M1 1h5v5H1zM8 1h5v5H8zM1 8h5v5H1zM8 8h5v5H8z'),
    viewButton('card', 'One at a time', 'M1 2h12v10H1zM1 9h12'));
  const help = el('button', 'command square', '?', { type: 'button', 'data-do': 'help', title: 'Keys (?)', 'aria-label': 'Keys' });
  within(bar, decisions, edits, within(el('div', 'group right'), disputed, progress, name, status, views, help),
    within(el('span', 'meter', null, { 'aria-hidden': 'true' }), meter));
  return { bar, all, clear, status, progress, name, disputed, meter };
}

function viewButton(view, title, path) {
  const button = el('button', `command square view-${view}`, null,
    { type: 'button', 'data-do': 'view', 'data-value': view, title: `${title} (Enter)`, 'aria-label': title });
  /** @type {any} */
  const icon = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  for (const [name, value] of Object.entries({ viewBox: '0 0 14 14', width: 14, height: 14, 'aria-hidden': 'true' })) icon.setAttribute(name, value);
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  line.setAttribute('d', path);
  icon.append(line);
  return within(button, icon);
}

function buildBanner() {
  const banner = el('div', 'banner', null, { role: 'alert' });
  banner.hidden = true;
  const trouble = el('span', 'trouble', '');
  const discard = command('discard', 'Discard this decision', '', 'Drop the decision that could not be saved');
  within(banner, trouble, within(el('div', 'group'), command('retry', 'Try again now', '', 'Send the waiting decisions again'), discard));
  return { banner, trouble, discard };
}

function buildLists() {
  const attributes = { tabindex: '0', role: 'listbox', 'aria-multiselectable': 'true' };
  const grid = el('div', 'grid', null, attributes);
  const film = el('div', 'film', null, { ...attributes, 'aria-orientation': 'horizontal' });
  return { grid, film };
}

function buildHelp() {
  const help = el('div', 'help', null, { role: 'dialog', 'aria-modal': 'true', 'aria-label': 'Keys' });
  help.hidden = true;
  const rows = [
    ['K', 'keep the given label'], ['L', 'relabel to the suggestion'], ['X', 'remove from the training data'],
    ['1 … 9, 0', 'relabel to that class, one at a time the likeliest first'], ['/', 'relabel to any class, by typing'],
    ['U or Ctrl+Z', 'undo one decision'], ['Shift + U', 'undo a whole burst: decisions less than 2 seconds apart'],
    ['Space', 'select or unselect'], ['Shift + arrows or click', 'select a range'], ['A', 'select all or none'],
    ['I', 'show what this sample affects (Influence page)'], ['Arrows, Home, End', 'move; held down, only these repeat'], ['Enter', 'grid or one at a time'], ['Esc', 'clear the selection, back to the grid'],
  ];
  const sheet = el('dl', 'keys');
  for (const [keys, meaning] of rows) within(sheet, within(el('dt'), ...keys.split(' or ').flatMap(orKey)), el('dd', '', meaning));
  const close = command('help', 'Close', 'Esc', 'Close');
  return within(help, within(el('div', 'sheet'),
    within(el('div', 'title'), el('strong', '', 'Keys'), close), sheet,
    el('p', 'small', 'With images selected, a decision applies to all of them. Every decision is saved at once and can be undone.')));
}

function orKey(key, i) {
  return i ? [document.createTextNode(' or '), el('kbd', '', key)] : [el('kbd', '', key)];
}

// ---- cards ----
// A card is named by what it contains: what it shows with an arrow, a letter or a picture alone stands in words, unseen.

function cardShell(className, item, i) {
  const card = el('div', className, null, { role: 'option', id: `${className}${i}`, 'data-i': i });
  const box = within(el('div', `picture${item.cells?.length ? ' cells' : ''}`), face(item, ''), el('span', 'mark', '', { 'aria-hidden': 'true' }));
  return within(card, box);
}

function gridCard(item, i) {
  const card = cardShell('card', item, i);
  card.firstChild.append(el('span', 'tick', '', { 'aria-hidden': 'true', title: 'Select (Space)' }),
    el('span', 'explain', 'i', { 'aria-hidden': 'true', title: item.explain ?? 'What this sample affects (I)' }));
  const bars = el('div', 'bars', null, { 'aria-hidden': 'true' });
  for (const bar of item.bars || []) {
    const track = within(el('span', 'track'), el('span', `fill ${bar.tone ?? ''}`, null, { style: `width:${clip(bar.value)}%` }));
    const said = `${bar.name} ${bar.text ?? Number(bar.value).toFixed(2)}${bar.raw ? ` (${bar.raw})` : ''}`;
    bars.append(within(el('span', 'tip', null, { 'data-tip': said }), el('span', 'bar-name', bar.name.split(' ')[0]), track));
  }
  const note = item.note && el('div', `said ${item.tone ?? ''}`, item.note, { title: item.note });
  const doubt = item.doubt && el('div', 'doubt', item.doubt, { title: 'Its own label is in doubt' });
  within(card, el('div', 'names'), note, doubt, item.bars?.length && bars, el('div', 'other', 'changed by someone else'));
  drawDecision(card, item);
  return card;
}

// A row does not fit into a frame of the film: its number and its label are enough to find it again.
function filmCard(item, i) {
  const short = [{ name: String(i + 1), text: item.given, odd: false }];
  const card = cardShell('frame', item.cells?.length ? { ...item, cells: short } : item, i);
  within(card, el('div', 'names unseen'), el('div', 'unseen', item.note ?? ''), el('div', 'other unseen', 'changed by someone else'));
  drawDecision(card, item);
  return card;
}

function clip(value) {
  return Math.round(1000 * Math.min(1, Math.max(0, Number(value) || 0))) / 10;
}

// Letter on the picture, and the line "given → label".
function drawDecision(card, item) {
  const decision = item.decision;
  card.querySelector('.mark').textContent = decision ? LETTER[decision.action] : '';
  const label = decision ? decision.label : item.suggested;
  const said = decision ? `, ${SAID[decision.action]}${label ? ' to' : ''} ` : label ? ', suggested ' : '';
  const given = el('span', 'given', item.given, { title: `given label: ${item.given}` });
  const arrow = label && el('span', 'arrow', '→', { 'aria-hidden': 'true' });
  const to = label && el('span', 'to', label, { title: `${decision ? 'new' : 'suggested'} label: ${label}` });
  card.querySelector('.names').replaceChildren(
    ...[el('span', 'unseen', 'given '), given, arrow, el('span', 'unseen', said), to].filter(Boolean));
}

// ---- classes ----

function probabilityOf(item, classes, name) {
  const found = item?.top?.find(([index]) => classes[index] === name);
  return found ? found[1] : null;
}
