// What a cell can be coloured by: its value in a frame, the classes of the legend, and the words for it.

import { known, number, percent, signed } from "/web/text.js";

// Viridis, from dark to light in even steps: read alike with every kind of colour vision, and in grey.
const RISING = ["#433e85", "#31688e", "#23898e", "#35b779", "#8fd744", "#fde725"];
// Blue to orange through a grey that is not the ground's; no red against green.
const DIVERGING = {
  light: ["#1f5fa5", "#6aa6d0", "#bfd9ea", "#d0cbc0", "#f7cd9f", "#e08a26", "#9c4f06"],
  dark: ["#6db6f2", "#3f7fb8", "#2e5473", "#46484b", "#74552f", "#b87a2b", "#ffb452"],
};

// `lowFirst`: low values deserve the look. `value` of cell number i of a frame; null is not known, and in no class.
export const MEASURES = {
  demand: {
    name: "Demand", unit: "units wanted per window", steps: evenSteps,
    value: (frame, i) => frame.demand[i], text: (value) => number(value),
    colours: () => RISING,
  },
  stock: {
    name: "In-stock share", unit: "of the observed time on the shelf", steps: () => [0.5, 0.8, 0.9, 0.95, 0.98, 1],
    value: (frame, i) => frame.share[i], text: (value) => percent(value, 1), lowFirst: true,
    colours: () => RISING,
  },
  complete: {
    name: "Completeness", unit: "of the shops reporting", steps: () => [0.5, 0.75, 0.9, 0.95, 0.9999, 1],
    value: (frame, i) => (frame.stores[i] > 0 ? frame.reporting[i] / frame.stores[i] : null),
    text: (value) => percent(value),
    labels: ["0 – 50 %", "50 – 75 %", "75 – 90 %", "90 – 95 %", "95 – 99.9 %", "all"],
    colours: () => RISING, lowFirst: true,
  },
  change: {
    name: "Change of demand", unit: "per observed hour",
    steps: () => [-0.5, -0.2, -0.05, 0.05, 0.2, 0.5, Infinity],
    value: (frame, i) => frame.change[i], text: signed,
    labels: ["−50 % or less", "−50 to −20 %", "−20 to −5 %", "−5 to +5 %", "+5 to +20 %", "+20 to +50 %",
      "over +50 %"],
    colours: (dark) => (dark ? DIVERGING.dark : DIVERGING.light),
  },
};

export const UNKNOWN = 255;

// The upper bound of each class; the last class is open, so that one huge cell does not hide the others.
function evenSteps(top) {
  const many = RISING.length;
  const step = 10 ** Math.floor(Math.log10(Math.max(top, many) / many));
  const even = Math.ceil(Math.max(top, many) / many / step) * step;
  return Array.from({ length: many }, (_, i) => Number((even * (i + 1)).toPrecision(6)));
}

// What nearly every cell stays below: the 99th percentile, or the greatest of few.
export function top(values) {
  const found = values.filter(known).sort((a, b) => a - b);
  return found.length ? found[Math.floor((found.length - 1) * 0.99)] : 0;
}

export function classOf(value, steps) {
  if (!known(value)) return UNKNOWN;
  const found = steps.findIndex((step) => value <= step);
  return found < 0 ? steps.length - 1 : found;
}

export function labels(measure, steps) {
  if (measure.labels) return measure.labels;
  const last = steps.length - 1;
  return steps.map((step, i) => {
    if (i === 0) return `0 – ${measure.text(step)}`;
    return i === last && measure.steps === evenSteps ? `over ${measure.text(steps[i - 1])}`
      : `${measure.text(steps[i - 1])} – ${measure.text(step)}`;
  });
}
