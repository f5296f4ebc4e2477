// The only module that talks to the server. What it hands on has null where something is not known.

async function get(path, values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined);
  const answer = await fetch(`${path}?${new URLSearchParams(given)}`);
  if (answer.ok) return answer.json();
  if (answer.status === 401) location.assign(`/login${location.hash}`); // the login is over
  const told = await answer.json().catch(() => ({}));
  throw new Error(typeof told.detail === "string" ? told.detail : `${path}: ${answer.status}`);
}

// How much there is for this visitor, `scope` public or operator, and the `name` of who is logged in, if anybody is.
export function visitor() {
  return get("/v1/health", {});
}

// All cells of `count` windows or fewer, from `start` on, null for the newest: of each window `ids`, and an array in
// the same order for each column.
export async function frames({ resolution, window, start, sku, count = 1 }) {
  const { cells, frames: found, ...rest } = await get("/v1/frames", { resolution, window, start, sku, count });
  const index = new Map(cells.map((id, i) => [id, i]));
  return found.map(({ start: at, columns }) => {
    const share = columns.observed.map((all, i) => (all ? Math.min(1, columns.in_stock[i] / all) : null));
    return { ...rest, start: at, ...columns, share, ids: cells, index };
  });
}

// The rows of one cell, newest first, one for each SKU and window.
export function rows({ resolution, window, cell, since, until }) {
  return get("/v1/feed", { resolution, window, cell, since, until });
}

// The SKUs that can be asked for: each `sku` with its `name` and `category`.
export function skus() {
  return get("/v1/skus", {});
}

// Calls `changed` at once and whenever the database has changed, and `lost` while there is no connection. It gets
// the windows that changed, `first` to `last` as Unix seconds; without them anything may have.
export function changes(changed, lost) {
  const source = new EventSource("/v1/changes");
  let told = false;
  source.addEventListener("revision", () => { // the first one, and the first after a lost connection
    if (!told) changed(null);
    told = true;
  });
  source.addEventListener("change", (event) => changed(JSON.parse(event.data)));
  source.addEventListener("error", () => {
    told = false;
    lost();
    if (source.readyState === EventSource.CLOSED) get("/v1/schema", {}).catch(() => {}); // the login may be over
  });
}
