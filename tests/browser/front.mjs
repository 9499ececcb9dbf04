/** A proxy in front of a hub that passes WebSockets on, and answers all other requests itself. */

import { createServer } from "node:http";
import { connect } from "node:net";

/** Starts a proxy for the hub on this port. Resolves with its `signaling` URL and `stop`. */
export async function front(port, answer) {
  const server = createServer(answer);
  const sockets = new Set();
  server.on("upgrade", ({ method, url, rawHeaders }, client, head) => {
    const hub = connect(port, "127.0.0.1");
    const end = () => [client, hub].forEach((socket) => socket.destroy());
    for (const socket of [client, hub]) {
      sockets.add(socket);
      socket.on("error", end).on("close", end);
    }
    const headers = rawHeaders.map((text, index) => (index % 2 ? `${text}\r\n` : `${text}: `)).join("");
    hub.write(`${method} ${url} HTTP/1.1\r\n${headers}\r\n`);
    hub.write(head);
    hub.pipe(client).pipe(hub);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    server.close();
  };
  return { signaling: `ws://127.0.0.1:${server.address().port}`, stop };
}
