// What is seen, taken along: a table, shapes for a map program, a picture with its legend, or a link.

import { labels } from "/web/measures.js";
import { collection, feature } from "/web/map.js";
import { known, make } from "/web/text.js";

const FONT = "13px system-ui, sans-serif";
const COLUMNS = ["sold", "demand", "demand_low", "demand_high", "lost", "share", "stores", "reporting", "complete_to",
  "skus", "unknown", "change", "later", "earlier"];

function save(name, parts, type) {
  const address = URL.createObjectURL(new Blob(parts, { type }));
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

const nameOf = (view, end) => {
  const { start } = view.frame;
  const when = start === null ? "none" : new Date(start * 1000).toISOString().slice(0, 16).replace(":", "");
  return `cornergrid-${view.by}-${when}.${end}`;
};

const seen = ({ frame, inView }) => frame.ids.map((_, i) => i).filter((i) => inView(frame.ids[i]));
const present = (frame) => COLUMNS.filter((name) => frame[name]);

// A field as RFC 4180 has it; text that a spreadsheet would take for a formula is made text.
export function field(value) {
  if (!known(value)) return "";
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function csv(view) {
  const { frame } = view;
  const names = present(frame);
  const lines = [["cell", "sku", "start", "window_s", ...names], ...seen(view).map((i) =>
    [frame.ids[i], view.sku, frame.start, frame.window_s, ...names.map((name) => frame[name][i])])];
  return lines.map((line) => `${line.map(field).join(",")}\n`).join("");
}

export function saveCsv(view) {
  save(nameOf(view, "csv"), [csv(view)], "text/csv");
}

export function saveGeojson(view) {
  const { frame } = view;
  const names = present(frame);
  const features = seen(view).map((i) => feature(frame.ids[i], Object.fromEntries([["cell", frame.ids[i]],
    ["start", frame.start], ["window_s", frame.window_s], ...names.map((name) => [name, frame[name][i]])])));
  save(nameOf(view, "geojson"), [JSON.stringify({ ...collection([]), features })], "application/geo+json");
}

// The map with a line of what it shows and its legend below, in as many lines as the width needs.
export async function savePicture(view) {
  const picture = await view.picture();
  const scale = window.devicePixelRatio || 1;
  const colours = view.measure.colours(view.dark);
  const pen = make("canvas").getContext("2d");
  pen.font = FONT;
  const words = [...labels(view.measure, view.steps), "not known"];
  const places = flow(words.map((text) => pen.measureText(text).width + 30), picture.width / scale - 8);
  const whole = make("canvas", { width: picture.width, height: picture.height + (places.at(-1).y + 54) * scale });
  const styles = getComputedStyle(document.body);
  const on = whole.getContext("2d");
  on.fillStyle = styles.backgroundColor;
  on.fillRect(0, 0, whole.width, whole.height);
  on.drawImage(picture, 0, 0);
  on.setTransform(scale, 0, 0, scale, 0, picture.height);
  Object.assign(on, { font: FONT, fillStyle: styles.color });
  on.fillText(view.title, 8, 20, picture.width / scale - 16);
  words.forEach((label, i) => {
    const { x, y } = places[i];
    on.fillStyle = colours[i] ?? "#8888";
    on.fillRect(x, y + 32, 12, 12);
    on.fillStyle = styles.color;
    on.fillText(label, x + 16, y + 43);
  });
  whole.toBlob((blob) => save(nameOf(view, "png"), [blob], "image/png"), "image/png");
}

// Where things of these widths stand, from left to right and on the next line where there is no more room.
function flow(widths, room) {
  let [x, y] = [8, 0];
  return widths.map((width) => {
    if (x > 8 && x + width > room) [x, y] = [8, y + 20];
    x += width;
    return { x: x - width, y };
  });
}

// True where the browser let us copy; it may not where the page is not served securely.
export async function copyLink() {
  try {
    await navigator.clipboard.writeText(location.href);
    return true;
  } catch {
    return false;
  }
}
