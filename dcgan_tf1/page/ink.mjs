// Pictures on canvases and in files: grey levels become ink on paper, in the colours of the page.

import { styleOf } from "./dom.mjs";
import { gif } from "./gif.mjs";

// The colours of the style sheet, as [r, g, b].
function colours() {
  return ["--ink", "--tile"].map((name) => [1, 3, 5].map((at) => parseInt(styleOf(name).slice(at, at + 2), 16)));
}

// Paint square pictures, Uint8Array [side * side] each, side by side in `columns`; `null` leaves a place empty.
export function paint(canvas, pictures, side, columns = 1) {
  canvas.width = columns * side;
  canvas.height = Math.ceil(pictures.length / columns) * side;
  const context = canvas.getContext("2d"), [ink] = colours();
  pictures.forEach((picture, at) => {
    if (!picture) return;
    const image = context.createImageData(side, side);
    for (let i = 0; i < picture.length; i++) {
      for (let part = 0; part < 3; part++) image.data[4 * i + part] = ink[part];
      image.data[4 * i + 3] = picture[i]; // the paper shows through
    }
    context.putImageData(image, (at % columns) * side, Math.floor(at / columns) * side);
  });
}

// Save a canvas as a PNG file, on paper, with `scale` x `scale` pixels for each.
export function savePng(name, canvas, scale) {
  const copy = document.createElement("canvas"), margin = 4;
  copy.width = (canvas.width + 2 * margin) * scale;
  copy.height = (canvas.height + 2 * margin) * scale;
  const context = copy.getContext("2d");
  context.fillStyle = `rgb(${colours()[1]})`;
  context.fillRect(0, 0, copy.width, copy.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(canvas, margin * scale, margin * scale, canvas.width * scale, canvas.height * scale);
  copy.toBlob((blob) => save(name, blob));
}

// Save square pictures as a GIF that goes there and back, with `scale` x `scale` pixels for each.
export function saveGif(name, pictures, side, scale) {
  const wide = side * scale, [ink, paper] = colours();
  const palette = Array.from({ length: 256 }, (_, level) =>
    ink.map((value, i) => Math.round(paper[i] + ((value - paper[i]) * level) / 255)));
  const frames = [...pictures, ...pictures.slice(1, -1).reverse()].map((picture) =>
    Uint8Array.from({ length: wide * wide }, (_, at) =>
      picture[Math.floor(at / wide / scale) * side + Math.floor((at % wide) / scale)]));
  save(name, new Blob([gif(frames, wide, wide, palette, 5)], { type: "image/gif" }));
}

function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
