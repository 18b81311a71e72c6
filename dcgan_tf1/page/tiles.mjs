// The tiles of the sheet: a button for each digit. The arrow keys go from one to the next.

import { byId } from "./dom.mjs";
import { paint } from "./ink.mjs";
import { mostProbable } from "./verdict.mjs";

export class Tiles {
  #tiles;
  #count = 0;

  // Make `most` tiles. `chosen(place)` is called when one is clicked.
  constructor(most, chosen) {
    this.#tiles = Array.from({ length: most }, (_, place) => {
      const tile = document.createElement("button");
      tile.type = "button";
      tile.append(document.createElement("canvas"));
      tile.onclick = () => chosen(place);
      return tile;
    });
    byId("tiles").append(...this.#tiles);
    byId("tiles").onkeydown = (event) => this.#go(event);
  }

  // Show `count` tiles without digits, in `columns`, or in as many as usual.
  clear(count, columns) {
    this.#count = count;
    byId("tiles").style.gridTemplateColumns = columns ? `repeat(${columns}, 1fr)` : "";
    this.#tiles.forEach((tile, place) => {
      tile.hidden = place >= count;
      tile.classList.remove("drawn");
      tile.setAttribute("aria-label", `Digit ${place + 1}`);
    });
  }

  draw(place, pixels, side) {
    paint(this.#tiles[place].firstElementChild, [pixels], side);
    this.#tiles[place].classList.add("drawn");
  }

  // Say what the classifier reads.
  describe(place, read) {
    this.#tiles[place].setAttribute("aria-label", `Digit ${place + 1}: looks like a ${mostProbable(read)}`);
  }

  // Mark the chosen digit of a state, and the other end of the path.
  mark(state) {
    this.#tiles.forEach((tile, place) => {
      const here = place === state.place, chosen = here && state.tab !== "hand";
      const end = state.tab === "path" && place === state.other;
      tile.tabIndex = here ? 0 : -1;
      tile.setAttribute("aria-pressed", String(chosen || end));
      tile.classList.toggle("end", end && !chosen);
    });
  }

  #go(event) {
    const columns = getComputedStyle(byId("tiles")).gridTemplateColumns.split(" ").length;
    const far = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -99, End: 99 }[event.key];
    const at = this.#tiles.indexOf(document.activeElement);
    if (!far || at < 0) return;
    event.preventDefault();
    const to = Math.min(Math.max(at + far, 0), this.#count - 1);
    if (Math.abs(far) !== columns || to === at + far) this.#tiles[to].focus(); // up and down stay in the column
  }
}
