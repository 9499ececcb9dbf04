/** The names, initials and colours of peers. */

const MAX_NAME_LENGTH = 32; // in code points
const STORAGE_KEY = "sigver-demo-name";
const FIRST = "Amber Blue Brave Calm Clear Coral Dusky Early Fair Gentle Golden Green Jolly Kind Late Light".split(" ");
const LAST = (
  "Badger Bear Crane Deer Dove Eagle Falcon Finch Fox Gull Hare Heron Ibis Jay Kite Lark " +
  "Lynx Marten Mole Moth Newt Otter Owl Plover Raven Robin Seal Stork Swan Tern Vole Wren"
).split(" ");
/** Names that are drawn, and what the page calls the user. In lower case. */
const TAKEN = new Set(["you", ...FIRST.flatMap((first) => LAST.map((last) => `${first} ${last}`.toLowerCase()))]);

/** The names that peers chose, by id. @type {Map<number, string>} */
const chosen = new Map();

/** Returns a name that depends on the id only, so that all pages show the same name. @param {number} id */
export function drawnName(id) {
  return `${FIRST[id % 16]} ${LAST[Math.floor(id / 16) % 32]}`;
}

/**
 * Returns the name that a peer chose, or the drawn one. Peers can choose the names of others, so a name that could be
 * another peer's is followed by the drawn one. Initials can be the same too, but the colours depend on the id only.
 *
 * @param {number} id
 */
export function nameOf(id) {
  const name = chosen.get(id);
  if (name === undefined) return drawnName(id);
  const isSame = ([other, its]) => other !== id && its.toLowerCase() === name.toLowerCase();
  return TAKEN.has(name.toLowerCase()) || [...chosen].some(isSame) ? `${name} (${drawnName(id)})` : name;
}

/** @param {number} id */
export function initialsOf(id) {
  const words = (chosen.get(id) ?? drawnName(id)).split(" ");
  return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

/** @param {number} id */
export function colourOf(id) {
  const hue = (Math.floor(id / 7) * 137) % 360;
  return `light-dark(oklch(0.5 0.11 ${hue}), oklch(0.76 0.1 ${hue}))`;
}

/** Returns the metadata with the name of this peer, for the group. @param {string} name */
export const metadataOf = (name) => (name ? { name } : {});

/** Reads the name of a peer from its metadata. @param {number} id @param {unknown} metadata from the peer */
export function readName(id, metadata) {
  const name = cleanName(/** @type {any} */ (metadata)?.name);
  if (name) chosen.set(id, name);
  else chosen.delete(id);
}

/** @param {number} id */
export const forgetName = (id) => chosen.delete(id);

export const forgetNames = () => chosen.clear();

/**
 * Removes what could disturb the text around a name: line breaks, control characters, changes of the text direction,
 * and stacks of combining marks. Returns "" for all other types.
 *
 * @param {unknown} name
 */
export function cleanName(name) {
  if (typeof name !== "string") return "";
  const text = name.slice(0, 1_000).normalize("NFC");
  const clean = text.replace(/[\p{C}\p{Z}]+/gu, " ").replace(/(\p{M}{2})\p{M}+/gu, "$1");
  return [...clean.trim()].slice(0, MAX_NAME_LENGTH).join("").trim();
}

/** The name that the user typed on an earlier visit, or "". */
export function storedName() {
  try {
    return cleanName(localStorage.getItem(STORAGE_KEY));
  } catch {
    return ""; // the browser blocks storage
  }
}

/** @param {string} name */
export function storeName(name) {
  try {
    localStorage.setItem(STORAGE_KEY, name);
  } catch {
    // The browser blocks storage. The name is valid until the page is closed.
  }
}
