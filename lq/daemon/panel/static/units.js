// Numbers as charts write them. Pure.

const SPANS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["min", 60_000],
  ["s", 1000],
];

/** A whole number: "1,234". */
export function count(value) {
  return value.toLocaleString("en-US");
}

/** A duration in ms: "1.5 s". */
export function span(ms) {
  const [unit, size] = SPANS.find(([, from]) => ms >= from) ?? ["ms", 1];
  const value = ms / size;
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${unit}`;
}

/** Steps of an axis that counts: no half jobs. */
export const COUNT_STEPS = [...Array(13).keys()].flatMap((power) =>
  [1, 2, 5].map((digit) => digit * 10 ** power),
);

const MIN = 60_000;
const HOUR = 60 * MIN;

/** Steps of an axis of durations in ms, as clocks divide them. */
export const SPAN_STEPS = [
  ...[1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 30_000],
  ...[1, 2, 5, 10, 20, 30].map((minutes) => minutes * MIN),
  ...[1, 2, 6, 12, 24, 48, 168].map((hours) => hours * HOUR),
  ...COUNT_STEPS.map((weeks) => weeks * 336 * HOUR),
];
