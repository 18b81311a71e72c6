// Run the worker of a page in Node, without a browser: `node painter.mjs PAGE` reads a JSON list of requests from
// standard input, as the page sends them, and prints the list of the answers to each.

import { readFileSync } from "node:fs";

const page = readFileSync(process.argv[2], "utf8");
const part = (id) => page.match(new RegExp(`<script[^>]* id="${id}">([^]*?)</script>`))[1];
const plain = (key, value) => (ArrayBuffer.isView(value) ? [...value] : value);

let heard;
globalThis.onmessage = null;
globalThis.postMessage = (answer) => heard(answer);
(0, eval)(part("worker"));

async function ask(request) {
  const answers = [];
  const last = new Promise((resolve) => {
    heard = (answer) => {
      answers.push(answer);
      if (answer.done || answer.ready || answer.error) resolve();
    };
  });
  globalThis.onmessage({ data: request });
  await last;
  return answers;
}

const results = [await ask({ model: JSON.parse(part("model")), weights: part("weights") })];
for (const request of JSON.parse(readFileSync(0, "utf8"))) {
  if (request.seed !== undefined) request.seed = BigInt(request.seed);
  results.push(await ask({ channel: "grid", ...request }));
}
process.stdout.write(JSON.stringify(results, plain), () => process.exit());
