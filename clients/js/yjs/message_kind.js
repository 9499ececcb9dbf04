/**
 * The first byte of a message.
 * - `QUERY`: a state vector. The receiver sends an `UPDATE` with what the sender does not have, its own `STATE_VECTOR`, and
 *   the `AWARENESS` of all clients.
 * - `STATE_VECTOR`: the receiver sends such an `UPDATE` only.
 * - `UPDATE`: an update of the document
 * - `AWARENESS`: an update of the awareness
 */
export const MessageKind = Object.freeze({ QUERY: 0, STATE_VECTOR: 1, UPDATE: 2, AWARENESS: 3 });
