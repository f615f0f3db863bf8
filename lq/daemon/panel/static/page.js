// Questions to the daemon from a page that stays.
//
// Owns: what all of them have in common. Who is not let in any more is led to the login page, except
// away from what is half typed. What else goes wrong is Trouble, for the caller to show.

import { hasUnsaved } from "./fields.js";

const LOGIN = "/login";
const PATIENCE_MS = 30_000;

/** There was no good answer. `status` is 0 where there was none at all, `text` what it said. */
export class Trouble extends Error {
  constructor(status, text = "") {
    super(status === 0 ? "lq does not answer" : `lq answered with status ${status}`);
    this.status = status;
    this.text = text;
  }
}

/**
 * The text of an answer. Throws Trouble, and what `signal` was aborted with.
 *
 * What is not asked for `byHand` does not keep a session alive.
 */
export async function ask(url, { signal, byHand = false } = {}) {
  let answer, text;
  try {
    answer = await fetch(url, {
      cache: "no-store",
      credentials: "same-origin",
      headers: byHand ? {} : { "X-Lq-Live": "1" },
      signal: AbortSignal.any([AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])]),
    });
    text = await answer.text();
  } catch {
    signal?.throwIfAborted();
    throw new Trouble(0);
  }
  const isLogin = answer.redirected && new URL(answer.url).pathname === LOGIN;
  if (isLogin || answer.status === 401 || answer.status === 403) {
    leave();
    throw new Trouble(401);
  }
  if (!answer.ok) {
    throw new Trouble(answer.status, text);
  }
  return text;
}

/** A page of our own, parsed. Nothing in it is run. */
export function parsed(text) {
  return new DOMParser().parseFromString(text, "text/html");
}

/** Tell everyone that parts of the page are new. */
export function tellOfChange() {
  document.dispatchEvent(new CustomEvent("lq:regions"));
}

function leave() {
  if (!hasUnsaved(document)) {
    const next = encodeURIComponent(location.pathname + location.search);
    location.assign(`${LOGIN}?next=${next}`);
  }
}
