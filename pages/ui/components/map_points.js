// Points on a WebGL canvas: buffers, colours and the view, without lassos, tooltips or Python.

const VERTEX = `
attribute vec2 position;
attribute vec4 colour;                 // a: 1 lit, 0 faded
attribute float size;
attribute float ringed;                // 1: has a ring and is drawn last
uniform vec4 view;                     // centre x, centre y, clip units per data unit x, y
uniform float diameter;
uniform float turn;                    // which points this pass draws: 0 faded, 1 lit, 2 lit with a ring
varying vec3 tint;
varying float soft;
void main() {
  float mine = colour.a > 0.5 ? (ringed > 0.5 ? 2.0 : 1.0) : 0.0;
  gl_Position = mine == turn ? vec4((position - view.xy) * view.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = diameter * (0.6 + 1.6 * size) * (turn > 1.5 ? 1.5 : turn > 0.5 ? 1.0 : 0.8);
  tint = colour.rgb;
  soft = 2.0 / gl_PointSize;
}`;

const FRAGMENT = `
precision mediump float;
varying vec3 tint;
varying float soft;
uniform float opacity;
uniform float rim;
uniform vec3 ink;
uniform float ring;                    // width of the ring in pixels; 0: none
void main() {
  float r = 2.0 * length(gl_PointCoord - 0.5);
  float cover = 1.0 - smoothstep(1.0 - soft, 1.0, r);
  float inner = 1.0 - max(2.5, 1.0 + ring) * soft;
  float edge = smoothstep(inner, inner + (ring > 0.0 ? soft : 1.5 * soft), r);
  vec3 shown = ring > 0.0 ? mix(tint, ink, edge) : tint * mix(1.0, rim, edge);
  gl_FragColor = vec4(shown, 1.0) * (cover * opacity);
}`;

class Points {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext('webgl', { antialias: false, alpha: true, premultipliedAlpha: true });
    if (!this.gl) return;
    this.n = 0;
    this.arrays = {};
    canvas.addEventListener('webglcontextlost', e => e.preventDefault());
    canvas.addEventListener('webglcontextrestored', () => {
      const kept = { ...this.arrays };
      this.prepare();
      for (const [name, array] of Object.entries(kept)) this.upload(name, array);
      this.draw();
    });
    this.prepare();
  }

  prepare() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [type, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    gl.useProgram(program);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.program = program;
    this.buffers = {};
    this.uniforms = Object.fromEntries(['view', 'diameter', 'turn', 'opacity', 'rim', 'ink', 'ring'].map(name => [name, gl.getUniformLocation(program, name)]));
    this.constant('size', 0.25);
    this.constant('ringed', 0);
  }

  // One attribute: float32 pairs for `position`, four bytes for `colour`, one byte for `size` and for `ringed`.
  upload(name, array) {
    const { gl } = this;
    const [parts, type, normal] = { position: [2, gl.FLOAT, false], colour: [4, gl.UNSIGNED_BYTE, true], size: [1, gl.UNSIGNED_BYTE, true], ringed: [1, gl.UNSIGNED_BYTE, true] }[name];
    this.arrays[name] = array;
    this.buffers[name] ??= gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, array, gl.STATIC_DRAW);
    const at = gl.getAttribLocation(this.program, name);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, parts, type, normal, 0, 0);
    if (name === 'position') this.n = array.length / 2;
  }

  constant(name, value) {
    const at = this.gl.getAttribLocation(this.program, name);
    delete this.arrays[name];
    this.gl.disableVertexAttribArray(at);
    this.gl.vertexAttrib1f(at, value);
  }

  // view: { x, y, scale } with scale in CSS pixels per data unit; zoom: scale relative to the fitted view; ink: the
  // colour of the rings, red, green and blue from 0 to 255.
  // @ts-expect-error: Object.assign keeps what was drawn last
  draw(view = this.view, zoom = this.zoom, dark = this.dark, ink = this.ink) {
    Object.assign(this, { view, zoom, dark, ink });
    const { gl, canvas, uniforms, n } = this;
    if (!view || !this.arrays.position || !this.arrays.colour) return;
    const ratio = canvas.width / canvas.clientWidth;
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform4f(uniforms.view, view.x, view.y, (2 * view.scale) / canvas.clientWidth, (2 * view.scale) / canvas.clientHeight);
    const base = n <= 1500 ? 9 : n <= 6000 ? 7 : n <= 30000 ? 5 : n <= 200000 ? 3.2 : 2.2;
    gl.uniform1f(uniforms.diameter, base * Math.min(2.4, Math.max(1, Math.sqrt(zoom))) * ratio);
    gl.uniform1f(uniforms.rim, dark ? 0.72 : 0.82);
    gl.uniform3f(uniforms.ink, ink[0] / 255, ink[1] / 255, ink[2] / 255);
    const many = n > 200000;
    const turns = [[0, many ? 0.25 : dark ? 0.5 : 0.42], [1, many ? 0.6 : 0.9]];
    if (this.arrays.ringed) turns.push([2, 1]);
    for (const [turn, opacity] of turns) {
      gl.uniform1f(uniforms.turn, turn);
      gl.uniform1f(uniforms.opacity, opacity);
      gl.uniform1f(uniforms.ring, turn === 2 ? 1.4 * ratio : 0);
      gl.drawArrays(gl.POINTS, 0, n);
    }
  }

  close() {
    this.gl?.getExtension('WEBGL_lose_context')?.loseContext();
  }
}

// ---- geometry ----

// Even-odd rule, the same expression as `inside` in map.py: both must agree on every point.
function mark(polygon, xy) {
  const n = xy.length / 2;
  const found = new Uint8Array(n);
  const [xs, ys] = [polygon.map(p => p[0]), polygon.map(p => p[1])];
  const [lowX, highX, lowY, highY] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
  for (let i = 0; i < n; i++) {
    const x = xy[2 * i], y = xy[2 * i + 1];
    if (!(x >= lowX && x <= highX && y >= lowY && y <= highY)) continue;
    let odd = 0;
    for (let a = xs.length - 1, b = 0; b < xs.length; a = b++) {
      if (ys[a] > y !== ys[b] > y && x < ((xs[b] - xs[a]) * (y - ys[a])) / (ys[b] - ys[a]) + xs[a]) odd ^= 1;
    }
    found[i] = odd;
  }
  return found;
}

// Position of the point nearest to (x, y) within `reach` data units, or -1.
function nearest(xy, x, y, reach) {
  let best = reach * reach, found = -1;
  for (let i = 0, n = xy.length / 2; i < n; i++) {
    const dx = xy[2 * i] - x, dy = xy[2 * i + 1] - y, d = dx * dx + dy * dy;
    if (d <= best) [best, found] = [d, i];
  }
  return found;
}

function rgb(hex) {
  return [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
}

// ---- the packed message of map.py: uint32 length, JSON header, sections ----

function unpack(bytes, known) {
  const length = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
  const types = { f4: Float32Array, u1: Uint8Array, u2: Uint16Array };
  const fresh = {};
  for (const { name, type, offset, length: count, digest } of header.sections) {
    if (known[name] === digest) continue;
    const from = 4 + length + offset;
    // A copy, because a section may start at an address its type is not aligned to.
    fresh[name] = new types[type](bytes.slice(from, from + count * types[type].BYTES_PER_ELEMENT).buffer);
    known[name] = digest;
  }
  return { header, fresh };
}
