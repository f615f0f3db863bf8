// Instants in the viewer's zone, with UTC on hover.
//
// Owns: every <time datetime> of the page, and how an instant is written. `data-form` says which
// form its text has: "relative" (kept true while it is looked at), "time" (of today; else as the
// others), or the date and time.

const TICK_MS = 1000;
const PARTS = new Intl.DateTimeFormat("en-US", {
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const UNITS = [
  ["d", 86_400_000, 172_800_000],
  ["h", 3_600_000, 3_600_000],
  ["min", 60_000, 60_000],
  ["s", 1000, 1000],
];

/** "3 min ago" or "in 5 min". */
export function relative(at, now) {
  const off = Math.abs(at - now);
  const unit = UNITS.find(([, , from]) => off >= from);
  if (unit === undefined) {
    return "now";
  }
  const span = `${Math.floor(off / unit[1])} ${unit[0]}`;
  return at > now ? `in ${span}` : `${span} ago`;
}

/** What an instant is in the viewer's zone. Each is text. */
export function local(at) {
  const parts = Object.fromEntries(PARTS.formatToParts(at).map(({ type, value }) => [type, value]));
  const minute = `${parts.hour}:${parts.minute}`;
  return {
    year: parts.year,
    day: `${parts.day} ${parts.month}`,
    minute,
    second: `${minute}:${parts.second}`,
  };
}

/** Write all times in the zone of who looks at them. */
export function showTimes() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time[datetime]")) {
    show(element, now);
  }
}

/** From now on, relative times stay true, and so does what is said on hover. */
export function keepTimesTrue() {
  setInterval(tick, TICK_MS);
  document.addEventListener("visibilitychange", tick);
  document.addEventListener("mouseover", (event) => {
    const element = event.target.closest?.("time[datetime]");
    if (element) {
      show(element, Date.now());
    }
  });
}

function tick() {
  if (document.hidden) {
    return;
  }
  const now = Date.now();
  for (const element of document.querySelectorAll('time[datetime][data-form="relative"]')) {
    show(element, now);
  }
}

function show(element, now) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) {
    return; // as the daemon wrote it
  }
  const isRelative = element.dataset.form === "relative";
  const there = local(at);
  const full = `${there.day} ${there.year} ${there.second}`;
  const text = isRelative ? relative(at, now) : absolute(there, local(now), element.dataset.form);
  // Setting what is already so would take a selection away.
  if (element.textContent !== text) {
    element.textContent = text;
  }
  const title = isRelative ? `${full} · ${utc(at)}` : `${utc(at)} · ${relative(at, now)}`;
  if (element.title !== title) {
    element.title = title;
  }
}

function absolute(there, today, form) {
  if (there.year !== today.year) {
    return `${there.day} ${there.year} ${there.minute}`;
  }
  return form === "time" && there.day === today.day ? there.second : `${there.day} ${there.second}`;
}

function utc(at) {
  return new Date(at).toISOString().replace("T", " ").replace(".000", "").replace("Z", " UTC");
}
