// What the page calls things: digits or pictures, their classes, and the sheet.

const NUMERALS = ["zeros", "ones", "twos", "threes", "fours", "fives", "sixes", "sevens", "eights", "nines"];
const DATASETS = new Map([["mnist", "60,000 handwritten digits"], ["digits", "1,797 handwritten digits"]]);

export class Words {
  #model;

  constructor(model) {
    const { classes, dataset } = model;
    this.#model = model;
    this.names = model.names;
    // Whether all is digits: other classes may have numbers for names.
    this.ofDigits = !classes.length || (DATASETS.has(dataset) && classes.join() === [...NUMERALS.keys()].join());
  }

  get intro() {
    const { config, dataset } = this.#model, from = DATASETS.get(dataset) ?? `the images of ${dataset}`;
    return `A neural network looked at ${from} until it could make its own. ` +
      `It makes each one out of ${config.z_dim} random numbers, here in your browser.`;
  }

  // What digits of the class `name` are called, or all of them.
  nameOf(name) {
    if (name === null) return this.ofDigits ? "digits" : "pictures";
    return this.ofDigits ? NUMERALS[name] : `pictures of “${name}”`;
  }

  // The sentence below the sheet of a state, of whose `count` digits `found` are there, among `drawn` ones. They are
  // looked for where there are no classes to be drawn; once that is `done`, less than `count` were found in vain.
  caption({ seed, digit, fixed, step }, { count, found, drawn, done }) {
    const wanted = this.nameOf(digit), among = `${drawn.toLocaleString("en")} digits`;
    if (fixed) return `The same ${count} points, as they were drawn after ${step} steps.`;
    if (digit === null || this.#model.classes.length)
      return done ? `Seed ${seed}: its first ${count} ${wanted}. Choose one.` : "Drawing…";
    if (!done) return `Looking for ${wanted}: ${found} of ${among}.`;
    if (found === count) return `Seed ${seed}: its first ${count} ${wanted}, found among ${among}.`;
    return `Seed ${seed}: ${found} ${wanted} among its first ${among}. This network seldom draws them.`;
  }
}
