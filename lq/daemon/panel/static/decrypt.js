// Payloads and results that only a key in the hands of the viewer opens.
//
// Owns: every `data-sealed`: its key field and what is shown of it.
//
// Invariant: the key stays in its field and in memory. It is in no request, no URL, no storage and no
// attribute; and it is gone when the page is left.

import { bytesOf, readable, readKey, unseal, Unreadable } from "./sealing.js";

const KEY = 'input[type="password"]';
const turns = new WeakMap();

document.addEventListener("click", (event) => {
  const button = event.target.closest?.('[data-sealed] form button[type="button"]');
  if (button) {
    open(button.closest("[data-sealed]"));
  }
});

// Enter in the field. In the capture phase, so that nothing else can let it through.
document.addEventListener(
  "submit",
  (event) => {
    const section = event.target.closest("[data-sealed]");
    if (section) {
      event.preventDefault();
      open(section);
    }
  },
  { capture: true },
);

addEventListener("pagehide", () => {
  for (const field of document.querySelectorAll(`[data-sealed] ${KEY}`)) {
    field.value = "";
  }
});

async function open(section) {
  // Of two that are under way, the one that was asked for last is shown.
  const turn = (turns.get(section) ?? 0) + 1;
  turns.set(section, turn);
  const { text, wrong } = await plainOf(section);
  if (turns.get(section) === turn) {
    show(section, text, wrong);
  }
}

async function plainOf(section) {
  const { queue, purpose, type, body } = section.dataset;
  try {
    const key = readKey(section.querySelector(KEY).value);
    const { type: kind, plain } = await unseal(key, {
      queue,
      purpose,
      contentType: type,
      body: bytesOf(body),
    });
    return { text: readable(kind, plain), wrong: "" };
  } catch (error) {
    if (error instanceof Unreadable) {
      return { text: "", wrong: error.message };
    }
    throw error;
  }
}

function show(section, text, wrong) {
  const plain = section.querySelector("[data-plain]");
  const alert = section.querySelector('[role="alert"]');
  plain.textContent = text;
  plain.hidden = wrong !== "";
  alert.textContent = wrong;
  alert.hidden = wrong === "";
  section.querySelector(KEY).setAttribute("aria-invalid", String(wrong !== ""));
  // What is shown is to stay when the page around it is made new.
  section.toggleAttribute("data-keep", wrong === "");
}
