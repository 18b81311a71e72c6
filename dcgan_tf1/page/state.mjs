// What the page shows: all of it follows from the model and from this.

import { readLink, writeLink } from "./link.mjs";

export class State {
  #model;
  seed = 0n;
  digit = null; // the name of the class on the sheet, or null for all
  place = 0; // of the chosen digit on the sheet
  other = 1; // of the digit at the other end of the path
  fixed = false; // whether the sheet shows the points of the sample grids
  tab = "walk";
  stop; // of training
  walk; // how far one went in each direction, from -1 to 1

  constructor(model) {
    this.#model = model;
    this.stop = model.newest;
    this.walk = model.directions.map(() => 0);
  }

  // Whether the weights of this stop are in the page.
  get drawable() {
    return this.stop >= this.#model.pictured;
  }

  // Which of the weights in the page belong to this stop, or come after it.
  get weights() {
    return Math.max(0, this.stop - this.#model.pictured);
  }

  // The step of training, to be read.
  get step() {
    return this.#model.steps[this.stop].toLocaleString("en");
  }

  // The query of the address that shows this.
  get address() {
    const { steps, newest } = this.#model, { seed, digit, place, stop, walk } = this;
    if (this.fixed) return writeLink({ seed: null, digit: null, place, walk, step: steps[stop] });
    return writeLink({ seed, digit, place, walk, step: stop === newest ? null : steps[stop] });
  }

  // Show what the query of an address asks for. Returns a sentence for each thing that it asks for in vain.
  follow(query) {
    const { directions, digits: places, steps, names, newest, pictured } = this.#model;
    const { problems, seed, step, ...rest } = readLink(query, { ways: directions.length, places, steps, names });
    Object.assign(this, rest, { seed: seed ?? 0n, stop: step === null ? newest : steps.indexOf(step) });
    this.fixed = step !== null && pictured > 0;
    this.other = (this.place + 1) % places;
    return problems;
  }

  // The name of a file, such as digit-seed-3-class-7.png.
  fileName(what, ending) {
    const name = this.digit?.replace(/[^\p{L}\p{N}_+=-]+/gu, "-").slice(0, 40); // of what no file should be named
    return `${what}-seed-${this.seed}${name ? `-class-${name}` : ""}.${ending}`;
  }
}
