// The weights in the page: float16 numbers in base64, one array after another.

// The arrays of each stop of training, and those of the classifier, by the names of their variables.
//
// `model.arrays` and `model.classifier.arrays` are lists of [name, shape]. The text holds the first list once for each
// stop that has weights, oldest first, and then the second list.
export function readWeights(text, model) {
  const bytes = atob(text.trim()), value = float16Table();
  let at = 0;
  const take = (list) => Object.fromEntries(list.map(([name, shape]) => {
    let data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < data.length; i++, at += 2)
      data[i] = value[bytes.charCodeAt(at) | (bytes.charCodeAt(at + 1) << 8)];
    if (name.startsWith("generator/") && shape.length === 4) data = turnKernel(data, shape);
    return [name, { data, shape }];
  }));
  const stops = Array.from({ length: model.weighed }, () => take(model.arrays));
  return { stops, classifier: take(model.classifier.arrays) };
}

// The value of each of the 65,536 float16 numbers (IEEE 754: 1 bit for the sign, 5 for the exponent, 10 for the rest).
export function float16Table() {
  return Float32Array.from({ length: 1 << 16 }, (_, bits) => {
    const sign = bits >> 15 ? -1 : 1, exponent = (bits >> 10) & 31, rest = bits & 1023;
    if (exponent === 31) return rest ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
  });
}

// The kernel of a transposed convolution, [rows, columns, out, in], as `deconv` wants it: [rows, in, columns, out].
function turnKernel(data, [rows, columns, outs, ins]) {
  const turned = new Float32Array(data.length);
  let from = 0;
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      for (let out = 0; out < outs; out++)
        for (let i = 0; i < ins; i++)
          turned[((row * ins + i) * columns + column) * outs + out] = data[from++];
  return turned;
}
