// The history of one SKU in one cell: demand with its interval as a band, sales, and a shade where it was sold out.

import { byId, draw, known, make, number, percent, short, time } from "/web/text.js";

const HIGH = 150;
const EDGE = { left: 34, right: 6, top: 8, bottom: 18 };

// Rows by window from `first` on, undefined where there is none: a gap is not 0.
export function series(rows, latest, step, many) {
  const found = Array(many).fill(undefined);
  for (const row of rows) {
    const at = many - 1 - (latest - row.start) / step;
    if (at >= 0 && at < many) found[at] = row;
  }
  return found;
}

// Stretches of neighbouring windows whose row fulfils `holds`, as [first, last].
export function runs(found, holds) {
  const made = [];
  found.forEach((row, i) => {
    if (!row || !holds(row)) return;
    if (made.length && made[made.length - 1][1] === i - 1) made[made.length - 1][1] = i;
    else made.push([i, i]);
  });
  return made;
}

function told(row) {
  if (!row) return "no facts";
  const range = known(row.demand_low) ? ` (80 %: ${number(row.demand_low)} – ${number(row.demand_high)})` : "";
  const stock = known(row.in_stock_share) ? `on the shelf ${percent(row.in_stock_share)} of the time` : "not observed";
  return `${time(row.start)}: demand ${number(row.demand)}${range}, sold ${number(row.sold)}, ${stock}`;
}

export function drawHistory(rows, name, latest, step, many) {
  const found = series(rows, latest, step, many);
  const wide = Math.max(220, Math.min(900, byId("chart").clientWidth || 400));
  const top = Math.max(1, ...found.flatMap((row) => (row ? [row.demand_high ?? 0, row.demand ?? 0, row.sold] : [])));
  const slot = (wide - EDGE.left - EDGE.right) / many;
  const place = {
    x: (i) => EDGE.left + i * slot, middle: (i) => EDGE.left + (i + 0.5) * slot, slot,
    y: (value) => HIGH - EDGE.bottom - Math.max(0, value) / top * (HIGH - EDGE.top - EDGE.bottom),
  };
  const empty = found.filter((row) => row && known(row.in_stock_share) && row.in_stock_share < 1).length;
  const unknown = found.filter((row) => !row || !known(row.demand)).length;
  const chart = draw("svg", { viewBox: `0 0 ${wide} ${HIGH}`, width: wide, height: HIGH, role: "img" });
  chart.setAttribute("aria-label", `Demand of ${name} in ${many} windows up to ${time(latest)}: `
    + `at most ${number(top)}, sold out for a time in ${empty}, not known in ${unknown}`);
  chart.append(...axes(place, wide, top, latest, step, many), ...shades(found, place), ...lines(found, place),
    ...found.map((row, i) => pointer(row, i, place)));
  byId("chart").replaceChildren(chart);
  numbers(found);
}

function axes(place, wide, top, latest, step, many) {
  const form = step >= 86400 || many * step > 2 * 86400 ? "day" : "clock";
  const text = (value, attributes) => draw("text", { class: "axis", ...attributes }, value);
  return [
    ...[0, top / 2, top].flatMap((value) => [
      draw("line", { class: "rule", x1: EDGE.left, x2: wide - EDGE.right, y1: place.y(value), y2: place.y(value) }),
      text(short(value), { x: EDGE.left - 5, y: place.y(value) + 4, "text-anchor": "end" })]),
    text(time(latest - (many - 1) * step, form), { x: EDGE.left, y: HIGH - 4 }),
    text(time(latest - Math.floor(many / 2) * step, form),
      { x: place.x(many / 2), y: HIGH - 4, "text-anchor": "middle" }),
    text(time(latest, form), { x: wide - EDGE.right, y: HIGH - 4, "text-anchor": "end" }),
  ];
}

// Sold out: from the top, as far down as the part of the time that the shelf was empty. Not known: the whole height.
function shades(found, place) {
  const [ceiling, floor] = [EDGE.top, HIGH - EDGE.bottom];
  const box = (i, height, name) => draw("rect", { class: name, x: place.x(i), y: ceiling, width: place.slot, height });
  return found.flatMap((row, i) => {
    if (!row || !known(row.in_stock_share)) return [box(i, floor - ceiling, "blank")];
    const empty = 1 - row.in_stock_share;
    return empty > 0 ? [box(i, (floor - ceiling) * empty, "stockout")] : [];
  });
}

function lines(found, place) {
  const path = (first, last, value) => Array.from({ length: last - first + 1 }, (_, k) => first + k)
    .flatMap((i) => [`${place.x(i).toFixed(1)},${place.y(value(found[i])).toFixed(1)}`,
      `${(place.x(i) + place.slot).toFixed(1)},${place.y(value(found[i])).toFixed(1)}`]);
  const stroke = (name, holds, value) => runs(found, holds).map(([first, last]) =>
    draw("polyline", { class: name, points: path(first, last, value).join(" ") }));
  const bands = runs(found, (row) => known(row.demand_low)).map(([first, last]) => {
    const [high, low] = [path(first, last, (row) => row.demand_high), path(first, last, (row) => row.demand_low)];
    return draw("polygon", { class: "band", points: [...high, ...low.reverse()].join(" ") });
  });
  return [...bands, ...stroke("sold", () => true, (row) => row.sold),
    ...stroke("demand", (row) => known(row.demand), (row) => row.demand)];
}

function pointer(row, i, place) {
  return draw("rect", { class: "pointer", x: place.x(i), y: 0, width: place.slot, height: HIGH },
    draw("title", {}, told(row)));
}

// The chart's numbers as a table, which a screen reader can read and anyone can copy.
function numbers(found) {
  const cell = (value, text) => make("td", known(value) ? {} : { class: "unknown" }, known(value) ? text : "not known");
  byId("numbers").tBodies[0].replaceChildren(...found.filter(Boolean).reverse().map((row) => make("tr", {},
    make("td", {}, time(row.start)), cell(row.demand, number(row.demand)),
    cell(row.demand_low, `${number(row.demand_low)} – ${number(row.demand_high)}`), make("td", {}, number(row.sold)),
    cell(row.in_stock_share, percent(row.in_stock_share)))));
}
