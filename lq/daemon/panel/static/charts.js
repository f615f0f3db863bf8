// Charts, drawn from the tables of numbers that stand beside them.
//
// Owns: every <figure data-chart>. All it knows is in the table that `data-table` names; whoever sees
// no picture reads that, and it is opened when there is no picture.

import { local } from "./times.js";
import { count, COUNT_STEPS, span, SPAN_STEPS } from "./units.js";

const HEIGHT_PX = 180;
const LEAST_PX = 120;
const MARGIN_PX = 20;
const DIGIT_PX = 7;
const LEAST_DIGITS = 3;
const MINUTE_S = 60;
const HOUR_S = 3600;
const KINDS = {
  throughput: {
    write: count,
    steps: COUNT_STEPS,
    isSum: true,
    lines: [
      { column: "taken", label: "pushed", colour: "--chart-1", isFilled: true },
      { column: "completed", label: "completed", colour: "--chart-2" },
    ],
  },
  failures: {
    write: count,
    steps: COUNT_STEPS,
    isSum: true,
    lines: [
      { column: "failed", label: "failed", colour: "--chart-bad", isFilled: true },
      { column: "retried", label: "retried", colour: "--chart-2" },
    ],
  },
  lateness: {
    write: span,
    steps: SPAN_STEPS,
    lines: [
      { column: "late_mean", label: "mean", colour: "--chart-1", isFilled: true },
      { column: "late_max", label: "worst", colour: "--chart-2" },
    ],
  },
};

const drawn = new Map(); // by figure: its plot, and the table whose numbers it shows
const sizes = new ResizeObserver((entries) => entries.forEach(({ target }) => resize(target)));

start();

async function start() {
  try {
    await Promise.all([
      load("script", { src: new URL("vendor/uplot/uPlot.iife.min.js", import.meta.url).href }),
      load("link", {
        rel: "stylesheet",
        href: new URL("vendor/uplot/uPlot.min.css", import.meta.url).href,
      }),
      load("link", { rel: "stylesheet", href: new URL("charts.css", import.meta.url).href }),
    ]);
  } catch {
    document.querySelectorAll("details#numbers").forEach((numbers) => (numbers.open = true));
    return;
  }
  drawAll();
  document.addEventListener("lq:regions", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
}

function load(kind, attributes) {
  return new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement(kind), attributes);
    element.addEventListener("load", resolve);
    element.addEventListener("error", reject);
    document.head.append(element);
  });
}

function drawAll() {
  for (const figure of drawn.keys()) {
    if (!figure.isConnected) {
      forget(figure);
    }
  }
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const table = document.getElementById(figure.dataset.table);
    const kind = KINDS[figure.dataset.chart];
    if (kind !== undefined && table !== null && drawn.get(figure)?.table !== table) {
      draw(figure, kind, table);
    }
  }
}

/** In other colours: a canvas does not follow them by itself. */
function redrawAll() {
  [...drawn.keys()].forEach(forget);
  drawAll();
}

function forget(figure) {
  sizes.unobserve(figure);
  drawn.get(figure).plot.destroy();
  drawn.delete(figure);
}

function draw(figure, kind, table) {
  const data = numbersOf(table, ["at", ...kind.lines.map(({ column }) => column)]);
  const before = drawn.get(figure);
  const plot = before?.plot ?? new uPlot(optionsOf(figure, kind), data, figure);
  if (before !== undefined) {
    plot.setData(data);
  }
  drawn.set(figure, { plot, table });
  sizes.observe(figure);
  const canvas = plot.ctx.canvas;
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", inWords(figure, kind, data));
  // What it says of the place of the mouse is in the table for those who have none.
  plot.root.querySelector(".u-legend")?.setAttribute("aria-hidden", "true");
}

/** The columns of a table, in the order of time. Times in seconds; null where there is no number. */
function numbersOf(table, columns) {
  const heads = [...table.querySelectorAll("th[data-col]")];
  const places = columns.map((name) => heads.find((head) => head.dataset.col === name)?.cellIndex);
  const rows = [...table.tBodies].flatMap((body) => [...body.rows]);
  const read = rows.map((row) => places.map((place) => numberIn(row.cells[place])));
  const timed = read.filter(([at]) => at !== null).sort(([one], [other]) => one - other);
  return columns.map((_, index) => timed.map((numbers) => numbers[index]));
}

function numberIn(cell) {
  const time = cell?.querySelector("time[datetime]");
  const text = cell?.dataset.v;
  const number = time ? Date.parse(time.dateTime) / 1000 : text ? Number(text) : NaN;
  return Number.isFinite(number) ? number : null;
}

function optionsOf(figure, kind) {
  const colour = (name, percent) => resolved(figure, name, percent);
  const muted = colour("--text-muted");
  const grid = { stroke: colour("--chart-grid"), width: 1 };
  const font = `12px ${getComputedStyle(figure).fontFamily}`;
  const axis = { stroke: muted, grid, ticks: grid, font };
  return {
    width: widthOf(figure),
    height: HEIGHT_PX,
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: "lq" } },
    scales: {
      x: { range: rangeOfTimes },
      y: { range: (_, _least, most) => [0, most > 0 ? most * 1.05 : 1] },
    },
    axes: [
      { ...axis, size: 32, space: 60, values: (_, splits) => splits.map(timeMark) },
      {
        ...axis,
        size: room,
        space: 30,
        incrs: kind.steps,
        values: (_, splits) => splits.map(kind.write),
      },
    ],
    series: [
      { label: "at", value: (_, at) => (at === null ? "\u00a0" : moment(at)) },
      ...kind.lines.map((line) => ({
        label: line.label,
        stroke: colour(line.colour),
        fill: line.isFilled ? colour(line.colour, 12) : undefined,
        width: 1.5,
        points: { show: (plot) => plot.data[0].length < 3, size: 5 },
        value: (_, value) => (value === null ? "–" : kind.write(value)),
      })),
    ],
  };
}

function rangeOfTimes(_, first, last) {
  if (first === null || last === null) {
    const now = Date.now() / 1000;
    return [now - HOUR_S, now];
  }
  return first === last ? [first - MINUTE_S, last + MINUTE_S] : [first, last];
}

/** How wide the marks of an axis are. */
function room(_, marks) {
  return (
    MARGIN_PX + DIGIT_PX * Math.max(LEAST_DIGITS, ...(marks ?? []).map(({ length }) => length))
  );
}

function timeMark(at) {
  const { day, minute } = local(at * 1000);
  return minute === "00:00" ? day : minute;
}

function moment(at) {
  const { day, minute } = local(at * 1000);
  return `${day} ${minute}`;
}

/** A custom property as a colour that a canvas takes, whatever functions it is written with. */
function resolved(figure, name, percent = 100) {
  const probe = document.createElement("span");
  probe.style.color = `color-mix(in srgb, var(${name}, currentcolor) ${percent}%, transparent)`;
  figure.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

function inWords(figure, kind, data) {
  const title = figure.querySelector("figcaption")?.textContent.trim() ?? figure.dataset.chart;
  const parts = kind.lines.map(({ label }, index) =>
    lineInWords(kind, label, data[0], data[index + 1]),
  );
  return `${title}: ${parts.join("; ")}`;
}

function lineInWords(kind, label, times, values) {
  const numbers = values.filter((value) => value !== null);
  const most = Math.max(0, ...numbers);
  if (most === 0) {
    return `${label}: ${numbers.length === 0 ? "no numbers" : kind.write(0)}`;
  }
  const at = moment(times[values.indexOf(most)]);
  if (kind.isSum) {
    return `${label}: ${count(numbers.reduce((sum, value) => sum + value, 0))}, most ${count(most)} at ${at}`;
  }
  return `${label}: up to ${kind.write(most)}, at ${at}`;
}

function widthOf(figure) {
  const { paddingLeft, paddingRight } = getComputedStyle(figure);
  return Math.max(
    Math.floor(figure.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight)),
    LEAST_PX,
  );
}

function resize(figure) {
  const plot = drawn.get(figure)?.plot;
  const width = widthOf(figure);
  if (plot !== undefined && plot.width !== width) {
    plot.setSize({ width, height: HEIGHT_PX });
  }
}
