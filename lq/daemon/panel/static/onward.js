// Sends the form of the next step of something long, until somebody leaves the page.

const form = document.querySelector("form[data-onward]");
if (form) {
  const timer = setTimeout(() => form.requestSubmit(), 1000);
  addEventListener("pagehide", () => clearTimeout(timer));
  document.addEventListener("click", (event) => {
    if (event.target.closest("a")) clearTimeout(timer);
  });
}
