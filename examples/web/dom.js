/** Short forms for the DOM. All texts become text nodes, so HTML from peers is never interpreted. */

/** @param {string} id @returns {any} */
export const $ = (id) => document.getElementById(id);

/** Creates an HTML element. @param {string} tag @param {object} [properties] @param {(Node | string)[]} children */
export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Creates an SVG element. @param {string} tag @param {Record<string, unknown>} [attributes] */
export function makeSvg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  setAttributes(element, attributes);
  element.append(...children);
  return element;
}

/** Changes only what differs, so that the browser has nothing to do for the rest. */
export function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
  }
}

/** A live region is announced again whenever its text is set, even to the same text. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} name of a symbol in the page */
export function icon(name) {
  return makeSvg("svg", { class: "icon", "aria-hidden": "true" }, makeSvg("use", { href: `#icon-${name}` }));
}

/** Sets the icon and the words of a button. */
export function setButton(button, iconName, words) {
  setAttributes(button.querySelector("use"), { href: `#icon-${iconName}` });
  setText(button.querySelector("span"), words);
}
