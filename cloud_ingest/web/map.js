// The map: hexagons over a plain base map. Cells are found under the pointer by H3 itself, not by their picture.

import { addLand, calm, dark, paint, rgba, style, themed } from "/web/basemap.js";
import { Hexagons, ring } from "/web/hexagons.js";
import { byId, make } from "/web/text.js";
import { GPUInitializationError, Map as GlMap, ScaleControl, setWorkerCount } from "/web/vendor/maplibre-gl.mjs";

const FAR = 12.5; // one cell alone is shown with its surroundings
const GRID_MOST = 400; // outlines of empty cells around so many cells at the most
const PLENTY = 1000; // of so many cells the middles are box enough

class CellMap {
  // `picked` and `pointed` get a cell or null, `moved` gets [longitude, latitude, zoom].
  constructor({ picked, pointed, moved, place }) {
    Object.assign(this, { ids: [], known: new Set(), middles: new Map(), hexagons: new Hexagons(), ready: false });
    setWorkerCount(1);
    this.map = new GlMap({
      container: "map", style: style(), attributionControl: false, dragRotate: false, pitchWithRotate: false,
      touchPitch: false, fadeDuration: 0, maxZoom: 16, minZoom: 0.4, maxPitch: 0,
      center: place ? place.slice(0, 2) : [10, 30], zoom: place ? place[2] : 1.2,
      locale: { "Map.Title":
        "Map of cells: arrow keys move it, plus and minus zoom, Enter takes the cell in the middle" },
    });
    this.placed = Boolean(place);
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new ScaleControl({ maxWidth: 90 }), "bottom-right");
    this.listen(picked, pointed, moved);
    this.loaded = new Promise((done) => { this.map.once("style.load", () => done(this.layers())); });
    dark.addEventListener("change", () => this.theme());
  }

  layers() {
    const { map } = this;
    const empty = { type: "geojson", data: { type: "FeatureCollection", features: [] } };
    for (const name of ["grid", "chosen", "pointed"]) map.addSource(name, empty);
    map.addLayer({ id: "grid", type: "line", source: "grid", paint: { "line-width": 1 } });
    map.addLayer(this.hexagons);
    map.addLayer({ id: "pointed", type: "line", source: "pointed", paint: { "line-width": 2 } });
    map.addLayer({ id: "chosen-case", type: "line", source: "chosen", paint: { "line-width": 6 } });
    map.addLayer({ id: "chosen", type: "line", source: "chosen", paint: { "line-width": 3 } });
    map.on("webglcontextrestored", () => map.once("idle", () => {
      if (!map.getLayer("hexagons")) map.addLayer(this.hexagons, "pointed");
      this.theme();
    }));
    this.ready = true;
    this.theme();
    addLand(map, "grid").catch((error) => console.warn(`no base map: ${error.message}`));
  }

  listen(picked, pointed, moved) {
    const { map } = this;
    let last = null;
    const point = (cell, at) => {
      if (cell !== last) this.outline("pointed", cell);
      last = cell;
      map.getCanvas().classList.toggle("over", cell !== null);
      pointed(cell, at);
    };
    map.on("mousemove", (event) => point(this.cellAt(event.lngLat), event.point));
    map.on("mouseout", () => point(null, null));
    map.on("movestart", () => point(null, null));
    map.on("click", (event) => picked(this.cellAt(event.lngLat)));
    map.getCanvas().addEventListener("keydown", (event) => {
      if (event.key === "Enter") picked(this.cellAt(map.getCenter()));
    });
    map.on("moveend", (event) => {
      if (event.originalEvent) this.placed = true;
      const { lng, lat } = map.getCenter();
      moved([lng, lat, map.getZoom()], Boolean(event.originalEvent));
    });
  }

  // The cell with shops at a place; a coarser one where the finest is none.
  cellAt({ lng, lat }) {
    for (const resolution of this.levels ?? []) {
      const cell = h3.latLngToCell(lat, ((lng + 540) % 360 + 360) % 360 - 180, resolution);
      if (this.known.has(cell)) return cell;
    }
    return null;
  }

  // Shows these cells in these classes; the shapes are made anew only where a cell is new.
  async show(ids, classes, colours) {
    await this.loaded;
    if (ids.length !== this.ids.length || ids.some((id) => !this.known.has(id))) this.reshape(ids);
    const order = ids === this.ids ? classes : this.ordered(ids, classes);
    if (this.colours !== colours) {
      this.colours = colours;
      this.theme();
    }
    this.hexagons.colour(order);
  }

  reshape(ids) {
    Object.assign(this, { ids, known: new Set(ids), at: new Map(ids.map((id, i) => [id, i])) });
    this.levels = [...new Set(ids.map((id) => h3.getResolution(id)))].sort((a, b) => b - a);
    this.hexagons.cells(ids);
    const around = ids.length > GRID_MOST ? [] : [...new Set(ids.flatMap((id) => h3.gridDisk(id, 2)))];
    this.map.getSource("grid").setData(collection(around.filter((id) => !this.known.has(id))));
    if (!this.placed && ids.length) this.fit(ids);
  }

  ordered(ids, classes) {
    const found = new Uint8Array(ids.length);
    ids.forEach((id, i) => { found[this.at.get(id)] = classes[i]; });
    return found;
  }

  fit(ids, animate = false) {
    if (!ids.length) return;
    this.placed = true;
    this.map.resize();
    const box = bounds(ids, (id) => this.middle(id));
    this.map.fitBounds(box, { padding: 40, maxZoom: FAR, animate: animate && !calm.matches });
  }

  choose(cell) {
    this.loaded.then(() => this.outline("chosen", cell));
  }

  outline(source, cell) {
    this.map.getSource(source)?.setData(collection(cell ? [cell] : []));
  }

  // Whether a cell's middle is in view.
  inView() {
    const box = this.map.getBounds();
    const [west, east, south, north] = [box.getWest(), box.getEast(), box.getSouth(), box.getNorth()];
    return (id) => {
      const [lat, lon] = this.middle(id);
      return lat >= south && lat <= north && [-360, 0, 360].some((turn) => lon + turn >= west && lon + turn <= east);
    };
  }

  middle(id) {
    if (!this.middles.has(id)) this.middles.set(id, h3.cellToLatLng(id));
    return this.middles.get(id);
  }

  theme() {
    if (!this.ready) return;
    const { map } = this;
    paint(map);
    const lines = { grid: "--grid", pointed: "--text", chosen: "--chosen", "chosen-case": "--panel" };
    for (const [layer, name] of Object.entries(lines)) {
      map.setPaintProperty(layer, "line-color", themed(name));
    }
    const colours = (this.colours?.(dark.matches) ?? []).flatMap((each) => rgba(each));
    this.hexagons.theme({ colours: Float32Array.from({ length: 32 }, (_, i) => colours[i] ?? 0),
      blank: rgba(themed("--blank")), hatch: rgba(themed("--hatch")), line: rgba(themed("--panel"), 0.8) });
  }

  // A canvas with what is seen, drawn at the end of a frame, since the browser throws the picture away after it.
  picture() {
    return new Promise((done) => {
      this.map.once("render", () => {
        const source = this.map.getCanvas();
        const copy = make("canvas", { width: source.width, height: source.height });
        copy.getContext("2d").drawImage(source, 0, 0);
        done(copy);
      });
      this.map.triggerRepaint();
    });
  }
}

// The map, or an apology and null where this browser cannot draw it.
export function openMap(given) {
  try {
    return new CellMap(given);
  } catch (error) {
    if (!(error instanceof GPUInitializationError)) throw error;
    byId("map").replaceChildren(make("p", { id: "nomap", role: "status" },
      "This browser cannot draw the map: WebGL 2 is missing or turned off. The table of cells has the same numbers."));
    return null;
  }
}

export function feature(id, properties = {}) {
  const points = ring(id);
  return { type: "Feature", id, properties, geometry: { type: "Polygon", coordinates: [[...points, points[0]]] } };
}

export function collection(ids) {
  return { type: "FeatureCollection", features: ids.map((id) => feature(id)) };
}

// The smallest box around the cells, [[west, south], [east, north]]; it leaves out the widest empty stretch of
// longitude, so that cells on both sides of the antimeridian stay together.
export function bounds(ids, middle) {
  const points = ids.length > PLENTY ? ids.map((id) => middle(id).toReversed())
    : ids.flatMap((id) => h3.cellToBoundary(id, true));
  const lons = points.map(([lon]) => lon).sort((a, b) => a - b);
  let [west, widest] = [lons[0], lons[0] + 360 - lons[lons.length - 1]];
  for (let i = 1; i < lons.length; i += 1) {
    if (lons[i] - lons[i - 1] > widest) [west, widest] = [lons[i], lons[i] - lons[i - 1]];
  }
  let [south, north] = [90, -90];
  for (const [, lat] of points) [south, north] = [Math.min(south, lat), Math.max(north, lat)];
  return [[west, south], [west + 360 - widest, north]];
}
