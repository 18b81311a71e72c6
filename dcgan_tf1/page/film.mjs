// The path from one digit to another, as a film.

import { byId } from "./dom.mjs";
import { paint, saveGif } from "./ink.mjs";
import { path } from "./walk.mjs";

const FRAMES = 33;
const STEP = 4; // of the frames, every fourth one is on the strip

export class Film {
  #page;
  #show;
  #frames = [];
  #timer = null;
  #calm = matchMedia("(prefers-reduced-motion: reduce)");

  // `show(frame)` is called with the frame that is to be seen, { pixels, verdict }.
  constructor(page, show) {
    this.#page = page;
    this.#show = show;
    byId("time").max = FRAMES - 1;
    byId("time").oninput = () => {
      this.#stop();
      this.#showFrame();
    };
    byId("play").onclick = () => (this.#timer ? this.#stop() : this.#play());
    byId("save-film").onclick = () => {
      const { model, state } = page, frames = this.#frames.map((frame) => frame.pixels);
      if (frames.length === FRAMES) saveGif(state.fileName("path", "gif"), frames, model.side, 8);
    };
  }

  // Draw the film from one point to another, and play it.
  draw(start, end) {
    const { model, painter, state } = this.#page;
    this.clear();
    const points = path(start.z, end.z, FRAMES, model.config.z_distribution).map((z, i) => {
      const t = i / (FRAMES - 1); // the class changes evenly
      return { z, classes: start.classes.map((share, j) => (1 - t) * share + t * end.classes[j]) };
    });
    painter.ask("film", { kind: "draw", points, stop: state.weights, judged: true }, (part) => {
      if (!part.pixels) return;
      this.#frames.push(part);
      if (part.index === Number(byId("time").value)) this.#showFrame();
      if (part.index % STEP === 0) this.repaint();
      if (part.index === FRAMES - 1 && !this.#calm.matches) this.#play();
    });
  }

  clear() {
    this.#page.painter.drop("film");
    this.#stop();
    this.#frames = [];
    byId("time").value = 0;
  }

  #stop() {
    clearInterval(this.#timer);
    this.#timer = null;
    byId("play").textContent = "Play";
  }

  repaint() {
    const count = (FRAMES - 1) / STEP + 1;
    const shown = Array.from({ length: count }, (_, i) => this.#frames[STEP * i]?.pixels);
    paint(byId("strip"), shown, this.#page.model.side, count);
  }

  // Play there and back, again and again.
  #play() {
    byId("play").textContent = "Pause";
    let at = Number(byId("time").value), ahead = at < FRAMES - 1 ? 1 : -1;
    this.#timer = setInterval(() => {
      at += ahead;
      if (at <= 0 || at >= FRAMES - 1) ahead = at <= 0 ? 1 : -1;
      byId("time").value = at;
      this.#showFrame();
    }, 60);
  }

  #showFrame() {
    const frame = this.#frames[byId("time").value];
    if (frame) this.#show(frame);
  }
}
