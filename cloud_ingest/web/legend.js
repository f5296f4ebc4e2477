// The legend: one swatch for each class, and the hatch for what is not known.

import { labels } from "/web/measures.js";
import { byId, draw, make } from "/web/text.js";

// A square as SVG, since the page allows no style attribute.
function swatch(colour) {
  const square = draw("rect", { width: 10, height: 10, fill: colour ?? "url(#hatch)" });
  return draw("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, square);
}

export function drawLegend(measure, steps, dark) {
  const colours = measure.colours(dark);
  const entries = labels(measure, steps).map((label, i) => make("span", {}, swatch(colours[i]), label));
  byId("legend").replaceChildren(make("b", {}, measure.name), ` ${measure.unit}`,
    make("div", {}, ...entries, make("span", {}, swatch(null), "not known")));
}
