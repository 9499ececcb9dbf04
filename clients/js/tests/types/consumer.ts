/** A page in TypeScript, checked with the generated types: what users see has the types that it should. */

import { Group, groupUrl, joinGroup, RejectedError } from "sigver-client";
import type { PeerErrorEvent, PeerLeaveEvent, StateEvent } from "sigver-client";
import type { Close, IceServers, Key, LeaveReason, NearPeer, Options, Path, Peer, Reason, State } from "sigver-client";
import type { ChannelOptions, Recipients, SendOptions } from "sigver-client";
import { decode, encode } from "sigver-client/wire";
import type { Content, Message } from "sigver-client/wire";

const key: Key = async () => "tea-room";
const iceServers = async (): Promise<IceServers> => ({ iceServers: [{ urls: "stun:example.org" }], ttl: 60 });
const pose: ChannelOptions = { ordered: false, maxRetransmits: 0 };
const options: Options = {
  channels: { pose, log: {} },
  favored: true,
  iceServers,
  signal: AbortSignal.timeout(1_000),
  metadata: { name: "Ada" },
  maxPeers: 8,
  maxQueuedBytes: 1_000_000,
  debug: (line: string) => console.log(line),
};

export const group = new Group("/signal", key, options);
group.addEventListener("message", ({ peerId, peer, data, channel }) => {
  const to: Recipients = [peerId, peer];
  const sendOptions: SendOptions = { to, channel, signal: AbortSignal.timeout(1_000) };
  const sent: Promise<number> = group.send(typeof data === "string" ? data : new Uint8Array(data), sendOptions);
  return sent;
});
group.addEventListener("peerjoin", ({ peer }) => {
  const connection: RTCPeerConnection = peer.connection;
  const all: [number, number, string, MediaStream[], number | undefined, unknown] = [
    peer.id,
    peer.version,
    peer.fingerprint,
    peer.streams,
    peer.roundTripTime,
    peer.metadata?.name,
  ];
  return [connection, all];
});
group.addEventListener("peerchange", ({ peer }) => group.setMetadata({ seen: peer.id }));
group.addEventListener("peerleave", ({ reason }: PeerLeaveEvent): LeaveReason => reason);
group.addEventListener("peererror", ({ peerId, reason }: PeerErrorEvent): string => `${peerId} ${reason}`);
group.addEventListener("stream", ({ stream, peer }) => {
  group.addStream(stream, { to: peer });
  const [track] = stream.getTracks();
  return track && group.replaceTrack(track, track);
});
group.addEventListener("statechange", ({ state, reason, code, closeReason, nextAttempt }: StateEvent) => {
  const all: [State, Reason, Close["code"] | undefined, string] = [state, reason, code, closeReason];
  const same: [State, Reason, number | undefined, string] = [group.state, group.reason, group.code, group.closeReason];
  return nextAttempt === group.nextAttempt ? [all, same] : group.retry();
});
// @ts-expect-error: the group has no such event
group.addEventListener("mesage", () => {});
// @ts-expect-error: not data
group.send(5);
// @ts-expect-error: an id is not an options object
group.send("private", 5);
// @ts-expect-error: ids are numbers
group.send("private", { to: "5" });
// @ts-expect-error: only the group changes it
group.peers.clear();

export const peer: Peer | undefined = group.peers.get(5);
export const fingerprint: string | undefined = group.fingerprint;
export const left: Promise<void> = group.leave();
export async function scoped() {
  await using own = await joinGroup("/signal", "tea-room");
  return own.id;
}
export const pathOf = ({ path }: Peer): Path => path;
export const neighboursOf = ({ neighbours }: Peer): NearPeer[] => neighbours;
export const joined: Promise<Group> = joinGroup(new URL(groupUrl("wss://example.org", "key")), "key");
export const codeOf = (error: unknown): number | undefined => (error instanceof RejectedError ? error.code : undefined);

const content: Content = { senderId: 0, recipientId: 1, lastData: false, data: encode({ heartbeat: true }) };
export const message: Message | undefined = decode(encode({ content }));
