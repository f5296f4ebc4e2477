// The cells in view as a table: the same numbers for screen readers, keyboards, and browsers without WebGL.

import { byId, count, known, make, number, percent, time } from "/web/text.js";

const MOST = 50;

// One line about a cell, as the table and the map's tip tell it.
export function label(frame, i, measure) {
  const value = measure.value(frame, i);
  const what = measure.name === "Demand" ? "demand" : measure.name.toLowerCase();
  const told = known(value) ? `${what} ${measure.text(value)}` : `${what} not known`;
  return `${frame.ids[i]}: ${told}, ${count(frame.stores[i], "store")}`;
}

export function details(frame, i) {
  const silent = frame.stores[i] - frame.reporting[i];
  const shops = `${frame.reporting[i]} of ${count(frame.stores[i], "store")} reporting, ${silent} silent`;
  if (!known(frame.sold[i])) return ["no facts in this window", shops];
  const range = known(frame.demand_low[i])
    ? [`80 % interval of demand ${number(frame.demand_low[i])} – ${number(frame.demand_high[i])}`] : [];
  return [
    `sold ${number(frame.sold[i])}, SKUs ${frame.skus[i]}, of which demand not known ${frame.unknown[i]}`,
    ...range,
    `in stock ${percent(frame.share[i])} of the observed time`,
    shops,
    `complete up to ${time(frame.complete_to[i])}`,
  ];
}

// What deserves a look stands first, what is not known last.
export function drawList(frame, measure, inView, chosen, choose) {
  const order = measure.lowFirst ? 1 : -1;
  const seen = frame.ids.map((_, i) => i).filter((i) => inView(frame.ids[i]));
  const place = Float64Array.from(frame.ids, (_, i) => {
    const value = measure.value(frame, i);
    return known(value) ? order * value : Infinity;
  });
  seen.sort((a, b) => place[a] - place[b] || a - b);
  const held = document.activeElement?.dataset?.cell;
  byId("cells").tBodies[0].replaceChildren(...seen.slice(0, MOST).map((i) => row(frame, i, measure, chosen, choose)));
  byId("seen").textContent = seen.length > MOST
    ? `${count(seen.length, "cell")} in view, the first ${MOST} below` : `${count(seen.length, "cell")} in view`;
  byId("valued").textContent = measure.name;
  byId("cells").hidden = seen.length === 0;
  if (held) byId("cells").querySelector(`[data-cell="${CSS.escape(held)}"]`)?.focus();
}

function row(frame, i, measure, chosen, choose) {
  const id = frame.ids[i];
  const button = make("button", {
    type: "button", class: "cell", "data-cell": id, title: details(frame, i).join("\n"),
    "aria-label": label(frame, i, measure), "aria-pressed": String(id === chosen),
  }, id);
  button.addEventListener("click", () => choose(id));
  const value = measure.value(frame, i);
  const silent = frame.stores[i] - frame.reporting[i];
  return make("tr", id === chosen ? { class: "chosen" } : {}, make("td", {}, button),
    make("td", known(value) ? {} : { class: "unknown" }, known(value) ? measure.text(value) : "not known"),
    make("td", {}, `${frame.reporting[i]} of ${frame.stores[i]}`),
    make("td", silent ? { class: "silent" } : {}, silent));
}
