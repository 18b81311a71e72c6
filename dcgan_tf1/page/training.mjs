// The slider of training, whose stops are steps.

import { byId } from "./dom.mjs";

export class Training {
  // `went(stop)` is called when the slider goes to a stop.
  constructor({ newest }, went) {
    byId("training").hidden = newest === 0;
    byId("stop").max = newest;
    byId("stop").oninput = () => went(Number(byId("stop").value));
    byId("replay").onclick = () => {
      let at = 0;
      went(0);
      const timer = setInterval(() => {
        if (Number(byId("stop").value) !== at || at === newest) return clearInterval(timer);
        went(++at);
      }, 900);
    };
  }

  show({ stop, step, drawable }) {
    const words = `step ${step}`;
    byId("stop").value = stop;
    byId("step").textContent = words;
    byId("stop").setAttribute("aria-valuetext", words);
    byId("training-note").textContent = drawable ? "" :
      "A picture from the past: the network of that step is gone. At the end of the slider you can walk again.";
  }
}
