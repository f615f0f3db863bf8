// What a scriptlet says while it runs.
//
// Owns: every <pre data-log> that is not at its end yet. Each is asked after by one reader alone, as
// long as it is in the page and the page is seen; nothing is shown twice, since only what follows
// the offset of the last answer is asked for.

import { refresh } from "./live.js";
import { ask, Trouble } from "./page.js";

const PACE_MS = 1000;
const MAX_WAIT_MS = 30_000;
const NEAR_PX = 8;
const followed = new WeakSet();
const ended = new Set(); // by URL: a region that is sent again may hold a log that is at its end

/** Follow those that are not followed yet. */
export function followLogs() {
  for (const log of document.querySelectorAll("pre[data-log]")) {
    if (!followed.has(log) && !ended.has(log.dataset.log)) {
      followed.add(log);
      log.tabIndex = 0; // what scrolls is to be reached without a mouse
      follow(log);
    }
  }
}

async function follow(log) {
  let offset = Number(log.dataset.offset ?? 0);
  let wait = 0;
  log.dataset.keep = ""; // or a new copy of its region would begin before what is already shown
  while (log.isConnected) {
    await seen();
    const next = await read(log, offset);
    if (next === null) {
      ended.add(log.dataset.log);
      break;
    }
    const hasMore = next.offset !== undefined && next.offset !== offset;
    offset = next.offset ?? offset;
    // More at once; a daemon in trouble is asked less and less, one that has nothing to say, calmly.
    wait = hasMore
      ? 0
      : next.isTrouble
        ? Math.min(Math.max(wait * 2, PACE_MS), MAX_WAIT_MS)
        : PACE_MS;
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
  delete log.dataset.keep;
  refresh();
}

/** One answer, shown: the offset after it. Null at the end, or when there is no such log. */
async function read(log, offset) {
  const url = new URL(log.dataset.log, location.href);
  url.searchParams.set("offset", offset);
  let answer;
  try {
    answer = JSON.parse(await ask(url));
  } catch (error) {
    if (
      error instanceof Trouble &&
      error.status >= 400 &&
      error.status < 500 &&
      error.status !== 429
    ) {
      return null;
    }
    if (!(error instanceof Trouble || error instanceof SyntaxError)) {
      throw error;
    }
    return { isTrouble: true };
  }
  append(log, answer.data);
  return answer.running ? { offset: answer.offset } : null;
}

function append(log, text) {
  if (!text) {
    return;
  }
  const own =
    log.scrollHeight > log.clientHeight + 1 && getComputedStyle(log).overflowY !== "visible";
  const scroller = own ? log : document.scrollingElement;
  const isAtEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
  log.append(text);
  if (isAtEnd) {
    scroller.scrollTop = scroller.scrollHeight;
    log.scrollTop = log.scrollHeight; // it may have begun to scroll with this text
  }
}

function seen() {
  return new Promise((resolve) => {
    const check = () => {
      if (!document.hidden) {
        document.removeEventListener("visibilitychange", check);
        resolve();
      }
    };
    document.addEventListener("visibilitychange", check);
    check();
  });
}
