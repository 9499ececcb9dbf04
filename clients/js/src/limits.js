/**
 * All limits, with their reasons. Every wait has one, and so has everything that another peer can cause this one to
 * keep or to do. Times are in milliseconds.
 *
 * @module
 */

/** Of the protocol between peers (`clients/MESH.md`). */
export const VERSION = 1;

// ---- The hub --------------------------------------------------------------------------------------------------------

export const HEARTBEAT_INTERVAL = 5_000;
/** This client and the hub both close the connection 10 to 15 s after the last heartbeat. */
export const MAX_MISSED_HEARTBEATS = 3;
/** To open the socket, and for the hub's answer to `connect`. */
export const HUB_TIMEOUT = 10_000;
/** For the app's `key` function. */
export const KEY_TIMEOUT = 10_000;
export const MAX_KEY_BYTES = 512;
/** The back-off of the WebSocket to the hub doubles. */
export const RECONNECT_MIN = 1_000;
export const RECONNECT_MAX = 30_000;
/** A socket that lasted this long resets the back-off. */
export const STABLE_AFTER = 30_000;
/** Neighbours that leave together cause one `connect`. */
export const CONNECT_DELAY = 500;

// ---- ICE servers and certificates -----------------------------------------------------------------------------------

/** Connection attempts wait this long for ICE servers, then go on without any. */
export const ICE_SERVERS_TIMEOUT = 3_000;
/** Each request counts as a join for the hub's limits. */
export const ICE_SERVERS_MIN_TTL = 10_000;
export const ICE_SERVERS_MAX_TTL = 7 * 24 * 3600_000;
/** In one list of ICE servers. */
export const MAX_ICE_URLS = 64;
/** The longest that browsers allow. */
export const CERTIFICATE_LIFETIME = 365 * 24 * 3600_000;

// ---- Connection attempts --------------------------------------------------------------------------------------------

/** To the first signal from the other peer. A suspended tab never sends one. */
export const ANSWER_TIMEOUT = 5_000;
/** From the offer to open data channels. */
export const CONNECT_TIMEOUT = 15_000;
/** The rest of it after the other peer ended its route. */
export const CONNECT_TIMEOUT_AFTER_END = 3_000;
/** The peer with the higher id waits for an offer from the peer with the lower id. */
export const OFFER_DELAY = 2_500;
/** The back-off of connection attempts between peers doubles. */
export const RETRY_MIN = 500;
export const RETRY_MAX = 30_000;
/** A younger connection is not replaced by an offer that crossed it. */
export const SETTLED_AFTER = 5_000;
/** From `disconnected` to the restart of ICE by the peer with the lower id, or else by the other one. */
export const RESTART_DELAY = 3_000;
export const RESTART_DELAY_OF_HIGHER_ID = 4_500;
/** Between the offers of a restart, and until the connection is lost. */
export const RESTART_INTERVAL = 3_000;
export const RESTART_TIMEOUT = 15_000;
/** With the only member, which is not evicted after the last one. */
export const MAX_ICE_FAILURES = 2;
/** How long the polite side of a connection waits with its first media for an offer of the other side. */
export const FIRST_MEDIA_DELAY = 500;
/** How often a track is sent again whose section the other side stopped. */
export const MAX_RESTORES = 3;
/** A track is replaced at once, or after a negotiation that is under way. */
export const REPLACE_TIMEOUT = 10_000;
/** Candidates that arrive before their description. Further ones are dropped. */
export const MAX_EARLY_CANDIDATES = 100;
/** Answered offers of peers that are not connected yet. */
export const MAX_ANSWERING = 64;
/** Of these, through one neighbour, which can make offers in the names of peers that do not exist. */
export const MAX_ANSWERING_PER_RELAY = 16;
/** For joiners from the hub, however many others are answered. */
export const MIN_JOINER_SLOTS = 16;

// ---- Neighbours -----------------------------------------------------------------------------------------------------

/** Pings measure the round-trip time and detect lost neighbours. */
export const PING_INTERVAL = 2_000;
/** Lost after 12 to 14 s. Firefox notices an interrupted path within 10.7 s, so ICE is restarted before. */
export const MAX_MISSED_PINGS = 6;
/** From an open connection to the first control message, which is `hello` in all versions but 0. */
export const HELLO_TIMEOUT = 5_000;
/** Of the app's metadata, as JSON in UTF-8. A receiver relies on the limit of control messages. */
export const MAX_METADATA_BYTES = 4_096;
/** Nested arrays and objects. Some parsers of JSON stop at 128, and `hello` adds two. */
export const MAX_METADATA_LEVELS = 64;
/** Named channels in one `hello`, and the length of a name in UTF-16 units. Others are ignored. */
export const MAX_CHANNELS = 16;
export const MAX_CHANNEL_NAME = 64;
/** A candidate that a check found before its signal arrived gets its type within this many pings. */
export const MAX_PATH_CHECKS = 5;
/** Unless the app sets another limit. */
export const MAX_PEERS = 64;
export const MAX_MAX_PEERS = 1_000;
/** In UTF-8. A neighbour that sends a longer control message is disconnected. */
export const MAX_CONTROL_BYTES = 64 * 1024;
/** Read from the list of one neighbour. */
export const MAX_NEIGHBOURS = 1_000;
/** How many ids of one neighbour are attempted. They may not exist. */
export const MAX_UNMET_IDS = 8;
/** How long an id that is not met keeps its place among them. */
export const PLACE_TIME = 30_000;
/** Attempts at once to peers that neighbours named. */
export const MAX_DISCOVERING = 8;
/** Failed attempts with a peer that neighbours name, until the app learns of it. */
export const UNREACHABLE_AFTER = 2;
/** By this age of a loss without `bye`, the hub has noticed a dead peer. */
export const LOST_AFTER = 20_000;
/** Ids of neighbours that left, broke the protocol or were lost. */
export const REMEMBER_FOR = 60_000;
/** Ids that are not connected and stay bound to their certificates. */
export const MAX_KNOWN_IDS = 1_000;
/** From leaving the group to closed connections. Messages that were accepted before are sent meanwhile. */
export const LEAVE_TIMEOUT = 2_000;
/** Answered pings after the last message: three report a lost packet, the others follow the one that replaces it. */
export const FLUSH_PINGS = 5;
/** The last part of it, from sending `bye`. */
export const FLUSH_TIME = 200;

// ---- Messages -------------------------------------------------------------------------------------------------------

/** Every browser transmits this size in one piece. All pieces of a message but the last are full. */
export const PIECE_BYTES = 16 * 1024;
/** Sending waits while more than this is buffered, until less than the other is. */
export const HIGH_WATER_BYTES = 1024 * 1024;
export const LOW_WATER_BYTES = 256 * 1024;
/** A neighbour that sends a longer message, or more than this before its `hello`, is disconnected. */
export const MAX_MESSAGE_BYTES = 64 * 1024 * 1024;
/** What a shorter message or piece counts while it waits for something. */
export const MIN_QUEUED_BYTES = 128;
/** For one neighbour, unless the app sets another limit. */
export const MAX_QUEUED_BYTES = 128 * 1024 * 1024;
