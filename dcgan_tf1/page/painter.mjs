// The page's side of the painter, whose thread `worker.mjs` runs in.

export class Painter {
  #worker;
  #open = {}; // for each channel, the number of the newest request and who waits for its answers
  #count = 0;

  // `failed` is told of errors in the thread, and `ready` is called once the weights are read.
  constructor(source, model, weights, ready, failed) {
    this.#worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    this.#worker.onerror = (event) => failed(event.message ?? "the thread did not start");
    this.#worker.onmessage = ({ data }) => {
      if (data.error) failed(data.error);
      else if (data.ready) ready();
      else if (this.#open[data.channel]?.id === data.id) this.#open[data.channel].answer(data);
    };
    this.#worker.postMessage({ model, weights });
  }

  // Ask for something on a channel, in place of what was asked for there before. `answer` is called with each part.
  ask(channel, request, answer) {
    this.#open[channel] = { id: ++this.#count, answer };
    this.#worker.postMessage({ channel, id: this.#count, ...request });
  }

  // Give up what was asked for on some channels.
  drop(...channels) {
    for (const channel of channels) this.ask(channel, { kind: "nothing" }, () => {});
  }
}
