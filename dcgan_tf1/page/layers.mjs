// The layers of dcgan_tf1/networks/layers.py for one image, with trained weights.
//
// An image is { side, channels, data }, and its data float32 [side, side, channels]. A vector is an image of one pixel.
// `weights` holds arrays by name, as in "dense/kernel". Layers change the image that they are given where they can.

let places = new Int32Array(0); // which numbers of a vector are not zero

// Add a row vector times a matrix to `out`. All layers come down to this.
//
// The vector is `count` numbers of `x`, the matrix [count, width] of `matrix`, the result `width` numbers of `out`,
// each from the index given. Zeros are skipped, which most numbers after a ReLU are. The others are taken four at a
// time, so that a number of `out` is read and written once for four products.
function addProduct(x, first, count, matrix, start, width, out, at) {
  if (places.length < count) places = new Int32Array(count);
  let found = 0;
  for (let i = 0; i < count; i++) if (x[first + i] !== 0) places[found++] = i;
  let i = 0;
  for (; i + 4 <= found; i += 4) {
    const i0 = places[i], i1 = places[i + 1], i2 = places[i + 2], i3 = places[i + 3];
    const x0 = x[first + i0], x1 = x[first + i1], x2 = x[first + i2], x3 = x[first + i3];
    const m0 = start + i0 * width, m1 = start + i1 * width, m2 = start + i2 * width, m3 = start + i3 * width;
    for (let j = 0; j < width; j++)
      out[at + j] += x0 * matrix[m0 + j] + x1 * matrix[m1 + j] + x2 * matrix[m2 + j] + x3 * matrix[m3 + j];
  }
  for (; i < found; i++) {
    const x0 = x[first + places[i]], m0 = start + places[i] * width;
    for (let j = 0; j < width; j++) out[at + j] += x0 * matrix[m0 + j];
  }
}

// A matrix product of all numbers of the image, with a bias where there is one.
export function dense(x, weights, name) {
  const { data: matrix, shape: [, units] } = weights[`${name}/kernel`];
  const out = new Float32Array(units);
  addProduct(x.data, 0, x.data.length, matrix, 0, units, out, 0);
  return addBias({ side: 1, channels: units, data: out }, weights, name);
}

// The last layer of a discriminator: a logit. Where there are classes, float32 [classes], one vector of weights for
// each is added to those that all classes share.
export function judge(x, classes, weights, name) {
  let logit = dense(x, weights, name).data[0];
  const { data: own } = weights["projection/kernel"] ?? {}, width = x.data.length;
  classes.forEach((share, i) => {
    if (share) logit += x.data.reduce((sum, value, j) => sum + share * value * own[i * width + j], 0);
  });
  return logit;
}

// A SAME convolution. A row of the window lies in one piece in `x`, and so do its weights in the kernel.
export function conv(x, weights, name, stride) {
  const { data: kernel, shape: [width, , ins, outs] } = weights[`${name}/kernel`];
  const side = Math.ceil(x.side / stride), wide = Math.max((side - 1) * stride + width, x.side);
  const padded = pad(x, (wide - x.side) >> 1, wide);
  const out = new Float32Array(side * side * outs);
  for (let row = 0; row < width; row++) // the outer loop, so that a part of the kernel stays in the cache
    for (let i = 0; i < side; i++)
      for (let j = 0; j < side; j++) {
        const first = ((i * stride + row) * wide + j * stride) * ins;
        addProduct(padded.data, first, width * ins, kernel, row * width * ins * outs, outs, out, (i * side + j) * outs);
      }
  return addBias({ side, channels: outs, data: out }, weights, name);
}

// A SAME transposed convolution: each pixel adds the kernel, multiplied by its values, to the output. The kernel is
// [rows, in, columns, out]. So a row of it lies in one piece, and so does the row of the output that it is added to.
export function deconv(x, weights, name, stride) {
  const { data: kernel, shape: [width, , outs, ins] } = weights[`${name}/kernel`];
  const side = x.side * stride, wide = side + width, span = width * outs;
  const out = new Float32Array(wide * wide * outs);
  for (let row = 0; row < width; row++)
    for (let i = 0; i < x.side; i++)
      for (let j = 0; j < x.side; j++) {
        const at = ((i * stride + row) * wide + j * stride) * outs;
        addProduct(x.data, (i * x.side + j) * ins, ins, kernel, row * ins * span, span, out, at);
      }
  const cropped = pad({ side: wide, channels: outs, data: out }, -(Math.max(width - stride, 0) >> 1), side);
  return addBias(cropped, weights, name);
}

// A copy of the image with zeros around it, or cropped: its upper left pixel is at [margin, margin] of the new one.
export function pad(x, margin, side, value = 0) {
  const data = new Float32Array(side * side * x.channels).fill(value);
  const from = Math.max(0, -margin), to = Math.min(x.side, side - margin);
  for (let i = from; i < to; i++) {
    const row = x.data.subarray((i * x.side + from) * x.channels, (i * x.side + to) * x.channels);
    data.set(row, ((i + margin) * side + from + margin) * x.channels);
  }
  return { side, channels: x.channels, data };
}

// Batch normalisation by the moving averages of training.
export function batchNorm(x, weights, name) {
  const [gamma, beta, mean, variance] = ["gamma", "beta", "moving_mean", "moving_variance"].map(
    (key) => weights[`${name}/${key}`]?.data);
  const scale = variance.map((v, i) => (gamma ? gamma[i] : 1) / Math.sqrt(v + 1e-3));
  const shift = mean.map((m, i) => beta[i] - m * scale[i]);
  return everyNumber(x, (value, channel) => value * scale[channel] + shift[channel]);
}

// Every channel is scaled and shifted as its class has learned to, where there are classes, float32 [classes].
export function scaleByClass(x, classes, weights, name) {
  const [scale, offset] = ["class_scale", "class_offset"].map((key) =>
    classes.length && dense({ data: classes }, weights, `${name}/${key}`).data);
  return classes.length ? everyNumber(x, (value, channel) => value * (1 + scale[channel]) + offset[channel]) : x;
}

function addBias(x, weights, name) {
  const bias = weights[`${name}/bias`]?.data;
  return bias ? everyNumber(x, (value, channel) => value + bias[channel]) : x;
}

// x where it is positive, and slope * x elsewhere.
export function relu(x, slope = 0) {
  const { data } = x;
  for (let i = 0; i < data.length; i++) if (data[i] < 0) data[i] *= slope;
  return x;
}

export function tanh(x) {
  return everyNumber(x, Math.tanh);
}

// The same numbers as an image of another side.
export function reshape(x, side) {
  return { side, channels: x.data.length / side ** 2, data: x.data };
}

function everyNumber(x, change) {
  const { data, channels } = x;
  for (let i = 0, channel = 0; i < data.length; i++) {
    data[i] = change(data[i], channel);
    if (++channel === channels) channel = 0;
  }
  return x;
}
