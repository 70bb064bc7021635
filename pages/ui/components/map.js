// A map of samples: lasso, pan, zoom, hover. map_points.js is loaded before this file.
// Python receives one thing only: the outline of the selection in data coordinates, or that there is none.

const maps = new WeakMap();
const REACH = 12;   // CSS pixels around the pointer in which a point is hovered
const ICONS = {
  lasso: 'M7 2C3.7 2 1.5 3.6 1.5 5.6S3.7 9.2 7 9.2s5.5-1.6 5.5-3.6S10.3 2 7 2ZM4 8.6c-1 .8-.8 2.2.4 2.2s1.4 1.2.6 2',
  pan: 'M7 1v12M1 7h12M5 3l2-2 2 2M5 11l2 2 2-2M3 5 1 7l2 2M11 5l2 2-2 2',
  in: 'M6 2.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M8.6 8.6 12.5 12.5M6 4.5v3M4.5 6h3',
  out: 'M6 2.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7M8.6 8.6 12.5 12.5M4.5 6h3',
  reset: 'M1.5 5V1.5H5M9 1.5h3.5V5M12.5 9v3.5H9M5 12.5H1.5V9',
};

function node(tag, className = '', text = null, attributes = {}) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function tool(name, title) {
  const button = node('button', `tool ${name}`, null, { type: 'button', title, 'aria-label': title, 'data-do': name });
  const icon = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  icon.setAttribute('viewBox', '0 0 14 14');
  icon.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', ICONS[name]);
  icon.append(path);
  button.append(icon);
  return button;
}

class SampleMap {
  constructor(root) {
    this.root = root;
    this.build();
    this.points = new Points(this.canvas);
    this.known = {};            // digest of each section already here
    this.data = {};             // the sections themselves
    this.polygon = null;
    this.inside = null;         // one byte a point: in the polygon
    this.highlighted = null;    // palette index of the one class shown in colour
    this.hovered = -1;
    this.mode = 'lasso';
    this.view = null;
    this.message.hidden = Boolean(this.points.gl);
    if (!this.points.gl) {
      this.message.textContent = 'This browser cannot draw the map because WebGL is off. The Outliers page shows every sample as well.';
      return;
    }
    this.listen();
    this.resizes = new ResizeObserver(() => this.resize());
    this.resizes.observe(this.stage);
  }

  build() {
    const tools = node('div', 'tools', null, { role: 'toolbar', 'aria-label': 'Map tools' });
    tools.append(tool('lasso', 'Lasso: drag around points (Alt+drag: box)'), tool('pan', 'Move the map (or Shift+drag)'),
      tool('in', 'Zoom in (+)'), tool('out', 'Zoom out (−)'), tool('reset', 'Whole map (0 or double click)'));
    this.count = node('span', 'count', '', { role: 'status' });
    this.clear = node('button', 'clear', 'Clear selection', { type: 'button', 'data-do': 'clear', title: 'Clear the selection (Esc)' });
    this.clear.hidden = true;
    this.top = node('div', 'top');
    this.top.append(tools, this.count, this.clear);
    this.stage = node('div', 'stage', null, { tabindex: '0', role: 'application' });
    this.canvas = node('canvas', 'points', null, { 'aria-hidden': 'true' });
    this.overlay = node('canvas', 'overlay', null, { 'aria-hidden': 'true' });
    this.hint = node('div', 'hint', 'Drag to lasso · Shift+drag to move · wheel to zoom');
    this.message = node('p', 'message', '');
    this.tip = node('div', 'tip');
    this.tip.hidden = true;
    this.stage.append(this.canvas, this.overlay, this.hint, this.message, this.tip);
    this.legend = node('div', 'legend', null, { role: 'group' });
    this.root.replaceChildren(this.top, this.legend, this.stage);
  }

  listen() {
    const { overlay, stage, root } = this;
    overlay.addEventListener('pointerdown', e => this.press(e));
    overlay.addEventListener('pointermove', e => this.drag(e));
    overlay.addEventListener('pointerup', () => this.release());
    overlay.addEventListener('pointercancel', () => this.abandon());
    overlay.addEventListener('pointerleave', () => this.hover(-1));
    overlay.addEventListener('dblclick', () => this.fit(true));
    overlay.addEventListener('wheel', e => this.wheel(e), { passive: false });
    stage.addEventListener('keydown', e => this.onKey(e));
    root.addEventListener('click', e => this.onCommand(e));
  }

  close() {
    this.resizes?.disconnect();
    this.points.close();
  }

  // ---- data from Python ----

  update(bytes, tell) {
    this.tell = tell;
    const { header, fresh } = unpack(bytes, this.known);
    this.header = header;
    Object.assign(this.data, fresh);
    this.root.style.height = `${header.height}px`;
    this.stage.setAttribute('aria-label', `${header.label}: ${grouped(header.n)} points. Drag to lasso, Shift+drag to move, wheel or plus and minus to zoom, Escape clears the selection.`);
    if (!this.points.gl) return;
    this.readTheme();
    if (header.url && header.url !== this.url) this.fetchPoints(header.url);
    if (fresh.xy) this.placePoints();
    for (const [name, usual] of [['size', 0.25], ['ringed', 0]]) {
      if (fresh[name]) this.points.upload(name, fresh[name]);
      if (header.sections.some(s => s.name === name) || !this.data[name]) continue;
      delete this.data[name];
      delete this.known[name];
      this.points.constant(name, usual);
    }
    this.drawLegend();
    this.recolour();
    this.showFocus();
    this.redraw();
    this.root.dataset.ready = String(header.n);
  }

  async fetchPoints(url) {
    this.url = url;
    this.say(`Loading ${grouped(this.header.n)} points…`);
    const answer = await fetch(url);
    if (this.url !== url) return;
    if (!answer.ok) return this.say(`The points could not be loaded (the server answered ${answer.status}). Reload the page.`);
    this.data.xy = new Float32Array(await answer.arrayBuffer());
    this.say('');
    this.placePoints();
    this.recolour();
    this.showFocus();
    this.redraw();
  }

  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  placePoints() {
    this.points.upload('position', this.data.xy);
    this.polygon = this.inside = null;
    this.hovered = -1;
    this.fitted = true;
    this.resize();
    this.recall();
  }

  // The selection survives a reload and a visit to another page, in this tab.
  recall() {
    let kept = null;
    try {
      kept = JSON.parse(sessionStorage.getItem(this.header.store));
    } catch {
      kept = null;
    }
    if (!kept || kept.n !== this.header.n || !kept.polygon) return;
    this.select(kept.polygon);
  }

  remember() {
    if (!this.polygon) sessionStorage.removeItem(this.header.store);
    else sessionStorage.setItem(this.header.store, JSON.stringify({ n: this.header.n, polygon: this.polygon }));
  }

  readTheme() {
    const colour = name => {
      const probe = node('span', '', null, { style: `color: ${name}` });
      this.root.append(probe);
      const parts = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
      probe.remove();
      return parts;
    };
    const ground = colour('var(--st-background-color)');
    this.dark = ground[0] + ground[1] + ground[2] < 384;
    this.root.dataset.theme = this.dark ? 'dark' : 'light';
    this.accent = `rgb(${colour('var(--st-primary-color)').join(' ')})`;
    this.rings = colour('var(--st-text-color)');
    this.ink = `rgb(${this.rings.join(' ')})`;
    this.ground = `rgb(${ground.join(' ')})`;
    this.faded = this.dark ? [98, 101, 106] : [173, 178, 184];
    this.quiet = this.dark ? [96, 100, 106] : [188, 193, 199];
  }

  // ---- colours ----

  recolour() {
    const { header, data, inside, highlighted, faded } = this;
    if (!data.xy || data.colour.length !== data.xy.length / 2) return;
    const palette = this.colours();
    const out = new Uint8Array(4 * data.colour.length);
    for (let i = 0; i < data.colour.length; i++) {
      const index = data.colour[i];
      const lit = (!inside || inside[i]) && (highlighted === null || highlighted === index);
      const [r, g, b] = lit ? palette[index] : faded;
      out[4 * i] = r;
      out[4 * i + 1] = g;
      out[4 * i + 2] = b;
      out[4 * i + 3] = lit ? 255 : 0;
    }
    this.points.upload('colour', out);
  }

  // The first `quiet` colours of the palette are one grey, that of the theme.
  colours() {
    const { palette, quiet } = this.header;
    return palette.map((colour, i) => (i < quiet ? this.quiet : rgb(colour)));
  }

  drawLegend() {
    const { legend, palette, ring, quiet } = this.header;
    const stamp = JSON.stringify([legend, palette, ring, quiet, this.dark]);
    if (stamp === this.legendStamp) return;
    this.legendStamp = stamp;
    this.highlighted = null;
    this.legend.setAttribute('aria-label', legend.title);
    this.legend.replaceChildren(node('span', 'title', legend.title), ...(legend.names ? this.swatches() : this.colourBar()));
    if (!ring) return;
    const mark = node('span', 'ringed');
    mark.append(node('span', 'dot'), node('span', '', ring));
    this.legend.append(mark);
  }

  swatches() {
    const { legend, palette } = this.header;
    return legend.names.map((name, i) => {
      const button = node('button', 'swatch', null, { type: 'button', 'data-do': 'highlight', 'data-value': i, 'aria-pressed': 'false', title: `Show only ${name} in colour` });
      button.append(node('span', 'dot', null, { style: `background: ${palette[i]}` }), node('span', '', name));
      return button;
    });
  }

  colourBar() {
    const { legend } = this.header;
    const stops = this.colours().filter((_, i) => i % 5 === 0).map(colour => `rgb(${colour.join(' ')})`);
    const bar = node('span', 'ramp', null, { style: `background: linear-gradient(to right, ${stops.join(', ')})` });
    return [node('span', 'number', short(legend.low)), bar, node('span', 'number', short(legend.high))];
  }

  highlight(index) {
    this.highlighted = this.highlighted === index ? null : index;
    this.legend.querySelectorAll('.swatch').forEach((button, i) => button.setAttribute('aria-pressed', String(i === this.highlighted)));
    this.legend.classList.toggle('one', this.highlighted !== null);
    this.recolour();
    this.redraw();
  }

  // ---- the view ----

  resize() {
    const { clientWidth: w, clientHeight: h } = this.stage;
    if (!w || !h) return;
    const ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.canvas, this.overlay]) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(h * ratio);
    }
    if (this.fitted !== false) this.fit();
    this.redraw();
  }

  fit(redraw = false) {
    if (!this.header) return;
    const [x0, y0, x1, y1] = this.header.bounds;
    const { clientWidth: w, clientHeight: h } = this.stage;
    this.full = Math.min((w - 48) / (x1 - x0 || 1), (h - 48) / (y1 - y0 || 1));
    this.view = { x: (x0 + x1) / 2, y: (y0 + y1) / 2, scale: this.full };
    this.fitted = true;
    if (redraw) this.redraw();
  }

  toData(e) {
    const box = this.overlay.getBoundingClientRect();
    const { x, y, scale } = this.view;
    return [(e.clientX - box.left - box.width / 2) / scale + x, (box.height / 2 - (e.clientY - box.top)) / scale + y];
  }

  /** @param {number[]} point */
  toPixel([px, py]) {
    const { x, y, scale } = this.view;
    return [(px - x) * scale + this.stage.clientWidth / 2, this.stage.clientHeight / 2 - (py - y) * scale];
  }

  zoom(factor, at = [this.view.x, this.view.y]) {
    const scale = Math.min(this.full * 400, Math.max(this.full / 3, this.view.scale * factor));
    const shrink = this.view.scale / scale;
    this.view = { x: at[0] - (at[0] - this.view.x) * shrink, y: at[1] - (at[1] - this.view.y) * shrink, scale };
    this.fitted = false;
    this.hover(-1);
    this.redraw();
  }

  shift(dx, dy) {
    this.view = { ...this.view, x: this.view.x - dx / this.view.scale, y: this.view.y + dy / this.view.scale };
    this.fitted = false;
    this.redraw();
  }

  showFocus() {
    const { focus } = this.header;
    if (focus === this.focus || !this.data.xy || !this.view) return;
    this.focus = focus;
    if (focus === null || focus === undefined) return;
    const at = [this.data.xy[2 * focus], this.data.xy[2 * focus + 1]];
    const [x, y] = this.toPixel(at);
    const seen = x > 24 && y > 24 && x < this.stage.clientWidth - 24 && y < this.stage.clientHeight - 24;
    if (!seen) this.view = { ...this.view, x: at[0], y: at[1] };
  }

  redraw() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = null;
      if (!this.view) return;
      this.points.draw(this.view, this.view.scale / this.full, this.dark, this.rings);
      this.drawOverlay();
      this.root.dataset.view = [this.view.x, this.view.y, this.view.scale].join(' ');
    });
  }

  drawOverlay() {
    const ratio = this.overlay.width / this.stage.clientWidth;
    const pen = this.overlay.getContext('2d');
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, this.stage.clientWidth, this.stage.clientHeight);
    const outline = this.drawing || this.polygon;
    if (outline?.length > 1) {
      pen.beginPath();
      outline.forEach((corner, i) => pen[i ? 'lineTo' : 'moveTo'](...this.toPixel(corner)));
      pen.closePath();
      pen.globalAlpha = 0.07;
      pen.fillStyle = this.accent;
      pen.fill();
      pen.globalAlpha = 1;
      pen.setLineDash(this.drawing ? [] : [5, 4]);
      this.stroke(pen, this.accent, 1.5);
      pen.setLineDash([]);
    }
    if (this.focus !== null && this.focus !== undefined) this.ring(pen, this.focus, 11, this.accent, 3);
    if (this.hovered >= 0) this.ring(pen, this.hovered, 7, this.ink, 1.5);
  }

  ring(pen, i, radius, colour, width) {
    pen.beginPath();
    pen.arc(...this.toPixel([this.data.xy[2 * i], this.data.xy[2 * i + 1]]), radius, 0, 7);
    this.stroke(pen, this.ground, width + 2);
    this.stroke(pen, colour, width);
  }

  stroke(pen, colour, width) {
    pen.strokeStyle = colour;
    pen.lineWidth = width;
    pen.stroke();
  }

  // ---- pointer ----

  press(e) {
    if (!this.view || e.button > 1) return;
    const moving = e.shiftKey || e.button === 1 || this.mode === 'pan';
    this.gesture = moving ? 'pan' : e.altKey ? 'box' : 'lasso';
    this.last = [e.clientX, e.clientY];
    this.start = this.toData(e);
    if (this.gesture !== 'pan') this.drawing = [this.start];
    this.overlay.setPointerCapture(e.pointerId);
    this.stage.focus({ preventScroll: true });
    this.hover(-1);
    e.preventDefault();
  }

  drag(e) {
    if (!this.gesture) return this.look(e);
    const [dx, dy] = [e.clientX - this.last[0], e.clientY - this.last[1]];
    if (Math.abs(dx) + Math.abs(dy) < 2) return;
    this.last = [e.clientX, e.clientY];
    const [x, y] = this.toData(e);
    if (this.gesture === 'pan') this.shift(dx, dy);
    else if (this.gesture === 'lasso') this.drawing.push([x, y]);
    else this.drawing = [this.start, [x, this.start[1]], [x, y], [this.start[0], y]];
    this.redraw();
  }

  release() {
    const outline = this.drawing;
    this.abandon();
    if (outline?.length > 2) this.select(thin(outline));
  }

  abandon() {
    this.gesture = this.drawing = null;
    this.redraw();
  }

  wheel(e) {
    e.preventDefault();
    if (this.view) this.zoom(Math.exp(-Math.max(-60, Math.min(60, e.deltaY)) * 0.004), this.toData(e));
  }

  look(e) {
    this.pointer = e;
    this.looking ??= requestAnimationFrame(() => {
      this.looking = null;
      if (!this.view || !this.data.xy || this.gesture) return;
      this.hover(nearest(this.data.xy, ...this.toData(this.pointer), REACH / this.view.scale));
    });
  }

  // ---- selection ----

  select(polygon, tell = true) {
    this.polygon = polygon;
    this.inside = polygon && mark(polygon, this.data.xy);
    const n = this.inside ? this.inside.reduce((sum, one) => sum + one, 0) : 0;
    this.count.textContent = polygon ? `${grouped(n)} selected` : '';
    this.clear.hidden = !polygon;
    this.hint.hidden = true;
    this.root.dataset.selected = polygon ? String(n) : '';
    this.remember();
    this.recolour();
    this.redraw();
    if (tell) this.tell(polygon && { polygon });
  }

  hover(i) {
    if (i === this.hovered) return;
    this.hovered = i;
    this.tip.hidden = i < 0;
    clearTimeout(this.resting);
    if (i >= 0) this.describe(i);
    this.redraw();
  }

  describe(i) {
    const { header, data, tip } = this;
    const lines = header.hover.map((line, k) => {
      const value = data[`hover${k}`][i];
      const row = node('div', 'line');
      row.append(node('span', 'name', line.title), node('span', 'value', line.names ? line.names[value] ?? '' : short(value)));
      return row;
    });
    tip.replaceChildren(...(header.thumbnails ? [this.thumbnail(i)] : []), ...lines);
    const [x, y] = this.toPixel([data.xy[2 * i], data.xy[2 * i + 1]]);
    const right = x + 16 + tip.offsetWidth > this.stage.clientWidth;
    tip.style.left = `${Math.max(0, right ? x - 16 - tip.offsetWidth : x + 16)}px`;
    tip.style.top = `${Math.max(4, Math.min(y - tip.offsetHeight / 2, this.stage.clientHeight - tip.offsetHeight - 4))}px`;
  }

  // Fetched once the pointer rests; otherwise a sweep across the map would request a hundred pictures.
  thumbnail(i) {
    const image = node('img', 'picture', null, { alt: '' });
    image.onload = () => image.classList.toggle('crisp', image.naturalWidth < 96);
    this.resting = setTimeout(() => (image.src = `${this.header.thumbnails}${i}`), 40);
    return image;
  }

  // ---- keys and buttons ----

  onKey(e) {
    if (e.ctrlKey || e.metaKey || e.altKey || !this.view) return;
    const step = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[e.key];
    if (step) this.shift(...step);
    else if (e.key === '+' || e.key === '=') this.zoom(1.4);
    else if (e.key === '-') this.zoom(1 / 1.4);
    else if (e.key === '0') this.fit(true);
    else if (e.key === 'Escape' && this.drawing) this.abandon();
    else if (e.key === 'Escape' && this.polygon) this.select(null);
    else return;
    e.preventDefault();
    e.stopPropagation();
  }

  onCommand(e) {
    const button = e.target.closest('[data-do]');
    if (!button || !this.view) return;
    const what = button.dataset.do;
    if (what === 'lasso' || what === 'pan') this.root.dataset.mode = this.mode = what;
    else if (what === 'in') this.zoom(1.4);
    else if (what === 'out') this.zoom(1 / 1.4);
    else if (what === 'reset') this.fit(true);
    else if (what === 'clear') this.select(null);
    else if (what === 'highlight') this.highlight(Number(button.dataset.value));
  }
}

// At most 1,500 corners: a slow hand draws thousands and every one is sent and tested.
function thin(outline) {
  const step = Math.ceil(outline.length / 1500);
  return step === 1 ? outline : outline.filter((_, i) => i % step === 0);
}

// Thousands with a thin space.
function grouped(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, '\u2009');
}

// Three significant digits.
function short(value) {
  if (!Number.isFinite(value)) return 'none';
  if (value !== 0 && (Math.abs(value) < 0.001 || Math.abs(value) >= 100000)) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector('.root');
  let map = maps.get(root);
  if (!map) maps.set(root, (map = new SampleMap(root)));
  map.update(data instanceof Uint8Array ? data : new Uint8Array(data), lasso => setStateValue('lasso', lasso));
  return ending(root, () => {
    map.close();
    maps.delete(root);
  });
}
