// What to draw: the class and the seed.

import { byId, say } from "./dom.mjs";
import { LARGEST_SEED } from "./latent.mjs";
import { readSeed } from "./link.mjs";

export class Choices {
  // `chosen(changes)` is called with the new class, { digit }, or with the new seed, { seed }.
  constructor({ names }, { ofDigits }, chosen) {
    for (const digit of names) {
      const [label, input, name] = ["label", "input", "span"].map((tag) => document.createElement(tag));
      Object.assign(input, { type: "radio", name: "class", value: digit });
      name.textContent = digit;
      label.append(input, name);
      byId("classes").append(label);
    }
    if (!ofDigits) byId("new").textContent = "New pictures";
    byId("classes").onchange = ({ target }) => chosen({ digit: target.value || null });
    byId("new").onclick = () => chosen({ seed: BigInt(crypto.getRandomValues(new Uint32Array(1))[0] % 1000000) });
    byId("seed").onchange = () => {
      const text = byId("seed").value, seed = readSeed(text.trim());
      if (seed !== null) chosen({ seed });
      else say(`The seed is “${text.slice(0, 30)}”; expected an integer from 0 to ${LARGEST_SEED}.`);
    };
    byId("choices").onsubmit = (event) => event.preventDefault();
  }

  show({ seed, digit }) {
    byId("seed").value = seed;
    for (const input of document.querySelectorAll("[name=class]")) input.checked = input.value === (digit ?? "");
  }
}
