// The picture above the tabs, and what the networks say of it.

import { byId } from "./dom.mjs";
import { paint, savePng } from "./ink.mjs";
import { SIDE } from "./stroke.mjs";
import { clearVerdict, makeBars, showVerdict } from "./verdict.mjs";

export class Subject {
  #words;
  #reals;
  #shown = null;

  // `reals()` gives the probabilities of being real of the digits on the sheet.
  constructor(words, reals) {
    this.#words = words;
    this.#reals = reals;
    makeBars();
    for (const id of ["read-question", "read", "read-answer"]) byId(id).hidden = !words.ofDigits; // no others are read
  }

  // Show a picture, { pixels, verdict }, as an answer of the painter has it.
  show(picture) {
    const { pixels, verdict } = picture, { names, ofDigits } = this.#words;
    this.#shown = picture;
    paint(byId("digit"), [pixels], Math.sqrt(pixels.length));
    showVerdict(verdict, names, this.#reals());
    const answer = ofDigits ? `digit. ${byId("read-answer").textContent}` : "picture";
    byId("digit").setAttribute("aria-label", `The chosen ${answer}`);
  }

  // Show it in other colours, or beside other digits on the sheet.
  showAgain() {
    if (this.#shown) this.show(this.#shown);
  }

  showNothing() {
    this.#shown = null;
    paint(byId("digit"), [new Uint8Array(SIDE * SIDE)], SIDE);
    clearVerdict();
  }

  save(name) {
    if (this.#shown) savePng(name, byId("digit"), 10);
  }
}
