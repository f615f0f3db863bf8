// Views of one thing, one at a time.
//
// Owns: every `data-tabs`, and which of its tabs was chosen, also after its part of the page was
// replaced. Without this all views stand one under the other.
// Source: https://www.w3.org/WAI/ARIA/apg/patterns/tabs/

const chosen = new Set();

/** Show one view of each. */
export function showTabs() {
  for (const group of document.querySelectorAll("[data-tabs]")) {
    const tabs = tabsOf(group);
    if (tabs.length > 0) {
      group.querySelector('[role="tablist"]')?.removeAttribute("hidden");
      choose(group, tabs.find((tab) => chosen.has(panelId(tab))) ?? preset(tabs));
    }
  }
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest?.('[data-tabs] [role="tab"]');
  if (tab) {
    pick(tab);
  }
});

document.addEventListener("keydown", (event) => {
  const tab = event.target.closest?.('[data-tabs] [role="tab"]');
  if (!tab || event.ctrlKey || event.altKey || event.metaKey) {
    return;
  }
  const tabs = tabsOf(tab.closest("[data-tabs]"));
  const here = tabs.indexOf(tab);
  const next = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: -1 }[event.key];
  if (next !== undefined) {
    event.preventDefault();
    const other = tabs.at(next % tabs.length);
    pick(other);
    other.focus();
  }
});

function pick(tab) {
  const group = tab.closest("[data-tabs]");
  tabsOf(group).forEach((other) => chosen.delete(panelId(other)));
  chosen.add(panelId(tab));
  choose(group, tab);
}

function choose(group, tab) {
  for (const other of tabsOf(group)) {
    const isChosen = other === tab;
    other.setAttribute("aria-selected", String(isChosen));
    other.tabIndex = isChosen ? 0 : -1;
    const panel = document.getElementById(panelId(other));
    if (panel !== null) {
      panel.hidden = !isChosen;
    }
  }
}

function tabsOf(group) {
  return [...group.querySelectorAll('[role="tab"]')].filter(
    (tab) => tab.closest("[data-tabs]") === group,
  );
}

function preset(tabs) {
  return tabs.find((tab) => tab.getAttribute("aria-selected") === "true") ?? tabs[0];
}

function panelId(tab) {
  return tab.getAttribute("aria-controls");
}
