// The chosen cell: its SKUs in the window that is shown, and the history of one of them.

import { rows as fetchRows } from "/web/api.js";
import { drawHistory, series } from "/web/history.js";
import { byId, count, draw, known, make, number, percent, time } from "/web/text.js";

const HISTORY = 48;
const BARS = 24;
const view = { cell: null, sku: null, had: null, rows: [], asked: 0, until: null, step: 900, names: new Map() };

export const named = (sku) => view.names.get(sku)?.name ?? sku;

export function names(catalogue) {
  view.names = new Map(catalogue.map((each) => [each.sku, each]));
}

export function clear() {
  Object.assign(view, { cell: null, rows: [], asked: view.asked + 1 });
  byId("chosen").textContent = "Choose a cell";
  byId("note").textContent = "Click a hexagon, or take a cell from the table below.";
  for (const id of ["skus", "history", "close", "zoom"]) byId(id).hidden = true;
}

// `start` is the window shown, `sku` the one on the map, null for all; `ahead` windows behind it are fetched as well.
// An answer that comes late counts for nothing.
export async function show({ cell, resolution, window, step, start, sku, revision, ahead }) {
  const asked = ++view.asked;
  const changed = cell !== view.cell || (sku !== null && sku !== view.mapped);
  byId("chosen").textContent = `Cell ${cell}`;
  if (cell !== view.cell) {
    byId("note").textContent = "loading";
    for (const id of ["skus", "history"]) byId(id).hidden = true;
  }
  for (const id of ["close", "zoom"]) byId(id).hidden = false;
  const all = start === null ? [] : await fetched({ cell, resolution, window, revision }, step, start, ahead);
  if (asked !== view.asked) return;
  const rows = all.filter((row) => row.start <= start && row.start > start - HISTORY * step);
  Object.assign(view, { cell, rows, until: start, step, mapped: sku, sku: changed ? sku : view.sku });
  drawPanel();
}

// The rows of a cell around `start`, newest first; fetched again only where they are not had or have changed.
async function fetched(question, step, start, ahead) {
  const key = JSON.stringify(question);
  const since = Math.max(0, start - (HISTORY - 1) * step);
  if (view.had?.key !== key || since < view.had.since || start >= view.had.until) {
    const until = start + (1 + ahead) * step;
    view.had = { key, since, until, rows: fetchRows({ ...question, since, until }) };
    view.had.rows.catch(() => { view.had = null; });
  }
  return view.had.rows;
}

function drawPanel() {
  const [newest] = view.rows;
  byId("skus").hidden = !newest;
  byId("history").hidden = !newest;
  byId("note").textContent = newest ? summary(newest) : "No facts in the last windows.";
  if (!newest) return;
  const bySku = grouped(view.rows);
  const skus = [...bySku.keys()].sort((a, b) => named(a).localeCompare(named(b)) || (a < b ? -1 : 1));
  if (!bySku.has(view.sku)) view.sku = skus.reduce((best, sku) => (now(bySku, sku) > now(bySku, best) ? sku : best));
  byId("skus").tBodies[0].replaceChildren(...skus.map((sku) => skuRow(sku, bySku.get(sku))));
  byId("of").textContent = named(view.sku);
  drawHistory(bySku.get(view.sku), named(view.sku), view.until, view.step, HISTORY);
}

const now = (bySku, sku) => current(bySku.get(sku))?.demand ?? -1;
const current = (history) => (history[0].start === view.until ? history[0] : null);

function grouped(rows) {
  const found = new Map();
  for (const row of rows) {
    if (!found.has(row.sku)) found.set(row.sku, []);
    found.get(row.sku).push(row);
  }
  return found;
}

function summary(row) {
  const silent = row.stores_expected - row.stores_reporting;
  return `${row.stores_reporting} of ${count(row.stores_expected, "store")} reporting, ${silent} silent; `
    + `complete up to ${time(row.complete_to)}; window from ${time(row.start)}`;
}

function skuRow(sku, history) {
  const row = current(history);
  const chosen = sku === view.sku;
  const button = make("button", { type: "button", class: "sku", "aria-pressed": String(chosen), title: `SKU ${sku}` },
    make("span", {}, named(sku)));
  button.addEventListener("click", () => {
    view.sku = sku;
    drawPanel();
    byId("skus").querySelector(`tr[data-sku="${CSS.escape(sku)}"] button`)?.focus();
  });
  const line = make("tr", { "data-sku": sku, ...(chosen ? { class: "chosen" } : {}) },
    make("td", {}, button, drawBars(history, sku)));
  const values = [[row?.demand, number], [row?.sold, number], [row?.in_stock_share, percent], [row?.put_back, number],
    [row?.restocked, number]];
  for (const [value, form] of values) {
    line.append(make("td", known(value) ? {} : { class: "unknown" }, known(value) ? form(value) : "not known"));
  }
  if (known(row?.demand_low) && number(row.demand_low) !== number(row.demand_high)) {
    line.cells[1].append(make("small", {}, `${number(row.demand_low)} – ${number(row.demand_high)}`));
  }
  return line;
}

function drawBars(history, sku) {
  const found = series(history, view.until, view.step, BARS);
  const top = Math.max(1, ...found.map((row) => row?.demand ?? 0));
  const bars = draw("svg", { class: "bars", viewBox: `0 0 ${BARS * 5} 26`, role: "img" });
  bars.setAttribute("aria-label", `Demand of ${named(sku)} in the last ${BARS} windows, at most ${number(top)}`);
  bars.append(draw("line", { x1: 0, x2: BARS * 5, y1: 25.5, y2: 25.5 }));
  found.forEach((row, i) => {
    if (!row || row.demand === null) return; // a gap: not known, which is not 0
    const height = Math.max(1, row.demand / top * 24);
    bars.append(draw("rect", { x: i * 5, y: 25 - height, width: 4, height }));
  });
  return bars;
}
