// The page: what is shown, and what happens when something is chosen.

import { byId } from "./dom.mjs";
import { paint, saveGif, savePng } from "./ink.mjs";
import { Hand } from "./hand.mjs";
import { LARGEST_SEED } from "./latent.mjs";
import { readLink, readSeed, writeLink } from "./link.mjs";
import { mapWalks, Pad } from "./pad.mjs";
import { Painter } from "./painter.mjs";
import { pictureOf, SIDE } from "./stroke.mjs";
import { makeBars, mostProbable, showOthers, showVerdict } from "./verdict.mjs";
import { path, walk } from "./walk.mjs";

const NAMES = ["zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines"];
const FILM = 33; // digits of a film
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// Show a sentence instead of the page, or above it.
function say(sentence, instead = false) {
  byId("notice").textContent = sentence;
  byId("notice").classList.add("said");
  byId("notice").hidden = !sentence;
  if (instead) byId("main").hidden = true;
}

// The model and the weights in the page; an Error says what is missing.
function readData() {
  const [model, weights] = ["model", "weights"].map((id) => byId(id)?.textContent);
  const cut = new Error("This file was cut short: the weights of the networks are not all there. Get it again.");
  if (!model || !weights) throw cut;
  const record = JSON.parse(model);
  if (weights.length !== 4 * Math.ceil(record.bytes / 3)) throw cut;
  return [record, weights];
}

function start() {
  let model, weights, painter;
  try {
    [model, weights] = readData();
    if (typeof Worker === "undefined" || typeof BigInt === "undefined") {
      throw new Error("This browser has no web workers or no large integers, which the networks take. A current one does.");
    }
    const failed = (error) => say(`The networks stopped: ${error}. Reload the page, or try another browser.`, true);
    painter = new Painter(byId("worker").textContent, model, weights, () => show(model, painter), failed);
  } catch (error) {
    say(error.message, true);
    return;
  }
  for (const id of ["worker", "model", "weights"]) byId(id).remove(); // the thread has them now
}

async function show(model, painter) {
  const { side, directions, stops, config } = model;
  const newest = stops.length - 1, pictured = stops.length - model.weighed; // the first stops have pictures alone
  const steps = stops.map((stop) => stop.step), tilesOf = await Promise.all(stops.map((stop) => readTiles(stop, side)));
  const { labels, classes } = model, limits = { ways: directions.length, places: model.digits, steps, labels };
  const names = classes.length ? classes : NAMES.map((_, digit) => String(digit));
  const known = { mnist: "60,000 handwritten digits", digits: "1,797 handwritten digits" };
  const numbered = names.every((name, digit) => name === String(digit)) && names.length === NAMES.length;
  const ofDigits = numbered && (!classes.length || model.dataset in known); // other classes may have numbers for names

  // All that the page shows follows from this.
  const state = { seed: 0n, digit: null, place: 0, stop: newest, fixed: false, other: 1, tab: "walk" };
  let sheet = []; // the digits: { z, classes, pixels, verdict }
  let subject = null; // the picture above the tabs
  let film = [], playing = null;

  const stepsOf = (stop) => steps[stop].toLocaleString("en");
  const hasZ = () => state.stop >= pictured;
  const stopOfWeights = () => Math.max(0, state.stop - pictured);
  const reals = () => sheet.map((digit) => digit.verdict?.real).filter((real) => real !== undefined);

  // ---- the sheet

  const tiles = Array.from({ length: model.digits }, (_, place) => {
    const tile = document.createElement("button");
    tile.type = "button";
    tile.append(document.createElement("canvas"));
    tile.onclick = () => choose(place);
    return tile;
  });
  byId("tiles").append(...tiles);
  byId("tiles").onkeydown = (event) => {
    const columns = getComputedStyle(byId("tiles")).gridTemplateColumns.split(" ").length;
    const far = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -99, End: 99 }[event.key];
    const at = tiles.indexOf(document.activeElement);
    if (!far || at < 0) return;
    event.preventDefault();
    const to = Math.min(Math.max(at + far, 0), sheet.length - 1);
    if (Math.abs(far) !== columns || to === at + far) tiles[to].focus(); // up and down stay in the column
  };

  function loadSheet() {
    const { rows, columns } = model.snapshots, count = state.fixed ? rows * columns : model.digits;
    byId("tiles").style.gridTemplateColumns = state.fixed && classes.length ? `repeat(${columns}, 1fr)` : "";
    sheet = Array.from({ length: count }, () => ({}));
    tiles.forEach((tile, place) => { tile.hidden = place >= count; });
    state.place = Math.min(state.place, count - 1);
    for (const channel of ["digit", "film", "verdicts", "map"]) painter.drop(channel);
    showOthers([]);
    markTiles();
    let found = 0, drawn = 0;
    const took = (part) => {
      drawn = part.drawn ?? drawn;
      if (part.pixels) {
        found++;
        setTile(part.index, part);
        if (part.index === state.place) showDigit();
      }
      sayCaption(found, drawn, part);
      if (part.done) judgeSheet();
    };
    if (!hasZ()) {
      painter.drop("grid");
      tilesOf[state.stop].forEach((pixels, index) => {
        const shares = Float32Array.from(classes, (_, i) => Number(i === index % columns)); // a column for each class
        took({ index, pixels, classes: shares, done: index === count - 1 });
      });
    } else if (state.fixed) {
      painter.ask("grid", { kind: "snapshot" }, took);
    } else {
      const { seed, digit } = state, index = digit === null ? null : labels.indexOf(digit);
      painter.ask("grid", { kind: "sample", seed, digit: index, count, stop: stopOfWeights() }, took);
    }
    showStep();
  }

  function setTile(place, { z, classes, pixels }) {
    sheet[place] = { z: z ?? sheet[place].z, classes: classes ?? sheet[place].classes, pixels };
    paint(tiles[place].firstElementChild, [pixels], side);
    tiles[place].classList.add("drawn");
  }

  function sayCaption(found, drawn, { done, fruitless }) {
    const wanted = nameOf(state.digit), searched = state.digit !== null && !classes.length, of = `Seed ${state.seed}: `;
    const among = `${drawn.toLocaleString("en")} digits`;
    let sentence = `${of}its first ${sheet.length} ${wanted}. Choose one.`;
    if (state.fixed) sentence = `The same ${sheet.length} points, as they were drawn after ${stepsOf(state.stop)} steps.`;
    else if (fruitless) sentence = `${of}${found} ${wanted} among its first ${among}. This network seldom draws them.`;
    else if (!done) sentence = !searched ? "Drawing…" : `Looking for ${wanted}: ${found} of ${among}.`;
    else if (searched) sentence = `${of}its first ${sheet.length} ${wanted}, found among ${among}.`;
    if (byId("caption").textContent !== sentence) byId("caption").textContent = sentence;
  }

  // What digits of a label are called, or all of them.
  function nameOf(label) {
    if (label === null) return ofDigits ? "digits" : "pictures";
    return ofDigits ? NAMES[label] : `pictures of “${names[labels.indexOf(label)]}”`;
  }

  // Ask what the networks say of each digit, once there is time.
  function judgeSheet() {
    const digits = sheet.filter(({ pixels }) => pixels); // a search in vain leaves the last ones out
    painter.ask("verdicts", { kind: "judge", digits, stop: stopOfWeights() }, ({ index: place, verdict, done }) => {
      if (verdict) {
        sheet[place].verdict = verdict;
        tiles[place].setAttribute("aria-label", `Digit ${place + 1}: looks like a ${mostProbable(verdict.read)}`);
      }
      if (done) {
        showOthers(reals());
        if (subject?.verdict) showVerdict(subject.verdict, names, reals());
      }
    });
  }

  function markTiles() {
    tiles.forEach((tile, place) => {
      const here = place === state.place, chosen = here && state.tab !== "hand";
      const end = state.tab === "path" && place === state.other;
      tile.tabIndex = here ? 0 : -1;
      tile.setAttribute("aria-pressed", String(chosen || end));
      tile.classList.toggle("end", end && !chosen);
      if (!sheet[place]?.pixels) tile.classList.remove("drawn");
      if (!tile.hasAttribute("aria-label")) tile.setAttribute("aria-label", `Digit ${place + 1}`);
    });
  }

  function choose(place) {
    if (!sheet[place]?.pixels) return;
    if (state.tab === "path") state.other = place;
    else state.place = place;
    if (state.tab === "hand") selectTab("walk");
    if (state.tab === "walk") pad.stand(pad.walk.map(() => 0));
    markTiles();
    showDigit();
    keepLink();
  }

  // ---- the chosen digit

  const pad = new Pad(directions.length, () => showWalk(), () => { showMap(); keepLink(); });

  const walkFrom = (amounts) => {
    const { z, classes } = sheet[state.place];
    return { z: walk(z, directions, amounts, config.z_distribution), classes };
  };

  function showDigit() {
    byId("walk").inert = byId("path").inert = !hasZ();
    if (!sheet[state.place]?.pixels) return;
    if (state.tab === "path" && hasZ()) {
      showFilm();
    } else if (state.tab !== "hand") {
      showWalk();
      showMap();
    }
  }

  // Show one picture above the tabs, with what the networks say of it.
  function showSubject(pixels, verdict) {
    subject = { pixels, verdict };
    paint(byId("digit"), [pixels], Math.sqrt(pixels.length));
    if (!verdict) return;
    showVerdict(verdict, names, reals());
    const answer = ofDigits ? `digit. ${byId("read-answer").textContent}` : "picture";
    byId("digit").setAttribute("aria-label", `The chosen ${answer}`);
  }

  function showWalk() {
    const { pixels, classes } = sheet[state.place], stop = stopOfWeights();
    const took = (part) => part.pixels && showSubject(part.pixels, part.verdict);
    if (hasZ()) painter.ask("digit", { kind: "draw", points: [walkFrom(pad.walk)], stop, judged: true }, took);
    else painter.ask("digit", { kind: "judge", digits: [{ pixels, classes }], stop }, took);
  }

  function showMap() {
    if (!hasZ()) return;
    const pictures = [];
    const points = mapWalks(pad.walk).map(walkFrom);
    painter.ask("map", { kind: "draw", points, stop: stopOfWeights() }, (part) => {
      if (part.pixels) pictures[part.index] = part.pixels;
      if (part.done || part.index % 7 === 6) pad.paintMap(pictures, side);
    });
  }

  byId("back").onclick = () => {
    pad.stand(pad.walk.map(() => 0));
    showDigit();
    keepLink();
  };

  // ---- the film

  function showFilm() {
    stopFilm();
    film = [];
    byId("time").value = 0;
    const start = walkFrom(pad.walk), end = sheet[state.other];
    const points = path(start.z, end.z, FILM, config.z_distribution).map((z, i) => {
      const t = i / (FILM - 1); // the class changes evenly
      return { z, classes: start.classes.map((share, j) => (1 - t) * share + t * end.classes[j]) };
    });
    painter.ask("film", { kind: "draw", points, stop: stopOfWeights(), judged: true }, (part) => {
      if (part.pixels) film[part.index] = part;
      if (part.index === Number(byId("time").value)) showFrame();
      if (part.done || part.index % 4 === 0) {
        paint(byId("strip"), Array.from({ length: 9 }, (_, i) => film[4 * i]?.pixels), side, 9);
      }
      if (part.done && !calm.matches) playFilm();
    });
  }

  function showFrame() {
    const frame = film[byId("time").value];
    if (frame) showSubject(frame.pixels, frame.verdict);
  }

  function playFilm() {
    byId("play").textContent = "Pause";
    let at = Number(byId("time").value), ahead = at < FILM - 1 ? 1 : -1;
    playing = setInterval(() => {
      at += ahead;
      if (at <= 0 || at >= FILM - 1) ahead = at <= 0 ? 1 : -1;
      byId("time").value = at;
      showFrame();
    }, 60);
  }

  function stopFilm() {
    clearInterval(playing);
    playing = null;
    byId("play").textContent = "Play";
  }

  // The next place on the sheet with a digit that is read as another class, or just the next one.
  function anotherDigit() {
    const classOf = (place) => sheet[place]?.verdict && mostProbable(sheet[place].verdict.read);
    const others = sheet.map((_, i) => (state.place + 1 + i) % sheet.length);
    return others.find((place) => classOf(place) !== classOf(state.place)) ?? others[0];
  }

  byId("time").max = FILM - 1;
  byId("time").oninput = () => { stopFilm(); showFrame(); };
  byId("play").onclick = () => (playing ? stopFilm() : playFilm());
  byId("surprise").onclick = () => {
    state.other = (state.other + 1 + Math.floor(Math.random() * (sheet.length - 2))) % sheet.length;
    if (state.other === state.place) state.other = (state.other + 1) % sheet.length;
    markTiles();
    showFilm();
  };

  // ---- the hand

  const hand = new Hand((strokes) => {
    const pixels = pictureOf(strokes);
    if (!pixels) return showBlank();
    painter.ask("digit", { kind: "judge", digits: [{ pixels }], stop: stopOfWeights() }, (part) =>
      part.pixels && showSubject(part.pixels, part.verdict));
  });

  function showBlank() {
    painter.drop("digit");
    subject = null;
    paint(byId("digit"), [new Uint8Array(SIDE * SIDE)], SIDE);
    byId("real-answer").textContent = byId("read-answer").textContent = "";
    for (const mark of document.querySelectorAll("#real i, #read i")) mark.style.left = mark.style.height = "";
  }

  // ---- the tabs

  const tabs = [...document.querySelectorAll("[role=tab]")];
  tabs.forEach((tab, at) => {
    tab.onclick = () => selectTab(tab.id.slice(4));
    tab.onkeydown = (event) => {
      const far = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!far) return;
      const next = tabs[(at + far + tabs.length) % tabs.length];
      next.focus();
      next.click();
    };
  });

  function selectTab(name) {
    stopFilm();
    painter.drop("film");
    state.tab = name;
    for (const tab of tabs) {
      const selected = tab.id === `tab-${name}`;
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      byId(tab.id.slice(4)).hidden = !selected;
    }
    if (name === "path") state.other = anotherDigit();
    markTiles();
    if (name === "hand") hand.show();
    else showDigit();
  }

  // ---- what to draw

  for (const [index, digit] of labels.entries()) {
    const [label, input, name] = ["label", "input", "span"].map((tag) => document.createElement(tag));
    Object.assign(input, { type: "radio", name: "class", value: digit });
    name.textContent = names[index];
    label.append(input, name);
    byId("classes").append(label);
  }
  byId("classes").onchange = ({ target }) => newSheet({ digit: target.value === "" ? null : Number(target.value) });
  byId("new").onclick = () => newSheet({ seed: BigInt(crypto.getRandomValues(new Uint32Array(1))[0] % 1000000) });
  byId("seed").onchange = () => {
    const seed = readSeed(byId("seed").value.trim());
    if (seed !== null) newSheet({ seed });
    else say(`The seed is “${byId("seed").value.slice(0, 30)}”; expected an integer from 0 to ${LARGEST_SEED}.`);
  };
  byId("choices").onsubmit = (event) => event.preventDefault();

  function newSheet(changes) {
    Object.assign(state, { fixed: false, stop: newest, place: 0, other: 1, ...changes });
    pad.stand(pad.walk.map(() => 0));
    say("");
    showChoices();
    loadSheet();
    keepLink(true);
  }

  function showChoices() {
    byId("seed").value = state.seed;
    for (const input of document.querySelectorAll("[name=class]"))
      input.checked = input.value === (state.digit === null ? "" : String(state.digit));
  }

  // ---- training

  byId("training").hidden = stops.length < 2;
  byId("stop").max = newest;
  byId("stop").oninput = () => goTo(Number(byId("stop").value));
  byId("replay").onclick = () => {
    let at = 0;
    goTo(0);
    const timer = setInterval(() => {
      if (Number(byId("stop").value) !== at || at === newest) return clearInterval(timer);
      goTo(++at);
    }, 900);
  };

  function goTo(stop) {
    const fixed = pictured > 0;
    state.stop = stop;
    if (fixed || !sheet.every((digit) => digit.z)) {
      state.fixed = fixed;
      loadSheet();
    } else { // the same z with other weights
      showOthers([]);
      painter.ask("grid", { kind: "draw", points: sheet, stop: stopOfWeights() }, (part) => {
        if (part.pixels) setTile(part.index, part);
        if (part.done) judgeSheet();
      });
      showStep();
      showDigit();
    }
    keepLink();
  }

  function showStep() {
    const words = `step ${stepsOf(state.stop)}`;
    byId("stop").value = state.stop;
    byId("step").textContent = words;
    byId("stop").setAttribute("aria-valuetext", words);
    byId("training-note").textContent = hasZ() ? "" :
      "A picture from the past: the network of that step is gone. At the end of the slider you can walk again.";
  }

  // ---- the address, and files

  function keepLink(isNew = false) {
    const { seed, digit, place, stop, fixed } = state;
    const step = stop === newest && !fixed ? null : steps[stop];
    const address = writeLink({ seed: fixed ? null : seed, digit: fixed ? null : digit, place, walk: pad.walk, step });
    try {
      history[isNew ? "pushState" : "replaceState"](null, "", address);
    } catch { /* some browsers keep the addresses of files as they are; the seed stands on the page too */ }
  }

  function followLink() {
    const { problems, step, walk: amounts, ...link } = readLink(location.search, limits);
    Object.assign(state, link, { seed: link.seed ?? 0n, stop: step === null ? newest : steps.indexOf(step) });
    state.fixed = step !== null && pictured > 0;
    state.other = (state.place + 1) % model.digits;
    pad.stand(amounts);
    say(problems.length ? `${problems.join(" ")} The page shows the rest of it.` : "");
    showChoices();
    loadSheet();
  }
  window.onpopstate = followLink;

  const fileName = (what) => `${what}-seed-${state.seed}${state.digit === null ? "" : `-class-${state.digit}`}`;
  byId("save-digit").onclick = byId("save-hand").onclick = () => {
    if (subject) savePng(`${fileName("digit")}.png`, byId("digit"), 10);
  };
  byId("save-film").onclick = () => {
    const frames = film.filter(Boolean).map((frame) => frame.pixels);
    if (frames.length === FILM) saveGif(`${fileName("path")}.gif`, frames, side, 8);
  };
  byId("save-sheet").onclick = () => {
    const all = document.createElement("canvas");
    paint(all, sheet.map((digit) => digit.pixels), side, 8);
    savePng(`${fileName("digits")}.png`, all, 3);
  };

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    sheet.forEach(({ pixels }, place) => pixels && paint(tiles[place].firstElementChild, [pixels], side));
    if (subject) showSubject(subject.pixels, subject.verdict);
    hand.paint();
    showMap();
  });

  const from = known[model.dataset] ?? `the images of ${model.dataset}`;
  byId("intro").textContent = `A neural network looked at ${from} until it could make its own. ` +
    `It makes each one out of ${config.z_dim} random numbers, here in your browser.`;
  makeBars();
  for (const id of ["read-question", "read", "read-answer"]) byId(id).hidden = !ofDigits; // the classifier reads digits
  if (!ofDigits) {
    document.title = document.querySelector("h1").textContent = "Pictures that nobody took";
    byId("new").textContent = "New pictures";
  }
  say("");
  byId("main").hidden = false;
  followLink();
}

// The digits of a stop whose picture is in the page: a column of them, as a PNG file.
async function readTiles({ picture }, side) {
  if (!picture) return null;
  const image = new Image();
  image.src = `data:image/png;base64,${picture}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = side;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const levels = context.getImageData(0, 0, side, image.height).data.filter((_, i) => i % 4 === 0);
  return Array.from({ length: image.height / side }, (_, i) =>
    Uint8Array.from(levels.subarray(i * side * side, (i + 1) * side * side)));
}

document.addEventListener("DOMContentLoaded", start);
