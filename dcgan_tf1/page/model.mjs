// What is in the page: the record of the model, its weights, and pictures of its training.

import { byId } from "./dom.mjs";

// The record and the weights, as they stand in the page; an Error says what is missing.
export function readPage() {
  const [record, weights] = ["model", "weights"].map((id) => byId(id)?.textContent);
  const cut = new Error("This file was cut short: the weights of the networks are not all there. Get it again.");
  if (!record || !weights) throw cut;
  const model = JSON.parse(record);
  if (weights.length !== 4 * Math.ceil(model.bytes / 3)) throw cut;
  return [model, weights];
}

// The record of `sampling/page.py`, and what follows from it. The slider of training has stops, of which the first ones
// may have the digits of a sample grid in place of weights.
export class Model {
  constructor(record, pictures) {
    Object.assign(this, record);
    // Of the classes. A GAN that knows none is asked for digits.
    this.names = record.classes.length ? record.classes : Array.from({ length: 10 }, (_, digit) => String(digit));
    this.pictures = pictures; // for each stop its digits, a list of grey levels [side * side], or null
    this.pictured = record.stops.length - record.weighed; // so many stops have pictures alone
    this.steps = record.stops.map((stop) => stop.step);
    this.newest = record.stops.length - 1;
  }

  static async read(record) {
    return new Model(record, await Promise.all(record.stops.map((stop) => readPicture(stop, record.side))));
  }
}

// The digits of a stop whose picture is in the page: a column of them, as a PNG file.
async function readPicture({ picture }, side) {
  if (!picture) return null;
  const image = new Image();
  image.src = `data:image/png;base64,${picture}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = side;
  canvas.height = image.height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const levels = context.getImageData(0, 0, side, image.height).data.filter((_, i) => i % 4 === 0);
  return Array.from({ length: image.height / side }, (_, i) => levels.slice(i * side * side, (i + 1) * side * side));
}
