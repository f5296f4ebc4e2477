// Search of a SKU by name, number or category: a combobox with a list, as the ARIA practices have it.

import { byId, make } from "/web/text.js";

const MOST = 12;
let catalogue = [];
let chosen = () => {};
let active = -1;

export function fill(skus) {
  catalogue = skus;
}

export function show(name) {
  byId("search").value = name ?? "";
  byId("all").hidden = name === null;
}

// Every word of the text stands somewhere in the SKU's name, number or category.
export function matching(skus, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return skus.filter(({ sku, name, category }) => {
    const within = `${sku} ${name} ${category}`.toLowerCase();
    return words.every((word) => within.includes(word));
  });
}

export function start(choose) {
  chosen = choose;
  const box = byId("search");
  box.addEventListener("input", open);
  box.addEventListener("focus", () => { box.select(); open(); });
  box.addEventListener("blur", close);
  box.addEventListener("keydown", key);
  byId("all").addEventListener("click", () => chosen(null));
}

function open() {
  const box = byId("search");
  const found = matching(catalogue, box.value);
  const shown = (found.length ? found : box.matches(":focus") && box.selectionEnd ? found : catalogue).slice(0, MOST);
  active = -1;
  const items = shown.map((each, i) => {
    const item = make("li", { role: "option", id: `option-${i}`, "aria-selected": "false", "data-sku": each.sku },
      make("span", {}, each.name), make("small", {}, each.name === each.sku ? each.category : `${each.sku} ${each.category}`));
    item.addEventListener("mousedown", (event) => { event.preventDefault(); take(each.sku); });
    return item;
  });
  const rest = found.length - shown.length;
  if (!shown.length) items.push(make("li", { class: "rest" }, "No SKU of that name or number"));
  if (rest > 0) items.push(make("li", { class: "rest" }, `${rest} more: type on`));
  byId("options").replaceChildren(...items);
  byId("options").hidden = false;
  box.setAttribute("aria-expanded", "true");
}

function close() {
  byId("options").hidden = true;
  byId("search").setAttribute("aria-expanded", "false");
  byId("search").removeAttribute("aria-activedescendant");
}

function take(sku) {
  close();
  chosen(sku);
}

function key(event) {
  const items = [...byId("options").querySelectorAll("[role=option]")];
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && items.length) {
    event.preventDefault();
    if (byId("options").hidden) open();
    active = (active + step + items.length) % items.length;
    items.forEach((item, i) => item.setAttribute("aria-selected", String(i === active)));
    byId("search").setAttribute("aria-activedescendant", items[active].id);
    items[active].scrollIntoView({ block: "nearest" });
  } else if (event.key === "Enter") {
    const item = items[active] ?? (items.length === 1 ? items[0] : null);
    if (byId("search").value.trim() === "") take(null);
    else if (item) take(item.dataset.sku);
  } else if (event.key === "Escape") {
    close();
  }
}
