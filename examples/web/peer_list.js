/** The list of peers in words: names, paths and round-trip times. */

import { $, make, setText } from "./dom.js";
import { colourOf, initialsOf, nameOf } from "./names.js";
import { connectionText } from "./texts.js";

/**
 * Changes items in place, so that screen readers keep their position.
 *
 * @param {{ id: number, path?: string, roundTripTime?: number }[]} peers that are connected
 * @param {number[]} unmet ids of peers that only other peers are connected to
 */
export function updatePeerList(peers, unmet) {
  const list = $("peers");
  const items = new Map([...list.children].map((item) => [Number(item.dataset.peer), item]));
  const rows = [
    ...peers.map((peer) => [peer.id, connectionText(peer)]),
    ...unmet.map((id) => [id, "not connected to you"]),
  ];
  for (const [id, text] of rows) {
    const item = items.get(id) ?? newItem(id);
    items.delete(id);
    item.dataset.initials = initialsOf(id);
    const [name, separator, connection] = item.children;
    setText(name, nameOf(id));
    setText(separator, text && ", ");
    setText(connection, text);
    if (!item.isConnected) list.append(item);
  }
  for (const item of items.values()) item.remove();
  list.hidden = rows.length === 0;
}

function newItem(id) {
  // Screen readers need the comma; sighted users see columns.
  const item = make("li", {}, make("b"), make("span", { className: "hidden" }), make("span"));
  item.dataset.peer = id;
  item.style.setProperty("--colour", colourOf(id));
  return item;
}
