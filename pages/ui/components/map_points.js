// Points on a WebGL canvas: buffers, colours and the view, without lassos, tooltips or Python.

const VERTEX = `
attribute vec2 position;
attribute vec4 colour;                 // a: 1 lit, 0 faded
attribute float size;
uniform vec4 view;                     // centre x, centre y, clip units per data unit x, y
uniform float diameter;
uniform float lit;                     // which half this pass draws
varying vec3 tint;
varying float soft;
void main() {
  bool mine = (colour.a > 0.5) == (lit > 0.5);
  gl_Position = mine ? vec4((position - view.xy) * view.zw, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  gl_PointSize = diameter * (0.6 + 1.6 * size) * (lit > 0.5 ? 1.0 : 0.8);
  tint = colour.rgb;
  soft = 2.0 / gl_PointSize;
}`;

const FRAGMENT = `
precision mediump float;
varying vec3 tint;
varying float soft;
uniform float opacity;
uniform float rim;
void main() {
  float r = 2.0 * length(gl_PointCoord - 0.5);
  float cover = 1.0 - smoothstep(1.0 - soft, 1.0, r);
  float edge = smoothstep(1.0 - 2.5 * soft, 1.0 - soft, r);
  vec3 shown = tint * mix(1.0, rim, edge);
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
      this.prepare();
      for (const [name, array] of Object.entries(this.arrays)) this.upload(name, array);
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
    this.uniforms = Object.fromEntries(['view', 'diameter', 'lit', 'opacity', 'rim'].map(name => [name, gl.getUniformLocation(program, name)]));
    this.constant('size', 0.25);
  }

  // One attribute: float32 pairs for `position`, four bytes for `colour`, one byte for `size`.
  upload(name, array) {
    const { gl } = this;
    const [parts, type, normal] = { position: [2, gl.FLOAT, false], colour: [4, gl.UNSIGNED_BYTE, true], size: [1, gl.UNSIGNED_BYTE, true] }[name];
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

  // view: { x, y, scale } with scale in CSS pixels per data unit; zoom: scale relative to the fitted view.
  // @ts-expect-error: Object.assign keeps what was drawn last
  draw(view = this.view, zoom = this.zoom, dark = this.dark) {
    Object.assign(this, { view, zoom, dark });
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
    const many = n > 200000;
    for (const [lit, opacity] of [[0, many ? 0.25 : dark ? 0.5 : 0.42], [1, many ? 0.6 : 0.9]]) {
      gl.uniform1f(uniforms.lit, lit);
      gl.uniform1f(uniforms.opacity, opacity);
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
