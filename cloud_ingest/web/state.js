// What is shown: one object, changed through `change`, and kept in the address so that a link restores it.

export const WINDOWS = { "15m": 900, "1h": 3600, "1d": 86400 };
const CELL = /^8[0-9a-f]{14}$/;
const DAY_S = 86400;

const START = {
  by: "demand", resolution: 8, window: "15m", sku: null, start: null, cell: null, against: "week", weeks: null,
  place: null,
};
export const state = { ...START };
const listeners = [];

export const windowS = () => WINDOWS[state.window];

export function onChange(act) {
  listeners.push(act);
}

// `quiet` is for what only the address has to know, such as where the map was moved to.
export function change(given, quiet = false) {
  Object.assign(state, given);
  history.replaceState(null, "", `#${write(state)}`);
  if (!quiet) for (const act of listeners) act(given);
}

export function write(from) {
  const values = {
    by: from.by, r: from.resolution, w: from.window, sku: from.sku, t: from.start, cell: from.cell,
    against: from.by === "change" ? from.against : null,
    weeks: from.by === "change" && from.against === "weeks" && from.weeks ? from.weeks.join("_") : null,
    at: from.place && from.place.map((each) => Number(each.toFixed(4))).join("_"),
  };
  return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== null)).toString();
}

// A link comes from anywhere: what is not of the expected form counts as not given. `usual` is the window without one.
export function read(text, usual) {
  const given = new URLSearchParams(text);
  const one = (key, allowed, otherwise) => (allowed.includes(given.get(key)) ? given.get(key) : otherwise);
  const integer = (value) => (/^\d{1,11}$/.test(value ?? "") ? Number(value) : null);
  const weeks = (given.get("weeks") ?? "").split("_").map(integer);
  return {
    ...START,
    by: one("by", ["demand", "stock", "complete", "change"], START.by),
    resolution: Number(one("r", ["5", "6", "7", "8", "9"], START.resolution)),
    window: one("w", Object.keys(WINDOWS), usual),
    sku: given.get("sku")?.slice(0, 100) || null,
    start: integer(given.get("t")),
    cell: CELL.test(given.get("cell") ?? "") ? given.get("cell") : null,
    against: one("against", ["before", "day", "week", "weeks"], START.against),
    weeks: weeks.length === 2 && weeks.every((each) => each !== null && each % DAY_S === 0) ? weeks : null,
    place: place(given.get("at")),
  };
}

// Longitude, latitude and zoom.
function place(text) {
  const values = (text ?? "").split("_").map(Number);
  const fits = values.length === 3 && values.every(Number.isFinite)
    && Math.abs(values[0]) <= 540 && Math.abs(values[1]) <= 85 && values[2] >= 0 && values[2] <= 20;
  return fits ? values : null;
}
