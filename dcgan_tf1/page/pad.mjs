// Walking around a digit: a map of the first two directions, and a slider for each direction.

import { byId } from "./dom.mjs";
import { paint } from "./ink.mjs";

const CELLS = 7; // digits along each side of the map, an odd number, so that one is in the middle
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// The walks, lists of `ways` amounts from -1 to 1, whose digits make the map, and the ends of each slider.
export function mapWalks(walk) {
  const centre = (i) => (2 * i - CELLS + 1) / CELLS;
  const cells = Array.from({ length: CELLS ** 2 }, (_, i) =>
    [centre(i % CELLS), centre(Math.floor(i / CELLS)), ...walk.slice(2)].slice(0, walk.length));
  const ends = walk.flatMap((_, i) => [-1, 1].map((end) => walk.map((amount, j) => (j === i ? end : amount))));
  return [...cells, ...ends];
}

// The pad and the sliders for the walk of a state. `moved()` is called while the hand moves, and `rested()` after.
export class Pad {
  #state;
  #moved;
  #rested;
  #sliders;

  constructor(state, moved, rested) {
    this.#state = state;
    this.#moved = moved;
    this.#rested = rested;
    this.#sliders = state.walk.map((_, i) => this.#makeSlider(i));
    byId("sliders").append(...this.#sliders.map((slider) => slider.parentElement));
    const pad = byId("pad");
    pad.onpointerdown = (event) => {
      pad.setPointerCapture(event.pointerId);
      this.#follow(event);
    };
    pad.onpointermove = (event) => pad.hasPointerCapture(event.pointerId) && this.#follow(event);
    pad.onpointerup = (event) => {
      pad.onpointermove(event); // a busy browser may leave out the last move
      this.#rested();
    };
    pad.onkeyup = () => this.#rested();
    pad.onkeydown = (event) => {
      const arrow = ARROWS[event.key];
      if (!arrow) return;
      event.preventDefault();
      this.#go((amount, i) => amount + 0.05 * (arrow[i] ?? 0));
    };
  }

  // Stand where `walk` leads, without telling anyone.
  stand(walk) {
    this.#state.walk = walk;
    this.#sliders.forEach((slider, i) => { slider.value = walk[i]; });
    const [x, y = 0] = walk, { style } = byId("pad").querySelector("i");
    style.left = `${50 + 50 * x}%`;
    style.top = `${50 + 50 * y}%`;
  }

  // Paint the digits of `mapWalks`, as many as are there.
  paintMap(pictures, side) {
    const cells = CELLS ** 2;
    paint(byId("map"), Array.from({ length: cells }, (_, i) => pictures[i]), side, CELLS);
    this.#sliders.forEach((slider, i) => {
      const [low, high] = slider.parentElement.querySelectorAll("canvas");
      paint(low, [pictures[cells + 2 * i]], side);
      paint(high, [pictures[cells + 2 * i + 1]], side);
    });
  }

  #makeSlider(i) {
    const row = document.createElement("div"), slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: -1, max: 1, step: 0.01, value: 0 });
    slider.setAttribute("aria-label", `Direction ${i + 1}`);
    slider.oninput = () => this.#go((amount, j) => (j === i ? Number(slider.value) : amount));
    slider.onchange = () => this.#rested();
    const ends = [0, 1].map(() => document.createElement("canvas"));
    ends.forEach((end) => end.setAttribute("aria-hidden", "true"));
    row.append(ends[0], slider, ends[1]);
    return slider;
  }

  #follow(event) {
    const box = byId("pad").getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    this.#go((amount, i) => (i < 2 ? 2 * [x, y][i] - 1 : amount));
  }

  // Change the amount in each direction.
  #go(change) {
    this.stand(this.#state.walk.map((amount, i) => Math.min(Math.max(change(amount, i), -1), 1)));
    this.#moved();
  }
}
