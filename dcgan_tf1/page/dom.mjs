// Elements of the page.

export const byId = (id) => document.getElementById(id);

// A style of the page, such as "--ink".
export const styleOf = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
