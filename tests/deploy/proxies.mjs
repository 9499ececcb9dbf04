/**
 * Runs the proxies of examples/deploy in front of the standalone server, and `sigver probe` through them.
 *
 *     sh setup.sh
 *     node proxies.mjs [--server target/release/sigver]
 *
 * The files are used as they are, but for addresses, certificates and timeouts. A proxy that is not installed is
 * skipped.
 */

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { freePort, isInstalled, makeFolder, report, run, start, stop, until } from "./processes.mjs";

const { values } = parseArgs({ options: { server: { type: "string", default: "target/release/sigver" } } });
const EXAMPLES = new URL("../../examples/deploy/", import.meta.url);
/** Shorter than the 60 s of the examples, and longer than the heartbeat interval of the tests. */
const IDLE_TIMEOUT = "4s";
const FORGED = "203.0.113.9";

/** The IP of this machine, which no server trusts. From 127.0.0.1, a client looks like the trusted proxy. */
const interfaces = Object.values(networkInterfaces()).flat();
const ip = interfaces.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";

const folder = makeFolder();
const [key, cert] = ["key.pem", "cert.pem"].map((name) => join(folder, name));

/** Returns a text with these replacements. Each must have an effect. */
function replace(text, replacements) {
  for (const [from, to] of replacements) {
    assert(text.includes(from), `the example no longer contains ${JSON.stringify(from)}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** Each returns a command that runs the proxy, with its example as its configuration. */
const proxies = {
  nginx: {
    example: "nginx.conf",
    command(text, { port, upstream, idle, folder }) {
      const site = replace(text, [
        ["server 127.0.0.1:8000;", `server ${upstream.path ? `unix:${upstream.path}` : upstream.address};`],
        ["listen 443 ssl;", `listen ${port} ssl;`],
        ["/etc/ssl/certs/signal.example.pem", cert],
        ["/etc/ssl/private/signal.example.key", key],
        ["_timeout 60s;", `_timeout ${idle};`],
      ]);
      writeFileSync(join(folder, "site.conf"), site);
      const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
      const paths = temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join(" ");
      const file = join(folder, "nginx.conf");
      // A worker of another user could not open the sockets and files of the test.
      const user = process.getuid() === 0 ? "user root;" : "";
      const http = `access_log off; ${paths} include site.conf;`;
      writeFileSync(file, `daemon off; ${user} pid ${folder}/pid; error_log stderr; events {} http { ${http} }`);
      return ["nginx", ["-p", folder, "-c", file]];
    },
  },
  haproxy: {
    example: "haproxy.cfg",
    command(text, { port, upstream, idle, folder }) {
      const pem = join(folder, "pem");
      writeFileSync(pem, readFileSync(cert, "utf8") + readFileSync(key, "utf8"));
      const file = join(folder, "haproxy.cfg");
      const server = upstream.path ? `unix@${upstream.path}` : upstream.address;
      const config = replace(text, [
        ["server sigver1 127.0.0.1:8000", `server sigver1 ${server}`],
        ["bind :443", `bind :${port}`],
        ["/etc/haproxy/signal.example.pem", pem],
        ["timeout client 60s", `timeout client ${idle}`],
        ["timeout server 60s", `timeout server ${idle}`],
        ["timeout tunnel 60s", `timeout tunnel ${idle}`],
      ]);
      writeFileSync(file, config);
      return ["haproxy", ["-db", "-f", file]];
    },
  },
  caddy: {
    example: "Caddyfile",
    hasIdleTimeout: false,
    command(text, { port, upstream, folder }) {
      const file = join(folder, "Caddyfile");
      const server = upstream.path ? `unix/${upstream.path}` : upstream.address;
      const config = replace(text, [
        ["reverse_proxy 127.0.0.1:8000 {", `reverse_proxy ${server} {`],
        ["signal.example {", `https://${ip}:${port} {\n\ttls ${cert} ${key}`],
      ]);
      writeFileSync(file, `{\n\tadmin off\n\tauto_https disable_redirects\n}\n${config}`);
      return ["caddy", ["run", "--adapter", "caddyfile", "--config", file], { env: { HOME: folder } }];
    },
  },
};

/** Starts the standalone server on this host. */
async function startServer(host, args) {
  const child = start(values.server, ["--host", host, "--port", "0", "--admin", "127.0.0.1:0", ...args]);
  const line = (prefix) => {
    // With its line break: the output can arrive in parts.
    const find = () => child.output.match(`${prefix} is listening on (.*)\n`)?.[1];
    return until(`the server prints its address as ${prefix}`, find);
  };
  const address = await line("Signaling server");
  return { child, address, path: address.match(/^unix:(.*)/)?.[1], admin: await line("Admin server") };
}

async function startProxy(name, upstream, idle) {
  const { example, command } = proxies[name];
  const [port, folder] = [await freePort(), makeFolder()];
  const child = start(...command(readFileSync(new URL(example, EXAMPLES), "utf8"), { port, upstream, idle, folder }));
  const proxy = { child, port, url: `wss://${ip}:${port}/signal/` };
  await until(`${name} serves the health check`, async () => {
    assert(child.exitCode === null, `${name} ended:\n${child.output}`);
    return (await get(proxy, "/signal/readyz")).status === 200;
  });
  return proxy;
}

/** Sends a GET request to a proxy. The status is 0 if it fails. */
function get({ port }, path) {
  return new Promise((resolve) => {
    const sent = request({ host: ip, port, path, ca: readFileSync(cert), agent: false }, async (response) => {
      let body = "";
      for await (const chunk of response) body += chunk;
      resolve({ status: response.statusCode, body });
    });
    sent.on("error", (error) => resolve({ status: 0, body: String(error) }));
    sent.end();
  });
}

const probe = (args) => run(values.server, ["probe", "--ca", cert, ...args]);

async function assertPasses(args) {
  const { code, output } = await probe(args);
  assert.equal(code, 0, `sigver probe ${args.join(" ")}\n${output}`);
}

/** Returns the client IPs of the peers in the largest group of a server. */
async function clientIps({ admin }) {
  const json = async (path) => (await fetch(`http://${admin}${path}`)).json();
  const [group] = (await json("/status")).largest_groups;
  return group ? (await json(`/groups/${group.hash}`)).map((peer) => peer.client_ip) : [];
}

/** The probe passes, also after the idle timeout, and the server knows the IP of the probe. */
async function assertWorks(name, server) {
  const proxy = await startProxy(name, server, IDLE_TIMEOUT);
  const passes = assertPasses(["--idle", "6", "--header", `X-Forwarded-For: ${FORGED}`, proxy.url]);
  const ips = await Promise.race([
    until("two peers have joined", async () => {
      const ips = await clientIps(server);
      return ips.length === 2 && ips;
    }),
    passes,
  ]);
  assert.deepEqual(ips, [ip, ip], "the client IPs that the server uses");
  await passes;
  return proxy;
}

async function stopAll(...children) {
  await Promise.all(children.map(stop));
}

const HEADER = ["--client-ip-header", "x-forwarded-for"];
const FAST = ["--heartbeat-interval", "1s"];

const tests = {};
for (const [name, { hasIdleTimeout = true }] of Object.entries(proxies)) {
  const add = (rule, test) => {
    tests[`${name}: ${rule}`] = async () => ((await isInstalled(name)) ? test() : `${name} is not installed`);
  };

  add("probe passes over TCP, the key is unchanged, and health checks are answered", async () => {
    const server = await startServer("127.0.0.1", ["--trusted-proxy", "127.0.0.1", ...HEADER, ...FAST]);
    const proxy = await assertWorks(name, server);
    // The second peer connects to the server itself.
    for (const key of ["{key}", "a%2Fb%20c%25{key}", "a//b/{key}", "%C3%A9~{key}?favored"]) {
      await assertPasses(["--quick", proxy.url + key, `ws://${server.address}/${key}`]);
    }
    assert.deepEqual(await get(proxy, "/signal/healthz"), { status: 200, body: "ok\n" });
    await stopAll(proxy.child, server.child);
  });

  add("probe passes over a Unix socket", async () => {
    const server = await startServer(`unix:${join(makeFolder(), "sigver.sock")}`, [...HEADER, ...FAST]);
    const proxy = await assertWorks(name, server);
    await stopAll(proxy.child, server.child);
  });

  if (hasIdleTimeout) {
    add("probe reports an idle timeout below the heartbeat interval", async () => {
      const server = await startServer("127.0.0.1", ["--trusted-proxy", "127.0.0.1", ...HEADER]);
      const proxy = await startProxy(name, server, "2s");
      const { code, output } = await probe([proxy.url]);
      assert(code === 1 && output.includes("a proxy closes idle connections before a heartbeat is due"), output);
      await stopAll(proxy.child, server.child);
    });
  }
}

const subject = ["-subj", "/CN=signal.example", "-addext", `subjectAltName=DNS:signal.example,IP:${ip}`];
const usage = ["-addext", "basicConstraints=critical,CA:FALSE", "-days", "1"];
const openssl = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, ...subject, ...usage];
const { code, output } = await run("openssl", openssl);
assert.equal(code, 0, output);
if (ip === "127.0.0.1") console.log("NOT TESTED: client IPs, because this machine has only a loopback interface");
await report(tests);
