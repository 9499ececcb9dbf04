/** A page in TypeScript, checked with the generated types: what users see has the types that it should. */

import { Group, groupUrl, joinGroup, RejectedError } from "sigver-client";
import type { Close, IceServers, Key, LeaveReason, NearPeer, Options, Path, Peer, Reason, State } from "sigver-client";
import { decode, encode } from "sigver-client/wire";
import type { Content, Message } from "sigver-client/wire";

const key: Key = async () => "tea-room";
const iceServers = async (): Promise<IceServers> => ({ iceServers: [{ urls: "stun:example.org" }], ttl: 60 });
const options: Options = { favored: true, iceServers, signal: AbortSignal.timeout(1_000) };

export const group = new Group("/signal", key, options);
group.addEventListener("message", ({ peerId, data }) => {
  const sent: Promise<number> = group.send(typeof data === "string" ? data : new Uint8Array(data), peerId);
  return sent;
});
group.addEventListener("stream", ({ stream }) => group.addStream(stream));
group.addEventListener("statechange", ({ state, reason, code, closeReason }) => {
  const all: [State, Reason, Close["code"] | undefined, string] = [state, reason, code, closeReason];
  return all;
});
// @ts-expect-error: the group has no such event
group.addEventListener("mesage", () => {});
// @ts-expect-error: not data
group.send(5);

export const pathOf = ({ path }: Peer): Path => path;
export const neighboursOf = ({ neighbours }: Peer): NearPeer[] => neighbours;
export const joined: Promise<Group> = joinGroup(new URL(groupUrl("wss://example.org", "key")), "key");
export const codeOf = (error: unknown): number | undefined => (error instanceof RejectedError ? error.code : undefined);

const content: Content = { senderId: 0, recipientId: 1, lastData: false, data: encode({ heartbeat: true }) };
export const message: Message | undefined = decode(encode({ content }));
