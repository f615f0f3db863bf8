// What a form means, in words, while one types it.
//
// Owns: #explanation, which is always of what stands in the form now: an older answer never
// replaces it, and where there is none it says so.

import { ask, parsed, tellOfChange, Trouble } from "./page.js";

const QUIET_MS = 250;
const MAX_QUERY = 6000; // what servers and proxies take as a URL
const pending = new WeakMap();

/** From now on, forms with `data-explain` are explained. */
export function followForms() {
  for (const kind of ["input", "change", "reset"]) {
    document.addEventListener(kind, (event) => {
      const form = event.target.closest?.("form[data-explain]");
      if (form && !event.target.hasAttribute("data-private")) {
        onChange(form);
      }
    });
  }
}

function onChange(form) {
  const before = pending.get(form);
  clearTimeout(before?.timer);
  before?.abort.abort();
  const abort = new AbortController();
  const timer = setTimeout(() => explain(form, abort.signal), QUIET_MS);
  pending.set(form, { abort, timer });
}

async function explain(form, signal) {
  const url = new URL(form.dataset.explain, location.href);
  url.search = new URLSearchParams(told(form));
  const isShort = url.search.length <= MAX_QUERY;
  const words = isShort ? await wordsFrom(url, signal) : ["This is too long to be explained here."];
  if (!signal.aborted) {
    document.getElementById("explanation")?.replaceChildren(...words);
    tellOfChange();
  }
}

/** The nodes to show. An answer that refuses explains, too: it says what is wrong. */
async function wordsFrom(url, signal) {
  let text;
  try {
    text = await ask(url, { signal, byHand: true });
  } catch (error) {
    if (signal.aborted) {
      return [];
    }
    if (!(error instanceof Trouble)) {
      throw error;
    }
    if (error.status === 401) {
      return ["You are not logged in any more."];
    }
    text = error.text;
  }
  const found = parsed(text).getElementById("explanation");
  return found === null
    ? ["lq has no explanation at the moment."]
    : document.importNode(found, true).childNodes;
}

function told(form) {
  return [...new FormData(form)].filter(
    ([name, value]) => typeof value === "string" && isOpen(form, name),
  );
}

function isOpen(form, name) {
  const fields = [...form.elements].filter((field) => field.name === name);
  return fields.every((field) => !field.hasAttribute("data-private") && field.type !== "password");
}
