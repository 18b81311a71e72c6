// Ways through latent space, as in dcgan_tf1/sampling/paths.py: on the sphere on which Gaussian vectors lie.
//
// A uniform number is the value of the Gaussian distribution function at a Gaussian one. So uniform vectors are mapped
// to Gaussian ones, moved there, and mapped back: they stay in [-1, 1], and as even as those of training.

const SMALLEST_SHARE = 2 ** -25; // half the distance between two values of uniform z, so that -1 has a finite image

// The share of standard normal numbers below x (Marsaglia 2004).
export function normalShare(x) {
  if (Math.abs(x) > 8) return x > 0 ? 1 : 0;
  let sum = x, before = 0, term = x;
  for (let i = 3; sum !== before; i += 2) {
    before = sum;
    term *= (x * x) / i;
    sum += term;
  }
  return 0.5 + (sum * Math.exp(-x * x / 2)) / Math.sqrt(2 * Math.PI);
}

// The x below which that share lies. Newton's method from 0 comes nearer from one side, as the curve bends one way.
export function normalQuantile(share) {
  let x = 0;
  for (let i = 0; i < 60; i++) {
    const step = (normalShare(x) - share) * Math.sqrt(2 * Math.PI) * Math.exp((x * x) / 2);
    x -= step;
    if (Math.abs(step) < 1e-10) break;
  }
  return x;
}

function toNormal(z, distribution) {
  if (distribution === "normal") return Float64Array.from(z);
  return Float64Array.from(z, (value) =>
    normalQuantile(Math.min(Math.max((value + 1) / 2, SMALLEST_SHARE), 1 - SMALLEST_SHARE)));
}

function fromNormal(x, distribution) {
  return Float32Array.from(x, distribution === "normal" ? (value) => value : (value) => 2 * normalShare(value) - 1);
}

// The z that lies `amounts[i]` along direction number i from `z`, for each i, and as far from the centre.
export function walk(z, directions, amounts, distribution) {
  if (amounts.every((amount) => amount === 0)) return z;
  const from = toNormal(z, distribution);
  const to = from.map((value, j) => directions.reduce((sum, way, i) => sum + amounts[i] * way[j], value));
  const stretch = length(from) / length(to);
  return fromNormal(to.map((value) => value * stretch), distribution);
}

// `steps` vectors from z `start` to z `stop`, both included.
export function path(start, stop, steps, distribution) {
  const a = toNormal(start, distribution), b = toNormal(stop, distribution);
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (length(a) * length(b));
  const angle = Math.min(Math.max(Math.acos(Math.min(Math.max(cosine, -1), 1)), 1e-6), Math.PI - 1e-6);
  return Array.from({ length: steps }, (_, step) => {
    if (step === 0 || step === steps - 1) return step ? stop : start; // exactly, in spite of rounding
    const t = step / (steps - 1);
    const way = a.map((value, i) => (Math.sin((1 - t) * angle) * value + Math.sin(t * angle) * b[i]) / Math.sin(angle));
    return fromNormal(way, distribution);
  });
}

function length(x) {
  return Math.hypot(...x);
}
