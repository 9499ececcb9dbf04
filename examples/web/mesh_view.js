/** The drawing of the mesh. It is for the eye only: the list of peers has the same information in words. */

import { $, makeSvg, setAttributes, setText } from "./dom.js";
import { colourOf, initialsOf, nameOf } from "./names.js";
import { roundTripTimeText } from "./texts.js";

const RADIUS = 18; // of a peer, in pixels
const NAME_WIDTH = 96; // of most names
const MAX_NAME_LENGTH = 18; // of what is drawn
const MAX_PULSES = 40;

/**
 * @typedef {{ id: number, roundTripTime?: number }} Neighbour
 * @typedef {{ me: number, peers: (Neighbour & { neighbours: Neighbour[] })[], unmet: number[] }} Mesh
 * @typedef {{ key: string, a: number, b: number, kind: string, roundTripTime?: number }} Edge
 */

export class MeshView {
  /** @type {Mesh} */ #mesh = { me: 0, peers: [], unmet: [] };
  /** @type {Map<number, { x: number, y: number, angle: number }>} */ #positions = new Map();
  /** @type {Map<string, Edge>} */ #edges = new Map();
  /** The edge or the peer below the pointer, whose round-trip times are drawn. */ #hovered = "";
  #width = 0;
  #height = 0;
  /** Of the line from one peer to the next. */ #spacing = 0;

  constructor() {
    const graph = $("graph");
    // One unit of the drawing is one pixel, so that texts have their size on every screen.
    new ResizeObserver(([{ contentRect }]) => {
      this.#width = contentRect.width;
      this.#height = contentRect.height;
      this.#draw();
    }).observe(graph);
    graph.onpointerover = ({ target }) => this.#hover(target);
    graph.onpointerdown = ({ target }) => this.#hover(target);
    // After a touch, the times stay until the next one.
    graph.onpointerleave = ({ pointerType }) => pointerType === "mouse" && this.#hover(graph);
  }

  /** @param {Mesh} mesh */
  update(mesh) {
    this.#mesh = mesh;
    this.#draw();
  }

  /** Animates a message from one peer to another. @param {number} from @param {number} to */
  pulse(from, to) {
    const [start, end] = [this.#positions.get(from), this.#positions.get(to)];
    const isTooMuch = $("pulses").childElementCount >= MAX_PULSES || document.hidden;
    if (!start || !end || isTooMuch || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    const dot = makeSvg("circle", { r: 5 });
    $("pulses").append(dot);
    const at = ({ x, y }) => ({ transform: `translate(${x}px, ${y}px)` });
    const animation = dot.animate([at(start), at(end)], { duration: 500, easing: "ease-in-out" });
    animation.onfinish = () => dot.remove();
  }

  #draw() {
    if (this.#width === 0) return; // not laid out yet
    this.#arrange();
    this.#edges = edgesOf(this.#mesh, this.#positions);
    this.#drawEdges();
    this.#drawNodes();
    this.#drawLabels();
  }

  /** Puts all peers on an ellipse, this one at the bottom. */
  #arrange() {
    const { me, peers, unmet } = this.#mesh;
    const others = [...peers.map(({ id }) => id), ...unmet].sort((a, b) => a - b);
    const [x, y] = [this.#width / 2, this.#height / 2];
    const alone = others.length === 0;
    const radiusX = alone ? 0 : Math.min(320, Math.max(40, x - NAME_WIDTH / 2 - 4));
    const radiusY = alone ? 0 : Math.min(220, Math.max(40, y - RADIUS - 26));
    this.#spacing = (2 * Math.PI * Math.hypot(radiusX, radiusY)) / Math.SQRT2 / (others.length + 1);
    this.#positions.clear();
    [me, ...others].forEach((id, index, { length }) => {
      const angle = Math.PI / 2 + (2 * Math.PI * index) / length;
      this.#positions.set(id, { x: x + radiusX * Math.cos(angle), y: y + radiusY * Math.sin(angle), angle });
    });
  }

  #drawEdges() {
    const drawn = childrenBy("edge", $("edges"));
    for (const { key, a, b, kind } of this.#edges.values()) {
      const group = drawn.get(key) ?? newEdge(key);
      drawn.delete(key);
      const [from, to] = [this.#positions.get(a), this.#positions.get(b)];
      for (const line of group.children) setAttributes(line, { x1: from.x, y1: from.y, x2: to.x, y2: to.y });
      setAttributes(group.lastChild, { class: `edge ${kind}` });
      if (!group.isConnected) $("edges").append(group);
    }
    for (const group of drawn.values()) group.remove();
    $("graph").style.setProperty("--edge-opacity", String(Math.min(1, 12 / this.#positions.size)));
  }

  #drawNodes() {
    const drawn = childrenBy("peer", $("nodes"));
    const { me, unmet } = this.#mesh;
    const isAlone = this.#positions.size === 1;
    const scale = isAlone ? 1 : Math.max(0.3, Math.min(1, this.#spacing / (2.2 * RADIUS)));
    const hasNames = this.#spacing > 0.9 * NAME_WIDTH;
    for (const [id, { x, y, angle }] of this.#positions) {
      const node = drawn.get(String(id)) ?? newNode(id, id === me);
      drawn.delete(String(id));
      setAttributes(node, { transform: `translate(${x} ${y})`, class: unmet.includes(id) ? "node unmet" : "node" });
      node.classList.toggle("me", id === me);
      setAttributes(node.querySelector(".shape"), { transform: `scale(${scale})` });
      setText(node.querySelector(".initials"), scale < 1 ? "" : initialsOf(id)); // too small to be read
      const name = node.querySelector(".name");
      const isNamed = id === me || hasNames || String(id) === this.#hovered;
      setText(name, isNamed ? shorten(nameOf(id)) + (id === me ? " (you)" : "") : "");
      // Outside of the ellipse, because the edges are inside.
      setAttributes(name, { y: Math.sin(angle) < -0.01 ? -RADIUS - 14 : RADIUS + 17 });
      if (!node.isConnected) $("nodes").append(node);
    }
    for (const node of drawn.values()) node.remove();
  }

  /** The round-trip times of what the pointer is over. All of them at once would overlap from six peers up. */
  #drawLabels() {
    const hovered = [...this.#edges.values()].filter((edge) => this.#isHovered(edge));
    const labels = hovered.map(({ a, b, roundTripTime }) => {
      // Close to the other end of each edge of a peer: its edges are far from each other there.
      const share = this.#hovered === String(a) ? 0.62 : this.#hovered === String(b) ? 0.38 : 0.5;
      const [from, to] = [this.#positions.get(a), this.#positions.get(b)];
      const at = { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share };
      return makeSvg("text", { class: "rtt", ...at }, roundTripTimeText(roundTripTime));
    });
    $("labels").replaceChildren(...labels);
    for (const group of $("edges").children) {
      group.classList.toggle("hovered", this.#isHovered(this.#edges.get(group.dataset.edge)));
    }
  }

  #isHovered({ key, a, b }) {
    return [key, String(a), String(b)].includes(this.#hovered);
  }

  #hover(target) {
    const { edge, peer } = target.closest("[data-edge], [data-peer]")?.dataset ?? {};
    const hovered = edge ?? peer ?? "";
    if (hovered === this.#hovered) return;
    this.#hovered = hovered;
    this.#draw();
  }
}

/** @param {Mesh} mesh @param {Map<number, unknown>} positions @returns {Map<string, Edge>} */
function edgesOf({ me, peers, unmet }, positions) {
  /** @type {Map<string, Edge>} */ const edges = new Map();
  const add = (from, to, kind, roundTripTime) => {
    const [a, b] = [Math.min(from, to), Math.max(from, to)];
    const key = `${a}-${b}`;
    if (positions.has(a) && positions.has(b) && !edges.has(key)) edges.set(key, { key, a, b, kind, roundTripTime });
  };
  for (const { id, roundTripTime } of peers) add(me, id, "mine", roundTripTime);
  for (const id of unmet) add(me, id, "missing");
  for (const { id, neighbours } of peers) {
    for (const other of neighbours) if (other.id !== me) add(id, other.id, "", other.roundTripTime);
  }
  return edges;
}

function newEdge(key) {
  // The first line is wide and invisible, so that the pointer finds it.
  return makeSvg("g", { "data-edge": key }, makeSvg("line", { class: "target" }), makeSvg("line"));
}

function newNode(id, isMine) {
  const disc = makeSvg("circle", { r: RADIUS });
  disc.style.fill = colourOf(id);
  const ring = isMine ? [makeSvg("circle", { class: "ring", r: RADIUS + 5 })] : [];
  const shape = makeSvg("g", { class: "shape" }, ...ring, disc, makeSvg("text", { class: "initials" }));
  return makeSvg("g", { "data-peer": id }, shape, makeSvg("text", { class: "name" }));
}

/** Returns the children of an element by one of their data attributes. */
function childrenBy(attribute, element) {
  return new Map([...element.children].map((child) => [child.dataset[attribute], child]));
}

function shorten(name) {
  const characters = [...name];
  return characters.length > MAX_NAME_LENGTH ? `${characters.slice(0, MAX_NAME_LENGTH - 1).join("")}…` : name;
}
