// What the discriminator and the classifier say of the chosen digit, as bars and as sentences.

import { byId } from "./dom.mjs";

const percent = (share) => `${share > 0.995 && share < 1 ? 99 : Math.round(100 * share)}%`;

// The class that the classifier finds most probable.
export function mostProbable(read) {
  return read.indexOf(Math.max(...read));
}

// Make the bars of the ten classes.
export function makeBars() {
  for (let digit = 0; digit < 10; digit++) {
    const bar = document.createElement("span");
    bar.append(document.createElement("i"), String(digit));
    byId("read").append(bar);
  }
}

// Show a verdict, { real, as, read }. `names` are those of the classes, and `others` the probabilities of being real of
// the digits on the sheet.
export function showVerdict({ real, as, read }, names, others) {
  byId("real").firstElementChild.style.left = `${100 * real}%`;
  const below = others.filter((other) => other < real).length;
  const rank = others.length ? ` It finds ${below} of the ${others.length} on the sheet less real.` : "";
  const seenAs = as === null ? "" : ` as “${names[as]}”`;
  byId("real-answer").textContent = `The discriminator says: ${percent(real)} real${seenAs}.${rank}`;
  const best = mostProbable(read), sure = read[best];
  [...byId("read").children].forEach((bar, digit) => {
    bar.firstElementChild.style.height = `${100 * read[digit]}%`;
    bar.classList.toggle("best", digit === best);
  });
  const doubt = sure > 0.9 ? "" : sure > 0.5 ? ", but it is not sure" : ", but that is a guess";
  byId("read-answer").textContent = `A classifier reads ${best === 8 ? "an" : "a"} ${best} (${percent(sure)})${doubt}.`;
}

// Show the bars and the sentences of no digit.
export function clearVerdict() {
  byId("real-answer").textContent = byId("read-answer").textContent = "";
  for (const mark of document.querySelectorAll("#real i, #read i")) mark.style.left = mark.style.height = "";
}

// Mark what the discriminator says of each digit on the sheet.
export function showOthers(reals) {
  byId("real").querySelector("svg").replaceChildren(...reals.map((real) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [name, value] of Object.entries({ x1: 100 * real, x2: 100 * real, y1: 0, y2: 10 }))
      line.setAttribute(name, value);
    return line;
  }));
}
