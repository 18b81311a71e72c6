// A digit drawn by hand, made into a picture like those of MNIST.

export const SIDE = 28;
const BOX = 20; // MNIST's digits fill a box of this side, and their centre of mass is the centre of the picture
const PEN = 2.4; // how wide a line is in the picture, in pixels, whatever the size of the drawing

// The strokes, lists of [x, y] in any unit, as grey levels: Uint8Array [28 * 28], or null where there is none.
export function pictureOf(strokes) {
  const points = strokes.flat();
  if (!points.length) return null;
  const [left, top] = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const [right, bottom] = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const scale = (BOX - PEN) / Math.max(right - left, bottom - top, 1e-6);
  const place = (dx, dy) => strokes.map((stroke) => stroke.map(([x, y]) => [
    (x - (left + right) / 2) * scale + SIDE / 2 - dx, (y - (top + bottom) / 2) * scale + SIDE / 2 - dy]));
  const [x, y] = centreOfMass(ink(place(0, 0)));
  return ink(place(x - SIDE / 2, y - SIDE / 2));
}

// Round lines through the points, with soft edges of one pixel.
function ink(strokes) {
  const picture = new Uint8Array(SIDE * SIDE);
  for (const stroke of strokes)
    stroke.forEach((end, i) => {
      const start = stroke[Math.max(0, i - 1)];
      for (let at = 0; at < picture.length; at++) {
        const distance = distanceToLine([(at % SIDE) + 0.5, Math.floor(at / SIDE) + 0.5], start, end);
        const level = 255 * Math.min(Math.max((PEN + 1) / 2 - distance, 0), 1);
        picture[at] = Math.max(picture[at], Math.round(level));
      }
    });
  return picture;
}

function distanceToLine([x, y], [ax, ay], [bx, by]) {
  const dx = bx - ax, dy = by - ay, square = dx * dx + dy * dy;
  const t = square && Math.min(Math.max(((x - ax) * dx + (y - ay) * dy) / square, 0), 1);
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}

export function centreOfMass(picture) {
  let sum = 0, x = 0, y = 0;
  picture.forEach((level, at) => {
    sum += level;
    x += level * ((at % SIDE) + 0.5);
    y += level * (Math.floor(at / SIDE) + 0.5);
  });
  return [x / sum, y / sum];
}
