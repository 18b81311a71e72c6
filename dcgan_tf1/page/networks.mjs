// The networks of dcgan_tf1/networks/ and the classifier of dcgan_tf1/quality/classifier.py, for one digit.

import { batchNorm, conv, deconv, dense, judge, pad, relu, reshape, scaleByClass, tanh } from "./layers.mjs";

// A family has a generator, which turns a vector into an image in (-1, 1), and a discriminator, which turns an image in
// [-1, 1] into what its `last` layer judges. The vector is z with the shares of the classes behind it; `classes` are these
// alone. `w` holds the weights of that network, `config` the settings of the run.
const FAMILIES = {
  dcgan32: {
    generator(z, classes, w, config) {
      let x = reshape(relu(batchNorm(dense(z, w, "dense"), w, "dense")), 4);
      for (let i = 1; i < config.g_channels.length; i++) {
        const name = `deconv${i}`;
        x = deconv(x, w, name, 2);
        x = relu(config.g_batch_norm === "all" ? scaleByClass(batchNorm(x, w, name), classes, w, name) : x);
      }
      return tanh(deconv(x, w, "output", 32 / x.side));
    },
    discriminator(x, w, config) {
      for (let i = 1; i <= config.d_channels.length; i++) {
        x = conv(x, w, `conv${i}`, 2);
        x = relu(i > 1 ? batchNorm(x, w, `conv${i}`) : x, 0.2);
      }
      return x;
    },
    last: "dense",
  },

  dcgan28: {
    generator(z, classes, w, config) {
      let x = reshape(relu(batchNorm(dense(z, w, "dense"), w, "dense"), 0.3), 7);
      for (let i = 1; i < config.g_channels.length; i++) {
        const name = `deconv${i}`;
        x = deconv(x, w, name, i === config.g_channels.length - 1 ? 2 : 1);
        x = relu(scaleByClass(batchNorm(x, w, name), classes, w, name), 0.3);
      }
      return tanh(deconv(x, w, "output", 28 / x.side));
    },
    discriminator(x, w, config) {
      for (let i = 1; i <= config.d_channels.length; i++) x = relu(conv(x, w, `conv${i}`, 2), 0.3);
      return x;
    },
    last: "dense",
  },

  mlp: {
    generator(x, classes, w, config) {
      for (let i = 1; i <= config.g_channels.length; i++) x = relu(dense(x, w, `dense${i}`));
      return reshape(tanh(dense(x, w, "output")), 28);
    },
    discriminator(x, w, config) {
      for (let i = 1; i <= config.d_channels.length; i++) x = relu(dense(x, w, `dense${i}`), 0.2);
      return x;
    },
    last: "output",
  },
};

// The digit of a point, grey levels, Uint8Array [side * side]. A point is { z, classes }: float32 [z_dim], and the
// shares of the classes, float32 [classes], which are one-hot but on the way between two. Without classes it is empty.
export function draw({ z, classes }, weights, config) {
  const data = Float32Array.of(...z, ...classes), input = { side: 1, channels: data.length, data };
  const image = FAMILIES[config.model].generator(input, classes, scope(weights, "generator/"), config);
  return Uint8Array.from(image.data, (value) => Math.round((value + 1) * 127.5));
}

// The probability, as the discriminator sees it, that a digit, grey levels [side * side], is a real one of each of some
// classes: a list of numbers, one for each of a list of classes as in a point.
export function discriminate(digit, classes, weights, config, side) {
  const seen = pad(asImage(digit, (level) => level / 127.5 - 1), (side - Math.sqrt(digit.length)) / 2, side, -1);
  const { discriminator, last } = FAMILIES[config.model], w = scope(weights, "discriminator/");
  const features = discriminator(seen, w, config);
  return classes.map((each) => 1 / (1 + Math.exp(-judge(features, each, w, last))));
}

// The probabilities of the ten classes, as the classifier sees a digit: Float32Array [10].
export function classify(digit, weights, strides) {
  const w = scope(weights, "classifier/");
  let x = pad(asImage(digit, (level) => level / 255), (28 - Math.sqrt(digit.length)) / 2, 28);
  strides.forEach((stride, i) => { x = relu(batchNorm(conv(x, w, `conv${i + 1}`, stride), w, `norm${i + 1}`)); });
  x = relu(batchNorm(dense(x, w, "features"), w, "features_norm"));
  const { data: logits } = dense(x, w, "logits");
  const most = Math.max(...logits), powers = logits.map((logit) => Math.exp(logit - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

function asImage(digit, scale) {
  return { side: Math.sqrt(digit.length), channels: 1, data: Float32Array.from(digit, scale) };
}

const scopes = new WeakMap(); // by the weights, so that the names are cut once

// The arrays of one network, under names without its prefix.
function scope(weights, prefix) {
  if (!scopes.has(weights)) scopes.set(weights, {});
  const known = scopes.get(weights);
  known[prefix] ??= Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith(prefix))
    .map(([name, array]) => [name.slice(prefix.length), array]));
  return known[prefix];
}
