// The keyboard: `/` `j` `k` `g` and `?`.
//
// Owns: what keys do outside of fields. Whatever is pressed with Ctrl, Alt or Meta, or in a field, is
// the browser's.

import { takesKeys } from "./fields.js";

const SEARCH = "/history#search";
const GO_MS = 1500;
let row = -1;
let goUntil = 0;

/** From now on, keys do what the dialog of keys says. */
export function listenForKeys() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("focusin", (event) => {
    const found = rows().indexOf(event.target.closest("[data-row]"));
    row = found < 0 ? row : found;
  });
}

function onKey(event) {
  if (
    event.defaultPrevented ||
    event.isComposing ||
    event.ctrlKey ||
    event.altKey ||
    event.metaKey
  ) {
    return;
  }
  if (takesKeys(event.target)) {
    leaveSearch(event);
    return;
  }
  const isGoing = event.timeStamp < goUntil;
  goUntil = 0;
  const isOpen = document.querySelector("dialog:modal") !== null;
  if (isOpen ? event.key === "?" && toggleHelp() : isGoing ? go(event.key) : act(event)) {
    event.preventDefault();
  }
}

function act(event) {
  switch (event.key) {
    case "/":
      return search();
    case "j":
      return move(1);
    case "k":
      return move(-1);
    case "g":
      goUntil = event.timeStamp + GO_MS;
      return true;
    case "?":
      return toggleHelp();
    default:
      return false;
  }
}

function leaveSearch(event) {
  if (event.key === "Escape" && event.target.matches("[data-search]")) {
    event.target.blur();
  }
}

function search() {
  const field = document.querySelector("[data-search]");
  if (field === null) {
    location.assign(SEARCH);
  } else {
    field.focus();
    field.select?.();
  }
  return true;
}

function rows() {
  return [...document.querySelectorAll("[data-row]")].filter((one) => link(one) !== null);
}

function link(one) {
  return one.querySelector("a[data-open]");
}

function move(by) {
  const all = rows();
  if (all.length === 0) {
    return false;
  }
  // From where the focus is; else from where it was, when a change of the page took its row away.
  const here = all.indexOf(document.activeElement?.closest("[data-row]"));
  const next = here < 0 ? row : here + by;
  row = Math.min(Math.max(next, 0), all.length - 1);
  link(all[row]).focus();
  return true;
}

function go(key) {
  const target =
    key.length === 1 ? document.querySelector(`a[data-key="${CSS.escape(key)}"]`) : null;
  target?.click();
  return target !== null;
}

function toggleHelp() {
  const help = document.querySelector("dialog#keys");
  if (help?.open) {
    help.close();
  } else {
    help?.showModal();
  }
  return help !== null;
}
