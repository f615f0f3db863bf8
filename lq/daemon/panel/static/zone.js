// Fills in the viewer's own time zone where a form asks for one and nobody has chosen yet.

const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
if (timeZone) {
  for (const form of document.querySelectorAll("form[data-zone]")) {
    form.elements.namedItem(form.dataset.zone).value = timeZone;
  }
}
