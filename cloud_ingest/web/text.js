// Numbers, times and nodes. What comes from the network becomes text by way of textContent only.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export function make(name, attributes = {}, ...inside) {
  return fill(document.createElement(name), attributes, inside);
}

export function draw(name, attributes = {}, ...inside) {
  return fill(document.createElementNS(SVG, name), attributes, inside);
}

function fill(node, attributes, inside) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...inside.map((each) => (typeof each === "number" ? String(each) : each)));
  return node;
}

export const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

export function number(value, digits = 1) {
  return known(value) ? value.toLocaleString("en", { maximumFractionDigits: digits }) : "not known";
}

// For the axis of a chart: 1.2K.
export function short(value) {
  return value.toLocaleString("en", { notation: "compact", maximumSignificantDigits: 3 });
}

export function percent(part, digits = 0) {
  return known(part) ? `${number(part * 100, digits)} %` : "not known";
}

export function signed(part) {
  if (!known(part)) return "not known";
  if (part === Infinity) return "from nothing";
  return `${part > 0 ? "+" : ""}${number(part * 100, 0)} %`;
}

export function count(many, one, more = `${one}s`) {
  return `${number(many, 0)} ${many === 1 ? one : more}`;
}

const FORMATS = {
  full: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", timeZoneName: "short" },
  clock: { hour: "2-digit", minute: "2-digit" },
  day: { day: "numeric", month: "short" },
};

// Shown in the reader's own time zone, which the full form names.
export function time(seconds, form = "full") {
  return known(seconds) ? new Date(seconds * 1000).toLocaleString("en-GB", FORMATS[form]) : "not known";
}

// A day of UTC, as the feed's day windows are.
export function utcDay(seconds) {
  return new Date(seconds * 1000).toLocaleDateString("en-GB",
    { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
}

export function later(wait, act) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), wait);
  };
}
