// The tabs, each of which shows a panel of its own.

import { byId } from "./dom.mjs";

export class Tabs {
  #tabs = [...document.querySelectorAll("[role=tab]")];

  // `chosen(name)` is called with the name of the panel whose tab was chosen.
  constructor(chosen) {
    this.#tabs.forEach((tab, at) => {
      tab.onclick = () => chosen(tab.getAttribute("aria-controls"));
      tab.onkeydown = (event) => {
        const far = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
        if (!far) return;
        const next = this.#tabs[(at + far + this.#tabs.length) % this.#tabs.length];
        next.focus();
        next.click();
      };
    });
  }

  show(name) {
    for (const tab of this.#tabs) {
      const panel = tab.getAttribute("aria-controls"), selected = panel === name;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      byId(panel).hidden = !selected;
    }
  }
}
