// The page: its parts, and what happens when something is chosen.

import { Bench } from "./bench.mjs";
import { Choices } from "./choices.mjs";
import { byId, say } from "./dom.mjs";
import { Model, readPage } from "./model.mjs";
import { Painter } from "./painter.mjs";
import { Sheet } from "./sheet.mjs";
import { State } from "./state.mjs";
import { Training } from "./training.mjs";
import { Words } from "./words.mjs";

class App {
  #model;
  #state;
  #sheet;
  #bench;
  #choices;
  #training;

  constructor(model, painter) {
    const state = new State(model), words = new Words(model), page = { model, painter, state, words };
    this.#model = model;
    this.#state = state;
    this.#sheet = new Sheet(page, {
      chosen: (place) => this.#choose(place),
      drawn: (place) => this.#bench.drawn(place),
      judged: () => this.#bench.showAgain(),
    });
    this.#bench = new Bench(page, this.#sheet, () => this.#keepAddress());
    this.#choices = new Choices(model, words, (changes) => this.#begin(changes));
    this.#training = new Training(model, (stop) => this.#goTo(stop));
    byId("intro").textContent = words.intro;
    if (!words.ofDigits) document.title = document.querySelector("h1").textContent = "Pictures that nobody took";
    window.onpopstate = () => this.#followAddress();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#sheet.repaint();
      this.#bench.repaint();
    });
    byId("main").hidden = false;
    this.#followAddress();
  }

  // Show another sheet.
  #begin(changes) {
    Object.assign(this.#state, { fixed: false, stop: this.#model.newest, place: 0, other: 1, ...changes });
    this.#bench.home();
    this.#choices.show(this.#state);
    say("");
    this.#load();
    this.#keepAddress("pushState");
  }

  #load() {
    this.#training.show(this.#state);
    this.#bench.clear();
    this.#sheet.load();
  }

  // Choose a digit of the sheet, or the other end of a path.
  #choose(place) {
    const { tab } = this.#state;
    this.#state[tab === "path" ? "other" : "place"] = place;
    if (tab !== "path") this.#bench.home();
    if (tab === "hand") this.#bench.select("walk");
    this.#sheet.mark();
    this.#bench.show();
    this.#keepAddress();
  }

  // Go to another stop of training.
  #goTo(stop) {
    this.#state.stop = stop;
    if (this.#model.pictured || !this.#sheet.digits.every((digit) => digit.z)) {
      this.#state.fixed = this.#model.pictured > 0;
      this.#load();
    } else {
      this.#training.show(this.#state);
      this.#sheet.redraw();
      this.#bench.show();
    }
    this.#keepAddress();
  }

  #keepAddress(how = "replaceState") {
    try {
      history[how](null, "", this.#state.address);
    } catch { /* some browsers keep the addresses of files as they are; the seed stands on the page too */ }
  }

  #followAddress() {
    const problems = this.#state.follow(location.search);
    this.#bench.stand(this.#state.walk);
    this.#choices.show(this.#state);
    say(problems.length ? `${problems.join(" ")} The page shows the rest of it.` : "");
    this.#load();
  }
}

function start() {
  try {
    const [record, weights] = readPage();
    if (typeof Worker === "undefined" || typeof BigInt === "undefined") {
      throw new Error("This browser has no web workers or no large integers, which the networks take. A current one does.");
    }
    const ready = async () => new App(await Model.read(record), painter);
    const failed = (error) => say(`The networks stopped: ${error}. Reload the page, or try another browser.`, true);
    const painter = new Painter(byId("worker").textContent, record, weights, ready, failed);
    for (const id of ["worker", "model", "weights"]) byId(id).remove(); // the thread has them now
  } catch (error) {
    say(error.message, true);
  }
}

document.addEventListener("DOMContentLoaded", start);
