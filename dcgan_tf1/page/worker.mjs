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

let model, weights;
const jobs = new Map();

const kinds = {
  // The first `count` digits of a seed, of one class if that is asked for. They are chosen by the newest weights, and
  // drawn with those of `stop`.
  *sample({ seed, digit, count, stop }) {
    let found = 0, fruitless = 0;
    for (let index = 0; found < count; index++) {
      const z = latentOfDigit(seed, index, model.config);
      const pixels = drawAt(newest(), z);
      if (digit === null || isSurely(pixels, digit)) {
        yield { index: found++, z, pixels: stop === newest() ? pixels : drawAt(stop, z), drawn: index + 1 };
        fruitless = 0;
      } else if (++fruitless === MAX_FRUITLESS) {
        yield { drawn: index + 1, fruitless: true };
        return;
      } else {
        yield fruitless % 50 ? null : { drawn: index + 1 };
      }
    }
  },

  // The digits of the sample grids of training, which are always of the same z.
  *snapshot({ count }) {
    const { seed, z_dim, z_distribution } = model.config;
    const all = latent(BigInt(seed), SNAPSHOT, 0, 0, count * z_dim, z_distribution);
    for (let index = 0; index < count; index++) {
      const z = all.slice(index * z_dim, (index + 1) * z_dim);
      yield { index, z, pixels: drawAt(newest(), z) };
    }
  },

  // The digits of given z, each with its verdict if that is asked for.
  *draw({ zs, stop, judged }) {
    for (const [index, z] of zs.entries()) {
      const pixels = drawAt(stop, z);
      yield { index, pixels, verdict: judged ? judge(pixels, stop) : undefined };
    }
  },

  // The verdicts on given digits.
  *judge({ digits, stop }) {
    for (const [index, pixels] of digits.entries()) yield { index, pixels, verdict: judge(pixels, stop) };
  },
};

function newest() {
  return weights.stops.length - 1;
}

function drawAt(stop, z) {
  return draw(z, weights.stops[stop], model.config);
}

function judge(pixels, stop) {
  return {
    real: discriminate(pixels, weights.stops[stop], model.config, model.side),
    classes: classify(pixels, weights.classifier, model.classifier.strides),
  };
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
