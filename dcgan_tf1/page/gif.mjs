// A GIF that plays again and again (the format's specification is CompuServe's GIF89a).

const CLEAR = 256, END = 257, MOST_CODES = 4096;

// The bytes of a GIF of frames, Uint8Array [width * height] of levels. `palette` has an [r, g, b] for each of the 256
// levels. A frame is shown for `delay` hundredths of a second.
export function gif(frames, width, height, palette, delay) {
  const word = (value) => [value & 255, value >> 8];
  const text = (string) => [...string].map((letter) => letter.charCodeAt(0));
  const parts = [
    [...text("GIF89a"), ...word(width), ...word(height), 0xf7, 0, 0, ...palette.flat()],
    [0x21, 0xff, 11, ...text("NETSCAPE2.0"), 3, 1, 0, 0, 0],
  ];
  for (const frame of frames) {
    parts.push([0x21, 0xf9, 4, 0, ...word(delay), 0, 0, 0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0, 8]);
    const content = compress(frame);
    for (let at = 0; at < content.length; at += 255) {
      const block = content.slice(at, at + 255);
      parts.push([block.length], block);
    }
    parts.push([0]);
  }
  parts.push([0x3b]);
  return Uint8Array.from(parts.flat());
}

// The codes of Lempel, Ziv and Welch (1984) for levels from 0 to 255, as a list of bytes.
function compress(levels) {
  const bytes = [];
  let buffer = 0, filled = 0, size = 9, known = new Map(), next = END + 1;
  const write = (code) => {
    buffer |= code << filled;
    for (filled += size; filled >= 8; filled -= 8, buffer >>= 8) bytes.push(buffer & 255);
  };
  write(CLEAR);
  let prefix = levels[0];
  for (const level of levels.subarray(1)) {
    const key = prefix * 256 + level;
    if (known.has(key)) {
      prefix = known.get(key);
      continue;
    }
    write(prefix);
    prefix = level;
    if (next === MOST_CODES) { // the table is full: begin another
      write(CLEAR);
      [size, known, next] = [9, new Map(), END + 1];
    } else {
      if (next === 2 ** size) size++;
      known.set(key, next++);
    }
  }
  write(prefix);
  write(END);
  if (filled) bytes.push(buffer & 255);
  return bytes;
}
