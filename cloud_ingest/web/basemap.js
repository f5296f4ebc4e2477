// The base map: land and borders from Natural Earth, shipped with the page, in the colours of the page's theme.

const DATA = "/web/vendor/countries-50m.json";
const LOWEST = -85.06; // where the map ends; the data have a line around the pole itself

export const dark = window.matchMedia("(prefers-color-scheme: dark)");
export const calm = window.matchMedia("(prefers-reduced-motion: reduce)");

// Colours are the page's own custom properties, so that the style sheet is the one place for them.
export function themed(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// [red, green, blue, alpha] in 0..1 from #rrggbb.
export function rgba(hex, alpha = 1) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).concat(alpha);
}

export function style() {
  return { version: 8, sources: {}, layers: [
    { id: "sea", type: "background", paint: { "background-color": themed("--sea") } },
  ] };
}

// The longitudes of a line go on beyond 180 degrees instead of jumping to the other side of the map. A ring that
// goes once around, as Antarctica's does, is closed along the edge of the map.
function unwrap(line, closed) {
  let turn = 0;
  const found = line.map(([lon, lat], i) => {
    if (i > 0) turn += 360 * ((line[i - 1][0] - lon > 180) - (lon - line[i - 1][0] > 180));
    return [lon + turn, lat];
  });
  if (closed && turn) found.push([found[found.length - 1][0], -90], [found[0][0], -90], found[0]);
  return found;
}

function plain(geometry) {
  const { type, coordinates } = geometry;
  const seen = (ring) => ring.some(([, lat]) => lat > LOWEST);
  const polygon = (rings) => rings.filter(seen).map((ring) => unwrap(ring, true));
  const change = { Polygon: polygon, MultiPolygon: (all) => all.map(polygon),
    MultiLineString: (all) => all.map((line) => unwrap(line, false)) }[type];
  return { type, coordinates: change(coordinates) };
}

// Land below the hexagons, borders above them. After the first picture, since the cells matter more.
export async function addLand(map, below) {
  const topology = await (await fetch(DATA)).json();
  const { countries } = topology.objects;
  const { features } = topojson.feature(topology, countries);
  const land = features.map((each) => ({ ...each, geometry: plain(each.geometry) }));
  map.addSource("land", { type: "geojson", data: { type: "FeatureCollection", features: land }, tolerance: 0.3 });
  map.addSource("borders", { type: "geojson", data: plain(topojson.mesh(topology, countries)), tolerance: 0.3 });
  map.addLayer({ id: "land", type: "fill", source: "land", paint: { "fill-antialias": false } }, below);
  map.addLayer({ id: "borders", type: "line", source: "borders", paint: { "line-width": 0.8 } });
  paint(map);
}

export function paint(map) {
  map.setPaintProperty("sea", "background-color", themed("--sea"));
  if (map.getLayer("land")) map.setPaintProperty("land", "fill-color", themed("--land"));
  if (map.getLayer("borders")) map.setPaintProperty("borders", "line-color", themed("--border"));
}
