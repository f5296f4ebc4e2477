// The page: a map of H3 cells coloured by demand, and the chosen cell's SKUs. Text from the network is only
// ever set as textContent.

const SVG = "http://www.w3.org/2000/svg";
const CLASSES = 5;
const HISTORY = 24;
const byId = (id) => document.getElementById(id);
const view = { chosen: null, cells: null, asked: 0 };

function make(name, attributes = {}, namespace = null) {
  const node = namespace ? document.createElementNS(namespace, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

function number(value, digits = 1) {
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function time(seconds) {
  if (seconds === null) return "not known";
  return new Date(seconds * 1000).toLocaleString("en-GB",
    { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" });
}

// Web Mercator with the unit of the whole world's width; y grows southwards, as in SVG.
function project([lon, lat]) {
  const phi = Math.min(85, Math.max(-85, lat)) * Math.PI / 180;
  return [lon / 360, -Math.log(Math.tan(Math.PI / 4 + phi / 2)) / (2 * Math.PI)];
}

async function get(path, values) {
  const answer = await fetch(`${path}?${new URLSearchParams(values)}`);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

const setting = () => ({ resolution: byId("resolution").value, window: byId("window").value });

// The upper bound of each class, even steps up to a round number at or above the greatest demand.
function bounds(features) {
  const top = Math.max(CLASSES, ...features.map((each) => each.properties.demand ?? 0));
  const step = 10 ** Math.floor(Math.log10(top / CLASSES));
  const even = Math.ceil(top / CLASSES / step) * step;
  return Array.from({ length: CLASSES }, (_, i) => even * (i + 1));
}

function classOf(demand, limits) {
  return demand === null || demand === undefined ? "none" : `c${limits.findIndex((limit) => demand <= limit) + 1}`;
}

function drawMap() {
  const features = view.cells.features;
  const own = features.filter((each) => each.properties.stores > 0);
  const limits = bounds(own);
  const rings = features.map((each) => each.geometry.coordinates[0].map(project));
  const points = rings.flat();
  const held = document.activeElement?.dataset?.cell;
  const map = byId("map");
  map.replaceChildren();
  if (points.length) {
    const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
    const [x, y] = [Math.min(...xs), Math.min(...ys)];
    const wide = Math.max(Math.max(...xs) - x, Math.max(...ys) - y);
    const scale = 1000 / wide; // projected units are tiny; SVG rounds
    const [w, h] = [(Math.max(...xs) - x) * scale, (Math.max(...ys) - y) * scale];
    map.setAttribute("viewBox", `-10 -10 ${w + 20} ${h + 20}`);
    features.forEach((each, i) => {
      const path = rings[i].map(([px, py]) => `${((px - x) * scale).toFixed(2)},${((py - y) * scale).toFixed(2)}`);
      map.append(drawCell(each.properties, path.join(" "), limits));
    });
  }
  drawLegend(limits);
  if (held) map.querySelector(`[data-cell="${CSS.escape(held)}"]`)?.focus();
}

function drawCell(facts, path, limits) {
  if (!facts.stores) return make("polygon", { points: path, class: "neighbour" }, SVG);
  const chosen = facts.cell === view.chosen ? " chosen" : "";
  const cell = make("polygon", {
    points: path, class: `cell ${classOf(facts.demand, limits)}${chosen}`, tabindex: 0, role: "button",
    "data-cell": facts.cell,
  }, SVG);
  const demand = facts.demand === null ? "demand not known" : `demand ${number(facts.demand)}`;
  const label = `${facts.cell}: ${demand}, ${facts.stores} store${facts.stores === 1 ? "" : "s"}`;
  cell.setAttribute("aria-label", label);
  const title = make("title", {}, SVG);
  title.textContent = [label, ...details(facts)].join("\n");
  cell.append(title);
  cell.addEventListener("click", () => choose(facts.cell));
  cell.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(facts.cell);
  });
  return cell;
}

function details(facts) {
  if (facts.sold === null) return ["no facts in this window"];
  return [
    `sold ${number(facts.sold)}, SKUs ${facts.skus}, of which demand not known ${facts.unknown}`,
    `in stock ${facts.in_stock_share === null ? "not known" : `${number(facts.in_stock_share * 100, 0)} %`} of the time`,
    `${facts.stores_reporting} of ${facts.stores} stores reporting, complete up to ${time(facts.complete_to)}`,
  ];
}

function drawLegend(limits) {
  const entries = [["none", "not known"], ...limits.map((limit, i) =>
    [`c${i + 1}`, i ? `${number(limits[i - 1])} – ${number(limit)}` : `0 – ${number(limit)}`])];
  byId("legend").replaceChildren(...entries.map(([name, label]) => {
    const entry = make("span");
    const swatch = make("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, SVG);
    swatch.append(make("rect", { width: 10, height: 10, class: name }, SVG));
    entry.append(swatch, label);
    return entry;
  }));
  byId("legend").append("units of demand per window");
}

function choose(cell) {
  view.chosen = cell;
  for (const each of document.querySelectorAll(".cell")) each.classList.toggle("chosen", each.dataset.cell === cell);
  refreshPanel();
}

// After a change of resolution the chosen cell is no longer on the map.
function clearPanel() {
  view.chosen = null;
  view.asked += 1;
  byId("chosen").textContent = "Choose a cell";
  byId("note").textContent = "Click a coloured hexagon, or reach it with Tab and press Enter.";
  byId("skus").hidden = true;
}

async function refreshPanel() {
  if (!view.chosen || !view.cells) return;
  const [cell, asked, latest] = [view.chosen, ++view.asked, view.cells.latest];
  byId("chosen").textContent = `Cell ${cell}`;
  const since = latest === null ? 0 : Math.max(0, latest - (HISTORY - 1) * view.cells.window_s);
  const rows = await get("/v1/feed", { ...setting(), cell, since });
  if (asked === view.asked) drawPanel(rows, latest); // an older answer may come last
}

function drawPanel(rows, latest) {
  const [newest] = rows;
  byId("skus").hidden = !newest;
  byId("note").textContent = newest
    ? `${newest.stores_reporting} of ${newest.stores_expected} stores reporting; `
      + `complete up to ${time(newest.complete_to)}; window from ${time(newest.start)}`
    : "No facts in the last windows.";
  const skus = [...new Set(rows.map((row) => row.sku))].sort();
  byId("skus").tBodies[0].replaceChildren(...skus.map((sku) => {
    const history = rows.filter((row) => row.sku === sku);
    return drawSku(sku, history, latest);
  }));
}

function drawSku(sku, history, latest) {
  const now = history[0].start === latest ? history[0] : null;
  const line = make("tr", { "data-sku": sku });
  const share = now?.in_stock_share ?? null;
  const texts = [sku, now?.demand == null ? null : number(now.demand), now && number(now.sold),
    share === null ? null : `${number(share * 100, 0)} %`, now && number(now.put_back), now && number(now.restocked)];
  for (const text of texts) {
    const box = make("td", text === null ? { class: "unknown" } : {});
    box.textContent = text === null ? "not known" : text;
    line.append(box);
  }
  line.cells[0].append(drawBars(history, latest));
  return line;
}

function drawBars(history, latest) {
  const step = history[0].window_s;
  const top = Math.max(1, ...history.map((row) => row.demand ?? 0));
  const bars = make("svg", { class: "bars", viewBox: `0 0 ${HISTORY * 5} 26`, role: "img" }, SVG);
  bars.setAttribute("aria-label", `Demand in the last ${HISTORY} windows, at most ${number(top)}`);
  bars.append(make("line", { x1: 0, x2: HISTORY * 5, y1: 25.5, y2: 25.5 }, SVG));
  for (const row of history) {
    if (row.demand === null) continue; // a gap: not known, which is not 0
    const height = Math.max(1, row.demand / top * 24);
    const x = (HISTORY - 1 - (latest - row.start) / step) * 5;
    bars.append(make("rect", { x, y: 25 - height, width: 4, height }, SVG));
  }
  return bars;
}

async function refresh() {
  try {
    view.cells = await get("/v1/cells.geojson", setting());
    if (view.chosen && !view.cells.features.some((each) => each.properties.cell === view.chosen)) clearPanel();
    drawMap();
    byId("when").textContent = view.cells.latest === null ? "No facts yet" : `Window from ${time(view.cells.latest)}`;
    await refreshPanel();
  } catch (error) {
    byId("when").textContent = `Not up to date: ${error.message}`;
  }
}

// One refresh at a time; what comes meanwhile is done once afterwards.
let [busy, again] = [false, false];
async function update() {
  again = true;
  if (busy) return;
  busy = true;
  while (again) {
    again = false;
    await refresh();
  }
  busy = false;
}

byId("resolution").addEventListener("change", update);
byId("window").addEventListener("change", update);
const changes = new EventSource("/v1/changes");
changes.addEventListener("revision", update);
changes.addEventListener("error", () => { byId("when").textContent = "Connection lost; trying again"; });
