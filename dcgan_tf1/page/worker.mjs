// The painter: draws and judges digits in a thread of its own, so that the page always follows the hand.
//
// Each request names a channel. A new request on a channel takes the place of the one before, and the channels come in
// the order of their urgency. After each digit the painter looks whether there is something more urgent.

import { SNAPSHOT, latent, latentOfDigit } from "./latent.mjs";
import { classify, discriminate, draw } from "./networks.mjs";
import { readWeights } from "./weights.mjs";

const CHANNELS = ["digit", "film", "grid", "verdicts", "map"];
const MIN_CONFIDENCE = 0.9; // how sure of a digit the classifier must be for the digit to count as one of its class
const MAX_FRUITLESS = 20000; // after so many digits without one that is wanted, the search is given up
const REPORT = 50; // after so many of them, the page is told how far the search has come

let model, weights;
const jobs = new Map();

const kinds = {
  // The first `count` digits of a seed, of one class if that is asked for by its index. A conditional GAN draws it, or
  // all classes in turns. Otherwise digits are chosen by the newest weights, and drawn with those of `stop`.
  *sample({ seed, digit, count, stop }) {
    const classes = model.classes.length;
    for (let index = 0; classes && index < count; index++) {
      const point = { z: latentOfDigit(seed, index, model.config), classes: oneHot(digit ?? index % classes) };
      yield { index, ...point, pixels: drawAt(stop, point), drawn: index + 1 };
    }
    if (classes) return;
    let found = 0, fruitless = 0;
    for (let index = 0; found < count && fruitless < MAX_FRUITLESS; index++) {
      const point = { z: latentOfDigit(seed, index, model.config), classes: oneHot() };
      const pixels = drawAt(newest(), point);
      if (digit === null || isSurely(pixels, digit)) {
        const shown = stop === newest() ? pixels : drawAt(stop, point);
        yield { index: found++, ...point, pixels: shown, drawn: index + 1 };
        fruitless = 0;
      } else {
        yield ++fruitless % REPORT ? null : { drawn: index + 1 };
      }
    }
  },

  // The digits of the sample grids of training, which are always of the same z.
  *snapshot() {
    const { seed, z_dim, z_distribution } = model.config, { rows, columns } = model.snapshots;
    for (let index = 0; index < rows * columns; index++) {
      const number = model.classes.length ? Math.floor(index / columns) : index; // a row is one z, drawn as each class
      const z = latent(BigInt(seed), SNAPSHOT, 0, number * z_dim, z_dim, z_distribution);
      const point = { z, classes: oneHot(index % columns) };
      yield { index, ...point, pixels: drawAt(newest(), point) };
    }
  },

  // What takes the place of a request that the page has given up.
  *nothing() {},

  // The digits of given points, each with its verdict if that is asked for.
  *draw({ points, stop, judged }) {
    for (const [index, point] of points.entries()) {
      const pixels = drawAt(stop, point);
      yield { index, pixels, verdict: judged ? verdictOn(pixels, point.classes, stop) : undefined };
    }
  },

  // The verdicts on given digits, { pixels, classes }.
  *judge({ digits, stop }) {
    for (const [index, { pixels, classes }] of digits.entries())
      yield { index, pixels, verdict: verdictOn(pixels, classes, stop) };
  },
};

function newest() {
  return weights.stops.length - 1;
}

// The shares of the classes where all is class number `index`; no shares where there are no classes.
function oneHot(index) {
  return Float32Array.from(model.classes, (_, i) => Number(i === index));
}

function drawAt(stop, point) {
  return draw(point, weights.stops[stop], model.config);
}

// What the networks say of a digit. Where its class is not known, the discriminator judges it as each of the classes,
// and the one that it finds most real counts: `as` is its index.
function verdictOn(pixels, classes, stop) {
  const tried = classes ? [classes] : model.classes.length ? model.classes.map((_, i) => oneHot(i)) : [oneHot()];
  const reals = discriminate(pixels, tried, weights.stops[stop], model.config, model.side);
  const real = Math.max(...reals);
  const read = classify(pixels, weights.classifier, model.classifier.strides);
  return { real, as: tried.length > 1 ? reals.indexOf(real) : null, read };
}

function isSurely(pixels, digit) {
  const classes = classify(pixels, weights.classifier, model.classifier.strides);
  return classes[digit] >= MIN_CONFIDENCE;
}

// Work until nothing is left to do, and let new requests come in between.
const turns = new MessageChannel(); // a timer would wait four milliseconds each time
turns.port1.onmessage = () => {
  const channel = CHANNELS.find((name) => jobs.has(name));
  const { id, steps } = jobs.get(channel);
  try {
    const { value, done } = steps.next();
    if (done) jobs.delete(channel);
    if (value || done) postMessage({ channel, id, done, ...value });
  } catch (error) {
    jobs.delete(channel);
    postMessage({ error: String(error) });
  }
  if (jobs.size) turns.port2.postMessage(0);
};

onmessage = ({ data }) => {
  if (data.model) {
    model = data.model;
    try {
      weights = readWeights(data.weights, model);
      postMessage({ ready: true });
    } catch (error) {
      postMessage({ error: String(error) });
    }
    return;
  }
  const idle = jobs.size === 0;
  jobs.set(data.channel, { id: data.id, steps: kinds[data.kind](data) });
  if (idle) turns.port2.postMessage(0);
};
