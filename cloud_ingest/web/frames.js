// Frames: all cells of one window, column by column. The last ones are kept, so that playing back asks once.

import { frames as fetchFrames } from "/web/api.js";
import { WINDOWS } from "/web/state.js";
import { known } from "/web/text.js";

const KEPT = 600_000; // cells times frames
const LEAST = 20; // frames are kept in any case: two weeks side by side
const CHUNK = 24; // windows that are fetched ahead together: the server reads a day for one of them
const NEAR = 3; // windows that must be there before their turn
export const DAY_S = 86400;
export const WEEK_S = 7 * DAY_S;
const frames = new Map();
let size = 1;

const keyOf = ({ resolution, window, sku }, start) => JSON.stringify([resolution, window, sku, start]);

function keep(key, found) {
  frames.delete(key);
  frames.set(key, found);
  found.then((frame) => { size = Math.max(1, frame.ids.length); }, () => frames.delete(key));
  while (frames.size > Math.max(LEAST, KEPT / size)) frames.delete(frames.keys().next().value);
  return found;
}

// A frame as a promise; an answer that is no longer wanted stays for whoever comes back to it.
export function frame(asked) {
  const key = keyOf(asked, asked.start);
  return keep(key, frames.get(key) ?? fetchFrames(asked).then(([only]) => only));
}

// Fetches the windows behind `asked.start` before their turn, many at once.
export function ahead(asked, step, latest) {
  for (let start = asked.start + step; start <= Math.min(latest, asked.start + NEAR * step); start += step) {
    if (frames.has(keyOf(asked, start))) continue;
    const chunk = fetchFrames({ ...asked, start, count: CHUNK });
    keep(keyOf(asked, start), chunk.then(([first]) => first));
    chunk.then((found) => found.forEach((each) => keep(keyOf(asked, each.start), Promise.resolve(each))), () => {});
    return;
  }
}

// After a change of the database: what was read of the windows from `first` to `last`, and of the newest, is read
// again when it is next shown; without a span, everything.
export function forget(changed) {
  for (const key of frames.keys()) {
    const [, window, , start] = JSON.parse(key);
    if (!known(changed?.first) || start === null) frames.delete(key);
    else if (start + WINDOWS[window] > changed.first && start <= changed.last) frames.delete(key);
  }
}

// The pairs of windows that a comparison sets side by side: [later, earlier], as starts. Of weeks only days
// before that of `latest`, the newest window, since that one is not over.
export function pairs(against, start, windowS, weeks, latest) {
  if (against === "weeks") {
    const days = Array.from({ length: 7 }, (_, day) => [weeks[1] + day * DAY_S, weeks[0] + day * DAY_S]);
    const over = days.filter(([later]) => later + DAY_S <= latest);
    return over.length ? over : days.slice(0, 1);
  }
  const back = { before: windowS, day: DAY_S, week: WEEK_S }[against];
  return [[start, start - back]];
}

// Per cell of `shown`: its demand per observed time over the pairs in which both sides are known, against the earlier
// side; so shops that were silent, or a window that is not over, look like no change. `later` and `earlier` are units
// per observed hour of a shelf; without such a pair all three are null.
export function compare(shown, both) {
  const [later, earlier] = [rates(shown.ids, both, 0), rates(shown.ids, both, 1)];
  const change = shown.ids.map((_, i) => {
    if (!known(later[i])) return null;
    if (earlier[i] === 0) return later[i] === 0 ? 0 : Infinity;
    return (later[i] - earlier[i]) / earlier[i];
  });
  return { ...shown, change, later, earlier };
}

function rates(ids, both, side) {
  return ids.map((id) => {
    let [units, seconds] = [0, 0];
    for (const pair of both) {
      const at = pair.map((each) => each.index.get(id));
      if (!pair.every((each, k) => known(each.demand[at[k]]) && each.observed[at[k]] > 0)) continue;
      units += pair[side].demand[at[side]];
      seconds += pair[side].observed[at[side]];
    }
    return seconds ? units / seconds * 3600 : null;
  });
}

// Mondays of UTC from the first to the last window that there is.
export function mondays(first, latest) {
  const back = (Math.floor(first / DAY_S) + 3) % 7; // 1970-01-01 was a Thursday
  const found = [];
  for (let day = Math.floor(first / DAY_S) * DAY_S - back * DAY_S; day <= latest; day += WEEK_S) found.push(day);
  return found;
}
