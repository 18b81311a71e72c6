// Elements of the page.

export const byId = (id) => document.getElementById(id);

// A style of the page, such as "--ink".
export const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Show a sentence above the page, or instead of it.
export function say(sentence, instead = false) {
  byId("notice").textContent = sentence;
  byId("notice").classList.add("said");
  byId("notice").hidden = !sentence;
  if (instead) byId("main").hidden = true;
}
