/**
 * A full mesh of WebRTC peers that connect through a sigver signaling hub.
 *
 *     import { Group } from "sigver-client";
 *
 *     const group = new Group("wss://example.org/signal", "tea-room");
 *     group.addEventListener("peerjoin", ({ peerId }) => group.send("hello", { to: peerId }));
 *     group.addEventListener("message", ({ peerId, data }) => console.log(peerId, data));
 *     await group.joined;
 *     group.send("hello, everyone");
 *
 * The hub relays signals for a peer's first connection only. A joiner signals through the hub with one member. Every
 * peer sends its list of neighbours to its neighbours, and peers connect to the rest of the group through them. The
 * hub's work for one join is therefore the same in a group of two and in a group of twenty, and an existing mesh keeps
 * working while the hub is unreachable.
 *
 * @module
 */

export {
  PeerErrorEvent,
  PeerEvent,
  PeerLeaveEvent,
  PeerMessageEvent,
  PeerStreamEvent,
  RejectedError,
  StateEvent,
} from "./events.js";
export { Group, joinGroup } from "./group.js";
export { groupUrl } from "./signaling.js";

/** @typedef {import("./events.js").GroupEvents} GroupEvents */
/** @typedef {import("./events.js").LeaveReason} LeaveReason */
/** @typedef {import("./events.js").Reason} Reason */
/** @typedef {import("./events.js").State} State */
/** @typedef {import("./options.js").Options} Options */
/** @typedef {import("./options.js").SendOptions} SendOptions */
/** @typedef {import("./peer.js").Recipients} Recipients */
/** @typedef {import("./joining.js").Key} Key */
/** @typedef {import("./path.js").Path} Path */
/** @typedef {import("./named_channels.js").ChannelOptions} ChannelOptions */
/** @typedef {import("./peer.js").Peer} Peer */
/** @typedef {import("./close_codes.js").Close} Close */
/** @typedef {import("./untrusted.js").IceServers} IceServers */
/** @typedef {import("./untrusted.js").NearPeer} NearPeer */

// The modules. Each imports only modules that stand below it. They report to those above by callbacks.
//
//     group              what pages use: options, events, send, leave
//       joining          one socket to the hub after another, the key, the state of the group
//         membership     one socket: makes this peer a member and keeps it one, heals split groups
//           signaling    the WebSocket: connect, heartbeats      wire    its messages      close_codes
//       metadata, local_streams    what this peer tells and sends to all
//       mesh             the neighbours: control messages, relays
//         pending_peers  peers that are connecting: offers, rejections
//         discovery      which peers to connect to      departures    which peers are gone
//         identities     ids and their certificates      peer    a neighbour, as pages see it
//       rtc_settings     what all connections have in common      ice_servers    from the app or the hub
//         connection     one RTCPeerConnection: pending, open, closed
//           negotiation  offers, answers, candidates      interruption    restarts of ICE
//           media        tracks and streams      path    direct or relayed
//           channels     the data channels of a connection      named_channels    of the app
//             control_channel    JSON, hello, pings      data_channel    messages, back-pressure      framing    pieces
//     options, events, untrusted, timing, limits    what all of them use
