// Paper to draw a digit on, with a mouse, a pen or a finger.

import { byId, styleOf } from "./dom.mjs";

const SIZE = 560, LINE = 34; // in pixels of the canvas

export class Hand {
  #strokes = [];
  #drawn;

  // `drawn(strokes)` is called after each stroke, and while one is being made; strokes are lists of [x, y].
  constructor(drawn) {
    this.#drawn = drawn;
    const paper = byId("paper");
    paper.width = paper.height = SIZE;
    const place = (event) => {
      const box = paper.getBoundingClientRect();
      return [((event.clientX - box.left) / box.width) * SIZE, ((event.clientY - box.top) / box.height) * SIZE];
    };
    paper.onpointerdown = (event) => {
      paper.setPointerCapture(event.pointerId);
      this.#strokes.push([place(event)]);
      this.#changed();
    };
    paper.onpointermove = paper.onpointerup = (event) => { // a busy browser may leave out the last move
      if (!paper.hasPointerCapture(event.pointerId)) return;
      this.#strokes.at(-1).push(place(event));
      this.#changed();
    };
    byId("wipe").onclick = () => {
      this.#strokes = [];
      this.#changed();
    };
    this.paint();
  }

  // Tell again what is on the paper.
  show() {
    this.#changed();
  }

  paint() {
    const paper = byId("paper"), context = paper.getContext("2d");
    context.clearRect(0, 0, SIZE, SIZE);
    context.strokeStyle = styleOf("--ink");
    Object.assign(context, { lineWidth: LINE, lineCap: "round", lineJoin: "round" });
    for (const stroke of this.#strokes) {
      context.beginPath();
      stroke.forEach(([x, y]) => context.lineTo(x, y));
      if (stroke.length === 1) context.lineTo(...stroke[0]);
      context.stroke();
    }
  }

  #changed() {
    this.paint();
    this.#drawn(this.#strokes);
  }
}
