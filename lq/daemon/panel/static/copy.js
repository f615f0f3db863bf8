// Buttons that copy.
//
// Owns: every button with `data-copy` (the text itself) or `data-copy-from` (the id of the element
// that holds it). They are hidden in the page as it comes, since without this they do nothing.

const SHOWN_MS = 1500;
const SELECTOR = "button[data-copy], button[data-copy-from]";
const labels = new WeakMap();

/** Show the buttons. */
export function showCopyButtons() {
  for (const button of document.querySelectorAll(SELECTOR)) {
    button.hidden = false;
    button.setAttribute("aria-live", "polite");
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.(SELECTOR);
  if (button) {
    say(button, (await copy(textOf(button), button)) ? "copied" : "not copied: select it by hand");
  }
});

function textOf(button) {
  const from = button.dataset.copyFrom;
  const source = from === undefined ? null : document.getElementById(from);
  return source === null ? (button.dataset.copy ?? "") : (source.value ?? source.textContent);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelecting(text, button); // no clipboard over plain http, or no leave to use it
  }
}

function copyBySelecting(text, button) {
  const area = document.createElement("textarea");
  area.value = text;
  area.readOnly = true;
  area.setAttribute("aria-hidden", "true");
  area.style.position = "fixed";
  area.style.opacity = "0";
  // Beside the button: in an open dialog nothing outside of it can be selected.
  button.after(area);
  area.select();
  try {
    return document.execCommand("copy");
  } finally {
    area.remove();
    button.focus();
  }
}

function say(button, text) {
  const before = labels.get(button);
  clearTimeout(before?.timer);
  const label = before?.label ?? [...button.childNodes];
  button.textContent = text;
  const timer = setTimeout(() => {
    button.replaceChildren(...label);
    labels.delete(button);
  }, SHOWN_MS);
  labels.set(button, { label, timer });
}
