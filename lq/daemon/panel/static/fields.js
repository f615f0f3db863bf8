// What somebody has typed.
//
// Owns: which elements take keys, and whether any of them holds what the daemon has not seen yet.

const NOT_TYPED = new Set([
  "button",
  "checkbox",
  "color",
  "file",
  "image",
  "radio",
  "range",
  "reset",
  "submit",
]);

/** Whether letters pressed now belong to this element. */
export function takesKeys(element) {
  if (element instanceof HTMLInputElement) {
    return !NOT_TYPED.has(element.type);
  }
  return (
    element instanceof HTMLTextAreaElement ||
    element instanceof HTMLSelectElement ||
    element.isContentEditable
  );
}

/** Whether a field in here differs from how it came. */
export function hasUnsaved(root) {
  return [...root.querySelectorAll("input, textarea, select")].some(isChanged);
}

function isChanged(field) {
  if (field instanceof HTMLSelectElement) {
    return isOtherChoice(field);
  }
  if (field.type === "checkbox" || field.type === "radio") {
    return field.checked !== field.defaultChecked;
  }
  return (
    field.type !== "hidden" && field.value !== field.defaultValue && field.value !== asItCame(field)
  );
}

/** The first value of a field, which browsers write in their own way: of times, numbers, ranges. */
function asItCame(field) {
  if (!(field instanceof HTMLInputElement)) {
    return field.defaultValue;
  }
  const same = document.createElement("input");
  for (const { name, value } of field.attributes) {
    same.setAttribute(name, value);
  }
  return same.value;
}

function isOtherChoice(select) {
  const options = [...select.options];
  const isPreset = options.some((option) => option.defaultSelected);
  if (select.multiple || isPreset) {
    return options.some((option) => option.selected !== option.defaultSelected);
  }
  // Where none is preset, the browser chooses the first that can be chosen.
  return select.selectedIndex > options.findIndex((option) => !option.disabled);
}
