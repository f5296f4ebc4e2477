// The time bar: a slider over the windows that there are, a step back and forth, and play.

import { byId, known, time } from "/web/text.js";

const STEP_MS = 450;
const bar = { first: null, latest: null, step: 900, start: null, playing: null, show: null };

// `show` gets the start of a window, or null for whatever is the newest, and resolves when it is drawn.
export function start(show) {
  bar.show = show;
  byId("slider").addEventListener("input", () => { stop(); go(bar.first + Number(byId("slider").value) * bar.step); });
  byId("back").addEventListener("click", () => { stop(); go(bar.start - bar.step); });
  byId("forth").addEventListener("click", () => { stop(); go(bar.start + bar.step); });
  byId("now").addEventListener("click", () => { stop(); bar.show(null); });
  byId("play").addEventListener("click", () => (bar.playing ? stop() : play()));
}

function go(to) {
  const within = Math.min(bar.latest, Math.max(bar.first, to));
  return bar.show(within === bar.latest ? null : within);
}

export function stop() {
  bar.playing = null;
  byId("play").textContent = "Play";
  byId("play").setAttribute("aria-pressed", "false");
}

// Each window stays until its time is over and the next has come, however slow that is.
async function play() {
  const mine = {};
  bar.playing = mine;
  byId("play").textContent = "Pause";
  byId("play").setAttribute("aria-pressed", "true");
  let at = bar.start >= bar.latest ? bar.first : bar.start + bar.step;
  while (bar.playing === mine && at <= bar.latest) {
    await Promise.all([go(at), new Promise((done) => { setTimeout(done, STEP_MS); })]);
    at += bar.step;
  }
  if (bar.playing === mine) stop();
}

export const playing = () => bar.playing !== null;

// What there is, and what is shown; `live` says that the newest window is followed.
export function tell({ first, latest, step, start: shown, live }) {
  Object.assign(bar, { first, latest, step, start: shown });
  const slider = byId("slider");
  const none = !known(latest);
  for (const id of ["slider", "back", "forth", "now", "play"]) byId(id).disabled = none;
  byId("clock").textContent = none ? "–" : time(shown);
  byId("now").setAttribute("aria-pressed", String(live));
  if (none) return;
  slider.max = String((latest - first) / step);
  slider.value = String((shown - first) / step);
  slider.setAttribute("aria-valuetext", time(shown));
  byId("back").disabled = shown <= first;
  byId("forth").disabled = shown >= latest;
}
