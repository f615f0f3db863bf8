// A page that shows what is so now.
//
// Owns: the stream of events, which only says that something happened; the regions of the page
// (`data-region` with an id), which are replaced by those of the same page asked for anew; and #live,
// which says whether that works.
//
// Invariant: nothing that somebody is doing is taken away. A region that is being typed in, selected
// from or pressed waits for the next time; of one that is replaced, focus, open details and scroll
// positions stay.

import { hasUnsaved, takesKeys } from "./fields.js";
import { ask, parsed, tellOfChange, Trouble } from "./page.js";

const EVENTS = [
  ..."push claim succeed fail release bury cancel edit revive expire skip".split(" "),
  ..."pause resume delete missed schedules message".split(" "),
];
const GATHER_MS = 150; // one job is often pushed, claimed and done within this
const LEAST_MS = 1000;
const POLL_MS = 15_000;
const ASLEEP_MS = 60_000;
const MAX_AGAIN_MS = 30_000;
const WORDS = {
  live: "live",
  lost: "reconnecting…",
  paused: "paused",
  gone: "no longer there",
  out: "logged out",
};

const served = new Map(); // by id, the HTML of each region as the daemon sent it last
let stream = null;
let trouble = null; // the status of the last answer, if it was none to show
let timer;
let again; // the timer that opens the stream again
let againMs = LEAST_MS;
let isAsking = false;
let isWanted = false;
let notBefore = 0;
let beatAt = 0;

/** Keep the regions as they came. Before anything else changes them. */
export function rememberRegions() {
  for (const region of regionsOf(document)) {
    served.set(region.id, region.outerHTML);
  }
}

/** From now on, follow the events that the body names, if it names any. */
export function goLive() {
  if (document.body.dataset.live === undefined) {
    return;
  }
  document.addEventListener("visibilitychange", onShownOrHidden);
  setInterval(beat, POLL_MS);
  if (document.hidden) {
    say();
  } else {
    beatAt = Date.now();
    open();
  }
}

/** Have the regions asked for soon, together with whoever else wants that. */
export function refresh() {
  if (isAsking) {
    isWanted = true;
  } else {
    timer ??= setTimeout(replaceRegions, Math.max(GATHER_MS, notBefore - performance.now()));
  }
}

function onShownOrHidden() {
  if (document.hidden) {
    close();
    clearTimeout(timer);
    timer = undefined;
    say();
  } else {
    beatAt = Date.now();
    open();
    refresh();
  }
}

function beat() {
  if (document.hidden) {
    return;
  }
  // A machine that slept may hold a connection that is no more, and never hear of it.
  if (Date.now() - beatAt > ASLEEP_MS) {
    open();
  }
  beatAt = Date.now();
  refresh();
}

function open() {
  close();
  const opened = new EventSource(document.body.dataset.live);
  stream = opened;
  for (const kind of EVENTS) {
    opened.addEventListener(kind, refresh);
  }
  opened.addEventListener("open", () => {
    againMs = LEAST_MS;
    say();
    refresh(); // what happened in between
  });
  opened.addEventListener("error", () => {
    say();
    // Refused, and so given up by the browser. The page itself tells whether there still is a session.
    if (opened.readyState === EventSource.CLOSED && opened === stream) {
      again = setTimeout(open, againMs);
      againMs = Math.min(againMs * 2, MAX_AGAIN_MS);
      refresh();
    }
  });
}

function close() {
  clearTimeout(again);
  stream?.close();
  stream = null;
}

async function replaceRegions() {
  timer = undefined;
  isAsking = true;
  const began = performance.now();
  try {
    const page = parsed(await ask(location.href));
    trouble = null;
    replaceAll(page);
  } catch (error) {
    if (!(error instanceof Trouble)) {
      throw error;
    }
    trouble = error.status;
  } finally {
    isAsking = false;
    // A daemon that takes long is left alone for as long.
    notBefore = began + Math.max(LEAST_MS, 2 * (performance.now() - began));
  }
  say();
  if (isWanted) {
    isWanted = false;
    refresh();
  }
}

function replaceAll(page) {
  let isChanged = false;
  for (const fresh of regionsOf(page)) {
    const old = document.getElementById(fresh.id);
    const html = fresh.outerHTML;
    if (old?.hasAttribute("data-region") && served.get(fresh.id) !== html && !isBusy(old)) {
      replace(old, document.importNode(fresh, true));
      // With it come the regions inside of it.
      for (const one of [fresh, ...regionsOf(fresh)]) {
        served.set(one.id, one.outerHTML);
      }
      isChanged = true;
    }
  }
  if (isChanged) {
    tellOfChange();
  }
}

function isBusy(region) {
  const active = document.activeElement;
  const selection = getSelection();
  return (
    (region.contains(active) && takesKeys(active)) ||
    (!selection.isCollapsed && selection.containsNode(region, true)) ||
    region.matches(":active") ||
    region.matches("[data-keep]") ||
    region.querySelector("[data-keep], dialog[open]") !== null ||
    hasUnsaved(region)
  );
}

function replace(old, fresh) {
  const focused = old.contains(document.activeElement) ? likeness(document.activeElement) : null;
  const scrolled = [old, ...old.querySelectorAll("[id]")].filter(
    (one) => one.scrollTop || one.scrollLeft,
  );
  for (const details of old.querySelectorAll("details[id]")) {
    const same = within(fresh, details.id);
    if (same instanceof HTMLDetailsElement) {
      same.open = details.open;
    }
  }
  const places = scrolled.map((one) => [one.id, one.scrollTop, one.scrollLeft]);
  old.replaceWith(fresh);
  for (const [id, top, left] of places) {
    within(fresh, id)?.scrollTo({ top, left, behavior: "instant" });
  }
  focused?.(fresh)?.focus({ preventScroll: true });
}

/** How to find the element of new content that stands for this one. */
function likeness(element) {
  if (element.id) {
    return (root) => within(root, element.id);
  }
  const named = ["href", "name", "value", "formaction"].filter((name) =>
    element.hasAttribute(name),
  );
  const alike = named
    .map((name) => `[${name}="${CSS.escape(element.getAttribute(name))}"]`)
    .join("");
  const place = placeOf(element);
  return (root) => {
    const found = [...root.querySelectorAll(`${element.localName}${alike}`)];
    const there = found.filter((one) => placeOf(one) === place);
    // Rather none than that of another row: whatever has the focus is what Enter does.
    return there.length === 1 ? there[0] : undefined;
  };
}

function placeOf(element) {
  const form = element.closest("form")?.getAttribute("action");
  const row = element.closest("[data-row]")?.querySelector("a[data-open]")?.getAttribute("href");
  return `${form} ${row}`;
}

function within(root, id) {
  return root.id === id ? root : root.querySelector(`[id="${CSS.escape(id)}"]`);
}

function regionsOf(root) {
  return [...root.querySelectorAll("[data-region][id]")];
}

function say() {
  const place = document.getElementById("live");
  const state = stateNow();
  if (place !== null && document.body.dataset.live !== undefined && place.dataset.state !== state) {
    place.dataset.state = state;
    place.textContent = WORDS[state];
  }
}

function stateNow() {
  if (document.hidden) {
    return "paused";
  }
  if (trouble === 401) {
    return "out";
  }
  if (trouble === 404 || trouble === 410) {
    return "gone";
  }
  return trouble === null && stream?.readyState === EventSource.OPEN ? "live" : "lost";
}
