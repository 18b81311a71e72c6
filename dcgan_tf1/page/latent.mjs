// The random numbers of dcgan_tf1/data/draws.py: the same seed gives the same digits here as in `run.py generate`.

export const CHUNK = 500; // digits, whose z come from one counter of the random number generator
export const SNAPSHOT = 2, SAMPLE = 3; // what random numbers are used for: the sample grids of training, and digits
export const LARGEST_SEED = 2n ** 63n - 1n;

const WORD = 2n ** 64n - 1n;

// Four random words, BigInts below 2^64, of a key of two and a counter of four (Philox 4x64-10; Salmon et al. 2011).
export function philox([k0, k1], [c0, c1, c2, c3]) {
  for (let round = 0; round < 10; round++) {
    const a = 0xd2e7470ee14c6c93n * c0, b = 0xca5a826395121157n * c2;
    [c0, c1, c2, c3] = [(b >> 64n) ^ c1 ^ k0, b & WORD, (a >> 64n) ^ c3 ^ k1, a & WORD];
    k0 = (k0 + 0x9e3779b97f4a7c15n) & WORD;
    k1 = (k1 + 0xbb67ae8584caa73bn) & WORD;
  }
  return [c0, c1, c2, c3];
}

// The numbers `first` to `first + count - 1` of `draws.latent`, float32: `uniform` over [-1, 1) or standard `normal`.
// The seed is a BigInt.
export function latent(seed, stream, counter, first, count, distribution) {
  const numbers = new Float32Array(count);
  let block = -1, words;
  for (let i = 0; i < count; i++) {
    if ((first + i) >> 2 !== block) {
      block = (first + i) >> 2;
      words = philox([seed, BigInt(stream)], [BigInt(block + 1), 0n, 0n, BigInt(counter)]); // NumPy counts from 1
    }
    const word = words[(first + i) & 3];
    if (distribution === "normal") { // Box and Muller 1958
      const radius = Math.sqrt(-2 * Math.log((Number(word >> 32n) + 1) * 2 ** -32));
      numbers[i] = radius * Math.cos(Number(word & 0xffffffffn) * (2 * Math.PI * 2 ** -32));
    } else {
      numbers[i] = Number(word >> 40n) * 2 ** -23 - 1;
    }
  }
  return numbers;
}

// The z of digit number `index` of a seed, float32 [z_dim].
export function latentOfDigit(seed, index, { z_dim, z_distribution }) {
  return latent(seed, SAMPLE, Math.floor(index / CHUNK), (index % CHUNK) * z_dim, z_dim, z_distribution);
}
