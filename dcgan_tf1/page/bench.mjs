// The bench: the chosen digit, and the tabs with what one can do with it.

import { byId } from "./dom.mjs";
import { Film } from "./film.mjs";
import { Hand } from "./hand.mjs";
import { mapWalks, Pad } from "./pad.mjs";
import { pictureOf } from "./stroke.mjs";
import { Subject } from "./subject.mjs";
import { Tabs } from "./tabs.mjs";
import { mostProbable } from "./verdict.mjs";
import { walk } from "./walk.mjs";

export class Bench {
  #page;
  #sheet;
  #subject;
  #pad;
  #film;
  #hand;
  #tabs;

  // `moved()` is called when the chosen point, and so the address, has become another one.
  constructor(page, sheet, moved) {
    const { state, words } = page;
    this.#page = page;
    this.#sheet = sheet;
    this.#subject = new Subject(words, () => sheet.reals);
    this.#pad = new Pad(state, () => this.#showWalk(), () => {
      this.#showMap();
      moved();
    });
    this.#film = new Film(page, (frame) => this.#subject.show(frame));
    this.#hand = new Hand((strokes) => this.#judge(strokes));
    this.#tabs = new Tabs((name) => this.select(name));
    byId("back").onclick = () => {
      this.home();
      this.show();
      moved();
    };
    byId("surprise").onclick = () => this.#goElsewhere();
    byId("save-digit").onclick = byId("save-hand").onclick = () => this.#subject.save(state.fileName("digit", "png"));
  }

  // Select a tab by the name of its panel.
  select(name) {
    const { state } = this.#page;
    this.#film.clear();
    state.tab = name;
    this.#tabs.show(name);
    if (name === "path") state.other = this.#anotherDigit();
    this.#sheet.mark();
    if (name === "hand") this.#hand.show();
    else this.show();
  }

  // Show the digit that the state says, once it is there.
  show() {
    const { state } = this.#page, { digits } = this.#sheet;
    byId("walk").inert = byId("path").inert = !state.drawable;
    if (state.tab === "path" && state.drawable) {
      if (digits[state.place].z && digits[state.other].z) this.#film.draw(this.#pointAt(), digits[state.other]);
    } else if (state.tab !== "hand") {
      this.#showWalk();
      this.#showMap();
    }
  }

  // A digit of the sheet is there.
  drawn(place) {
    const { place: chosen, other, tab } = this.#page.state;
    if (place === chosen || (place === other && tab === "path")) this.show();
  }

  // Show the chosen digit beside other verdicts on the sheet.
  showAgain() {
    this.#subject.showAgain();
  }

  // Forget what was made of digits that are on the sheet no more.
  clear() {
    this.#film.clear();
  }

  // Go back to the digit on the sheet.
  home() {
    this.stand(this.#page.state.walk.map(() => 0));
  }

  stand(walk) {
    this.#pad.stand(walk);
  }

  repaint() {
    this.#subject.showAgain();
    this.#hand.paint();
    this.#film.repaint();
    this.#showMap();
  }

  // The point to which a walk leads from the chosen digit.
  #pointAt(amounts = this.#page.state.walk) {
    const { directions, config } = this.#page.model, { z, classes } = this.#sheet.digits[this.#page.state.place];
    return { z: walk(z, directions, amounts, config.z_distribution), classes };
  }

  #showWalk() {
    const { state } = this.#page, digit = this.#sheet.digits[state.place];
    if (!digit.pixels) return;
    if (state.drawable) this.#askForSubject({ kind: "draw", points: [this.#pointAt()], judged: true });
    else this.#askForSubject({ kind: "judge", digits: [digit] });
  }

  #askForSubject(asked) {
    const { painter, state } = this.#page;
    painter.ask("digit", { ...asked, stop: state.weights }, (part) => part.pixels && this.#subject.show(part));
  }

  #showMap() {
    const { model, painter, state } = this.#page;
    if (!this.#sheet.digits[state.place].z) return;
    const points = mapWalks(state.walk).map((amounts) => this.#pointAt(amounts)), pictures = [];
    painter.ask("map", { kind: "draw", points, stop: state.weights }, (part) => {
      if (part.pixels) pictures[part.index] = part.pixels;
      if (part.done || part.index % 7 === 6) this.#pad.paintMap(pictures, model.side);
    });
  }

  // What was drawn by hand takes the place of the chosen digit.
  #judge(strokes) {
    const pixels = pictureOf(strokes);
    if (pixels) return this.#askForSubject({ kind: "judge", digits: [{ pixels }] });
    this.#page.painter.drop("digit");
    this.#subject.showNothing();
  }

  // The next place on the sheet with a digit that is read as another class, or just the next one.
  #anotherDigit() {
    const { digits } = this.#sheet, { place } = this.#page.state;
    const classAt = (at) => digits[at].verdict && mostProbable(digits[at].verdict.read);
    const others = digits.map((_, i) => (place + 1 + i) % digits.length);
    return others.find((at) => digits[at].verdict && classAt(at) !== classAt(place)) ?? others[0];
  }

  // Let the path lead to any other digit.
  #goElsewhere() {
    const { state } = this.#page;
    const others = [...this.#sheet.digits.keys()].filter((at) =>
      at !== state.place && at !== state.other && this.#sheet.digits[at].pixels);
    if (!others.length) return;
    state.other = others[Math.floor(Math.random() * others.length)];
    this.#sheet.mark();
    this.show();
  }
}
