// The hexagons as a layer of the map: drawn by WebGL from one buffer of corners and one byte of class per corner,
// so that another window or another measure costs one small upload.

import { UNKNOWN } from "/web/measures.js";

const VERTEX = `#version 300 es
uniform mat4 matrix; uniform float shift; uniform float least;
in vec2 corner; in vec2 middle; in float rim; in float kind;
out float edge; flat out float shown;
void main() {
  edge = rim; shown = kind;
  vec2 arm = corner - middle;
  vec2 at = middle + arm * max(1.0, rim * least / max(length(arm), 1e-12));
  gl_Position = matrix * vec4(at.x + shift, at.y, 0.0, 1.0);
}`;
// A cell is drawn with a radius of so many pixels at the least, so that a lone shop of a large country can be seen.
const LEAST_PX = 1.6;
const ALONE_PX = 3; // where there are few cells at all, none of which can hide another
const FEW = 400;
const LINED_PX = 3.3; // below this radius there is no room for lines, and four triangles do for six
// A line of one pixel inside the rim, which fades where cells are small; a hatch where nothing is known.
const FRAGMENT = `#version 300 es
precision highp float;
uniform vec4 colours[8]; uniform vec4 blank; uniform vec4 hatch; uniform vec4 line; uniform float dot_px;
in float edge; flat in float shown;
out vec4 colour;
void main() {
  vec4 inner = blank;
  if (shown < 8.0) inner = colours[int(shown + 0.5)];
  else if (mod(gl_FragCoord.x + gl_FragCoord.y, 7.0 * dot_px) < 1.6 * dot_px) inner = hatch;
  float wide = fwidth(edge);
  float rimmed = smoothstep(1.0 - 1.5 * wide, 1.0 - 0.5 * wide, edge) * smoothstep(0.3, 0.1, wide);
  vec4 mixed = mix(inner, line, rimmed * line.a);
  colour = vec4(mixed.rgb * inner.a, inner.a);
}`;

// Web Mercator with the world's width as the unit, as the map's own matrix takes it.
const easting = (lon) => lon / 360 + 0.5;
const northing = (lat) => 0.5 - Math.log(Math.tan(Math.PI / 4 + lat * Math.PI / 360)) / (2 * Math.PI);

// A longitude on the same side of the antimeridian as `first`.
const beside = (lon, first) => lon + 360 * ((first - lon > 180) - (lon - first > 180));

// The cell's outline as [longitude, latitude]; over the antimeridian it goes on beyond 180 degrees.
export function ring(id) {
  const points = h3.cellToBoundary(id, true);
  return points.map(([lon, lat]) => [beside(lon, points[0][0]), lat]);
}

// A fan of triangles for each cell, and as few triangles as do; coarse cells first so that finer ones lie above.
// Corners are relative to `origin`, since a 32-bit number cannot hold both a place on the globe and a metre. Numbers
// are written where they belong: a list for each of 300,000 corners would cost more than all the rest.
export function shape(ids) {
  const rings = ids.map((id) => h3.cellToBoundary(id, true));
  const order = ids.map((_, i) => i).sort((a, b) => h3.getResolution(ids[a]) - h3.getResolution(ids[b]));
  const many = rings.reduce((sum, each) => sum + each.length, 0);
  const all = many + ids.length;
  const [corners, middles, rims] = [new Float32Array(2 * all), new Float32Array(2 * all), new Uint8Array(all).fill(1)];
  const [owners, fans] = [new Uint32Array(all), new Uint32Array(3 * many)];
  const plains = new Uint32Array(3 * (many - 2 * ids.length));
  const [west, north] = rings.length ? [easting(rings[0][0][0]), northing(rings[0][0][1])] : [0, 0];
  let [at, fan, plain] = [0, 0, 0];
  for (const i of order) {
    const [middle, points] = [at, rings[i]];
    let [x, y] = [0, 0];
    rims[middle] = 0;
    for (let k = 0; k < points.length; k += 1) {
      at += 1;
      corners[2 * at] = easting(beside(points[k][0], points[0][0])) - west;
      corners[2 * at + 1] = northing(points[k][1]) - north;
      x += corners[2 * at]; y += corners[2 * at + 1];
      fans[fan++] = middle; fans[fan++] = at; fans[fan++] = middle + 1 + (k + 1) % points.length;
      if (k > 1) { plains[plain++] = middle + 1; plains[plain++] = at - 1; plains[plain++] = at; }
    }
    corners[2 * middle] = x / points.length;
    corners[2 * middle + 1] = y / points.length;
    at += 1;
    for (let k = middle; k < at; k += 1) {
      middles[2 * k] = corners[2 * middle]; middles[2 * k + 1] = corners[2 * middle + 1];
      owners[k] = i;
    }
  }
  const radius = ids.length ? Math.hypot(corners[0] - corners[2], corners[1] - corners[3]) : 0;
  return { origin: [west, north], radius, corners, middles, rims, owners, faces: [fans, plains] };
}

function compile(gl) {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  return program;
}

export class Hexagons {
  constructor() {
    Object.assign(this, { id: "hexagons", type: "custom", renderingMode: "2d" });
    this.shape = shape([]);
    this.kinds = new Uint8Array(0);
    this.paint = null;
    this.gl = null;
  }

  // Called again with a new context after the browser took the old one away.
  onAdd(map, gl) {
    [this.map, this.gl, this.program] = [map, gl, compile(gl)];
    this.place = Object.fromEntries(["matrix", "shift", "least", "colours", "blank", "hatch", "line", "dot_px"]
      .map((name) => [name, gl.getUniformLocation(this.program, name)]));
    this.array = gl.createVertexArray();
    this.buffers = Array.from({ length: 6 }, () => gl.createBuffer()); // corner, middle, rim, kind, fans, plains
    this.upload();
  }

  cells(ids) {
    this.shape = shape(ids);
    this.kinds = new Uint8Array(this.shape.owners.length).fill(UNKNOWN);
    if (this.gl) this.upload();
  }

  upload() {
    const { gl, shape: { corners, middles, rims, faces } } = this;
    const parts = [["corner", corners, 2, gl.FLOAT], ["middle", middles, 2, gl.FLOAT],
      ["rim", rims, 1, gl.UNSIGNED_BYTE], ["kind", this.kinds, 1, gl.UNSIGNED_BYTE]];
    gl.bindVertexArray(this.array);
    parts.forEach(([name, data, size, type], i) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[i]);
      gl.bufferData(gl.ARRAY_BUFFER, data, i < 3 ? gl.STATIC_DRAW : gl.DYNAMIC_DRAW);
      const where = gl.getAttribLocation(this.program, name);
      gl.enableVertexAttribArray(where);
      gl.vertexAttribPointer(where, size, type, false, 0, 0);
    });
    faces.forEach((data, i) => {
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers[4 + i]);
      gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, data, gl.STATIC_DRAW);
    });
    gl.bindVertexArray(null);
  }

  // One class per cell, in the order of `cells`.
  colour(classes) {
    const { kinds, shape: { owners }, gl } = this;
    for (let i = 0; i < owners.length; i += 1) kinds[i] = classes[owners[i]];
    if (!gl) return;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[3]);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, kinds);
    this.map.triggerRepaint();
  }

  // `paint` has lists of red, green, blue, alpha in 0..1: colours (one after the other), blank, hatch and line.
  theme(paint) {
    this.paint = paint;
    if (this.map) this.map.triggerRepaint();
  }

  render(gl, { defaultProjectionData: { mainMatrix } }) {
    if (!this.kinds.length || !this.paint) return;
    const { place, paint, shape: { origin, radius, faces } } = this;
    const world = 512 * 2 ** this.map.getZoom(); // pixels; the world is 512 wide at zoom 0
    const plain = radius * world < LINED_PX ? 1 : 0;
    const matrix = Float64Array.from(mainMatrix);
    for (let row = 0; row < 4; row += 1) matrix[12 + row] += matrix[row] * origin[0] + matrix[4 + row] * origin[1];
    gl.useProgram(this.program);
    gl.uniformMatrix4fv(place.matrix, false, Float32Array.from(matrix));
    gl.uniform4fv(place.colours, paint.colours);
    for (const name of ["blank", "hatch"]) gl.uniform4fv(place[name], paint[name]);
    gl.uniform4fv(place.line, plain ? [0, 0, 0, 0] : paint.line);
    gl.uniform1f(place.dot_px, this.map.getPixelRatio());
    gl.uniform1f(place.least, (faces[0].length < 18 * FEW ? ALONE_PX : LEAST_PX) / world);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.CULL_FACE);
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.buffers[4 + plain]);
    for (const copy of this.copies()) {
      gl.uniform1f(place.shift, copy);
      gl.drawElements(gl.TRIANGLES, faces[plain].length, gl.UNSIGNED_INT, 0);
    }
    gl.bindVertexArray(null);
  }

  // The copies of the world that are in view: the map goes round without an end.
  copies() {
    const bounds = this.map.getBounds();
    return [-1, 0, 1].filter((copy) => bounds.getWest() < 180 * (2 * copy + 1) + 1
      && bounds.getEast() > 180 * (2 * copy - 1) - 1);
  }
}
