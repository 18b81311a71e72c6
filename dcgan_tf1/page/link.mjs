// What a link says: ?seed=3&class=7&place=12&walk=0.5,-0.25 names a sheet of digits, one of them, and where one went.

import { LARGEST_SEED } from "./latent.mjs";

// What the query of an address asks for, and a sentence for each thing that it asks for in vain.
//
// `seed` is a BigInt or null, `digit` one of the names of the classes or null, `place` an index, `walk` a list of `ways`
// numbers from -1 to 1, `step` a step of training or null.
export function readLink(query, { ways, places, steps, names }) {
  const given = new URLSearchParams(query), problems = [];
  const read = (name, expected, convert) => {
    const text = given.get(name);
    if (text === null) return null;
    const value = convert(text);
    if (value === null) problems.push(`The link has ${name} “${text.slice(0, 30)}”; expected ${expected}.`);
    return value;
  };
  const walk = read("walk", `at most ${ways} numbers from -1 to 1`, (text) => {
    const amounts = text.split(",").map((part) => (/^-?[01](\.\d+)?$/.test(part) ? Number(part) : NaN));
    return amounts.length <= ways && amounts.every((amount) => Math.abs(amount) <= 1) ? amounts : null;
  });
  return {
    seed: read("seed", `an integer from 0 to ${LARGEST_SEED}`, readSeed),
    digit: read("class", `one of ${names.join(", ").slice(0, 200)}`, (text) => oneOf(names, text)),
    place: (read("place", `an integer from 1 to ${places}`, (text) =>
      /^\d{1,3}$/.test(text) && text >= 1 && Number(text) <= places ? Number(text) : null) ?? 1) - 1,
    walk: Array.from({ length: ways }, (_, i) => walk?.[i] ?? 0),
    step: read("step", `one of ${steps.join(", ")}`, (text) => oneOf(steps, text)),
    problems,
  };
}

// The element of a list that is written as `text`, or null.
function oneOf(list, text) {
  return list.find((element) => String(element) === text) ?? null;
}

// The seed that a text names, a BigInt, or null if it names none.
export function readSeed(text) {
  return /^\d{1,19}$/.test(text) && BigInt(text) <= LARGEST_SEED ? BigInt(text) : null;
}

// The query for a state of the page; what is as usual is left out.
export function writeLink({ seed, digit, place, walk, step }) {
  const parts = { seed, class: digit && encodeURIComponent(digit), place: place ? place + 1 : null, step };
  if (walk.some((amount) => amount !== 0)) parts.walk = walk.map((amount) => Number(amount.toFixed(3))).join(",");
  return "?" + Object.entries(parts).filter(([, value]) => value !== null && value !== undefined)
    .map(([name, value]) => `${name}=${value}`).join("&");
}
