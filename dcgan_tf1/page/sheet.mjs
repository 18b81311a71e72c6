// The sheet: digits side by side, of which one is chosen.

import { byId } from "./dom.mjs";
import { paint, savePng } from "./ink.mjs";
import { Tiles } from "./tiles.mjs";
import { showOthers } from "./verdict.mjs";

export class Sheet {
  digits = []; // { z, classes, pixels, verdict }, each without what is not there yet
  #page;
  #told;
  #tiles;

  // Of what happens, `told.chosen(place)`, `told.drawn(place)` for each digit and `told.judged()` for all are called.
  constructor(page, told) {
    this.#page = page;
    this.#told = told;
    this.#tiles = new Tiles(page.model.digits, (place) => this.digits[place].pixels && told.chosen(place));
    byId("save-sheet").onclick = () => {
      const all = document.createElement("canvas");
      paint(all, this.digits.map((digit) => digit.pixels), page.model.side, 8);
      savePng(page.state.fileName("digits", "png"), all, 3);
    };
  }

  // The probabilities of being real, as far as the discriminator has said them.
  get reals() {
    return this.digits.map((digit) => digit.verdict?.real).filter((real) => real !== undefined);
  }

  // Draw the sheet of the state, and judge it.
  load() {
    const { model, painter, state, words } = this.#page, { rows, columns } = model.snapshots;
    const count = state.fixed ? rows * columns : model.digits;
    this.digits = Array.from({ length: count }, () => ({}));
    state.place = Math.min(state.place, count - 1);
    state.other = Math.min(state.other, count - 1);
    this.#tiles.clear(count, state.fixed && model.classes.length ? columns : null);
    painter.drop("digit", "grid", "verdicts", "map");
    showOthers([]);
    this.mark();
    let found = 0, drawn = 0;
    this.#draw((part) => {
      drawn = part.drawn ?? drawn;
      if (part.pixels) {
        found++;
        this.#set(part);
        this.#told.drawn(part.index);
      }
      const sentence = words.caption(state, { count, found, drawn, done: part.done });
      if (byId("caption").textContent !== sentence) byId("caption").textContent = sentence;
      if (part.done) this.#judge();
    });
  }

  // Draw the same points with the weights of another stop.
  redraw() {
    const { painter, state } = this.#page;
    painter.drop("verdicts");
    showOthers([]);
    painter.ask("grid", { kind: "draw", points: this.digits, stop: state.weights }, (part) => {
      if (part.pixels) this.#set(part);
      if (part.done) this.#judge();
    });
  }

  mark() {
    this.#tiles.mark(this.#page.state);
  }

  repaint() {
    this.digits.forEach(({ pixels }, place) => pixels && this.#tiles.draw(place, pixels, this.#page.model.side));
  }

  #draw(took) {
    const { model, painter, state } = this.#page, { seed, digit, stop } = state;
    if (!state.drawable) {
      const pictures = model.pictures[stop], { columns } = model.snapshots;
      pictures.forEach((pixels, index) => {
        const classes = Float32Array.from(model.classes, (_, i) => Number(i === index % columns)); // a column for each
        took({ index, pixels, classes, done: index === pictures.length - 1 });
      });
    } else if (state.fixed) {
      painter.ask("grid", { kind: "snapshot" }, took);
    } else {
      const asked = { seed, digit: digit === null ? null : model.names.indexOf(digit), count: model.digits };
      painter.ask("grid", { kind: "sample", ...asked, stop: state.weights }, took);
    }
  }

  #set({ index, z, classes, pixels }) {
    const before = this.digits[index];
    this.digits[index] = { z: z ?? before.z, classes: classes ?? before.classes, pixels };
    this.#tiles.draw(index, pixels, this.#page.model.side);
  }

  // Ask what the networks say of each digit, once there is time.
  #judge() {
    const digits = this.digits.filter(({ pixels }) => pixels); // a search in vain leaves the last ones out
    const asked = { kind: "judge", digits, stop: this.#page.state.weights };
    this.#page.painter.ask("verdicts", asked, ({ index, verdict, done }) => {
      if (verdict) {
        this.digits[index].verdict = verdict;
        this.#tiles.describe(index, verdict.read);
      }
      if (done) {
        showOthers(this.reals);
        this.#told.judged();
      }
    });
  }
}
