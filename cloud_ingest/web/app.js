// The page: reads the link, fetches frames, and lets each part draw its share of them.

import * as api from "/web/api.js";
import { dark } from "/web/basemap.js";
import * as out from "/web/export.js";
import { ahead, compare, DAY_S, forget, frame as getFrame, mondays, pairs, WEEK_S } from "/web/frames.js";
import { drawLegend } from "/web/legend.js";
import { details, drawList, label } from "/web/list.js";
import { openMap } from "/web/map.js";
import { classOf, MEASURES, top } from "/web/measures.js";
import * as panel from "/web/panel.js";
import * as search from "/web/search.js";
import { change, onChange, read, state, windowS } from "/web/state.js";
import { byId, later, make, time, utcDay } from "/web/text.js";
import * as timeline from "/web/timeline.js";

// What a public feed holds is whole days; the operator's goes up to this moment.
const USUAL = { public: "1d", operator: "15m" };
const SCOPES = {
  public: "published: whole days, of at least five shops each",
  operator: "the operator's view: nothing is withheld",
};
const NOTHING = { public: "Nothing is published yet", operator: "No facts yet" };
const AHEAD = 48; // windows of the chosen cell that are fetched before their turn while playing
const PAUSE_MS = 700; // from one refresh to the next, however often the database changes
const REST = 2; // and so many times as long as the last one took, where that is longer
const LOST = "Connection lost; trying again";
const shown = { frame: null, steps: [], top: 0, question: "", busy: null, again: false, took: 0, lost: false };
let map = null;

const measure = () => MEASURES[state.by];
const everywhere = () => true;
const inView = () => (map ? map.inView() : everywhere);

// The frame to show, with a comparison where one is wanted.
async function load() {
  const asked = { resolution: state.resolution, window: state.window, sku: state.sku, start: state.start };
  if (state.by !== "change") return getFrame(asked);
  const newest = await getFrame(asked);
  if (newest.latest === null) return { ...newest, change: newest.ids.map(() => null) };
  weekChoices(newest);
  const day = state.against === "weeks" ? { window: "1d" } : {};
  const both = await Promise.all(pairs(state.against, newest.start, windowS(), state.weeks,
    newest.latest).map((pair) => Promise.all(pair.map((start) => getFrame({ ...asked, ...day, start })))));
  return compare(newest, both);
}

// The weeks that can be set side by side; unless the link names others the last one of which a day is over, and the
// one before.
function weekChoices({ first, latest }) {
  const weeks = mondays(first, latest);
  const last = weeks.findLast((week) => week + DAY_S <= latest) ?? weeks[weeks.length - 1];
  if (state.weeks === null) change({ weeks: [last - WEEK_S, last] }, true);
  ["earlier", "later"].forEach((id, side) => {
    const all = [...new Set([...weeks, state.weeks[side]])].sort((a, b) => b - a);
    byId(id).replaceChildren(...all.map((week) => make("option", { value: week }, `week of ${utcDay(week)}`)));
    byId(id).value = String(state.weeks[side]);
  });
}

async function refresh() {
  try {
    shown.frame = await load();
    if (shown.again) return; // something else is wanted by now
    if (state.cell && !shown.frame.index.has(state.cell)) change({ cell: null }, true);
    await drawFrame();
    tellTime();
    document.body.dataset.revision = shown.frame.revision;
    await drawPanel();
  } catch (error) {
    byId("when").textContent = shown.lost ? LOST : `Not up to date: ${error.message}`;
  }
}

// One refresh at a time; what comes meanwhile is done once afterwards.
function update() {
  shown.again = true;
  shown.busy ??= (async () => {
    while (shown.again) {
      shown.again = false;
      const began = performance.now();
      await refresh();
      shown.took = performance.now() - began;
    }
    shown.busy = null;
  })();
  return shown.busy;
}

// Classes stay as they are while time moves, and grow where a value outgrows them by far.
function classes(frame) {
  const values = frame.ids.map((_, i) => measure().value(frame, i));
  const question = JSON.stringify([state.by, state.resolution, state.window, state.sku]);
  const now = top(values);
  if (question !== shown.question || now > 1.5 * shown.top) Object.assign(shown, { question, top: now });
  shown.steps = measure().steps(shown.top);
  return Uint8Array.from(values, (value) => classOf(value, shown.steps));
}

async function drawFrame() {
  const { frame } = shown;
  const found = classes(frame);
  drawLegend(measure(), shown.steps, dark.matches);
  if (map) {
    await map.show(frame.ids, found, measure().colours);
    map.choose(state.cell);
  }
  drawCells();
}

function drawCells() {
  if (shown.frame) drawList(shown.frame, measure(), inView(), state.cell, choose);
}

async function drawPanel() {
  if (!state.cell) return panel.clear();
  return panel.show({ cell: state.cell, resolution: state.resolution, window: state.window, step: windowS(),
    start: shown.frame.start, sku: state.sku, revision: shown.frame.revision, ahead: timeline.playing() ? AHEAD : 0 });
}

function tellTime() {
  const { frame } = shown;
  const live = state.start === null;
  timeline.tell({ ...frame, step: frame.window_s, live });
  const told = frame.latest === null ? NOTHING[frame.scope]
    : `Window from ${time(frame.start)}${live && !shown.lost ? ", the newest" : ""}`;
  byId("when").textContent = shown.lost ? `${LOST}. ${told}` : told;
}

function choose(cell) {
  change({ cell: cell === state.cell ? null : cell });
}

function tip(cell, at) {
  const box = byId("tip");
  box.hidden = cell === null || !shown.frame.index.has(cell);
  if (box.hidden) return;
  const i = shown.frame.index.get(cell);
  const lines = [label(shown.frame, i, measure()), ...details(shown.frame, i)];
  box.replaceChildren(...lines.map((line) => make("div", {}, line)));
  const room = byId("map");
  box.style.left = `${Math.max(4, Math.min(at.x + 14, room.clientWidth - box.offsetWidth - 4))}px`;
  const below = at.y + 14 + box.offsetHeight <= room.clientHeight;
  box.style.top = `${below ? at.y + 14 : Math.max(4, at.y - box.offsetHeight - 10)}px`;
}

function controls() {
  for (const key of ["by", "resolution", "window", "against"]) {
    byId(key).addEventListener("change", () => {
      const value = key === "resolution" ? Number(byId(key).value) : byId(key).value;
      change({ [key]: value, ...(key === "window" ? { start: null } : {}) });
    });
  }
  for (const id of ["earlier", "later"]) {
    byId(id).addEventListener("change", () =>
      change({ weeks: ["earlier", "later"].map((side) => Number(byId(side).value)) }));
  }
  byId("close").addEventListener("click", () => change({ cell: null }));
  byId("zoom").addEventListener("click", () => map?.fit([state.cell], true));
  byId("whole").addEventListener("click", () => map?.fit(shown.frame.ids, true));
  byId("in").addEventListener("click", () => map?.map.zoomIn());
  byId("out").addEventListener("click", () => map?.map.zoomOut());
  search.start((sku) => change({ sku }));
  timeline.start((start) => {
    change({ start });
    if (timeline.playing() && start !== null && state.by !== "change") ahead(state, windowS(), shown.frame.latest);
    return shown.busy;
  });
}

function showControls() {
  for (const id of ["by", "resolution", "window", "against"]) byId(id).value = String(state[id]);
  byId("compare").hidden = state.by !== "change";
  byId("weeks").hidden = state.against !== "weeks";
  search.show(state.sku === null ? null : panel.named(state.sku));
}

function exports() {
  const view = () => ({ frame: shown.frame, inView: inView(), by: state.by, sku: state.sku, measure: measure(),
    steps: shown.steps, dark: dark.matches, picture: () => map.picture(),
    title: `Cornergrid: ${measure().name}, ${measure().unit}; ${byId("when").textContent}` });
  byId("csv").addEventListener("click", () => out.saveCsv(view()));
  byId("geojson").addEventListener("click", () => out.saveGeojson(view()));
  byId("png").addEventListener("click", () => out.savePicture(view()));
  byId("link").addEventListener("click", async () => {
    byId("exported").textContent = await out.copyLink() ? "Link copied" : "Copy the address of this page";
  });
}

// Refreshes at once, but no two within the pause.
function follow() {
  let [last, timer] = [-PAUSE_MS, null];
  const now = () => {
    [last, timer] = [performance.now(), null];
    update();
  };
  api.changes((changed) => {
    shown.lost = false;
    forget(changed);
    timer ??= setTimeout(now, Math.max(0, last + Math.max(PAUSE_MS, REST * shown.took) - performance.now()));
  },
    () => {
      shown.lost = true;
      byId("when").textContent = LOST;
    });
}

async function catalogue() {
  const found = await api.skus();
  panel.names(found);
  search.fill(found);
  showControls();
}

onChange((given) => {
  showControls();
  if (Object.keys(given).some((key) => key !== "cell")) return update();
  map?.choose(state.cell);
  drawCells();
  return drawPanel();
});

async function main() {
  const { scope = "public", name } = await api.visitor().catch(() => ({}));
  byId("account").hidden = !name;
  const link = () => Object.assign(state, read(location.hash.slice(1), USUAL[scope]));
  byId("scope").textContent = SCOPES[scope];
  link();
  follow(); // the connection is made while the map is
  const moved = later(120, drawCells);
  map = openMap({ place: state.place, picked: (cell) => cell && choose(cell), pointed: tip,
    moved: (place, byHand) => { change(byHand ? { place } : {}, true); moved(); } });
  for (const id of ["png", "whole", "zoom", "in", "out"]) byId(id).disabled = map === null;
  controls();
  exports();
  showControls();
  dark.addEventListener("change", () => shown.frame && drawFrame());
  window.addEventListener("hashchange", () => {
    link();
    showControls();
    update();
  });
  window.addEventListener("resize", later(150, () => shown.frame && drawPanel()));
  catalogue().catch((error) => console.warn(`no catalogue: ${error.message}`));
}

main();
