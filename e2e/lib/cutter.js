// A TCP proxy that can cut its connections, as a network does: without a word to anybody. It also writes down what is asked
// for over HTTP.

import { connect, createServer } from "node:net";
import { Log } from "./wait.js";

export class Cutter {
  #server;
  #pairs = new Set(); // of the sockets that are joined
  requests = new Log(); // {request: "GET /path", status}; the status comes with the answer, if there is one

  static async start(target) {
    const cutter = new Cutter();
    const { hostname: host, port } = new URL(target);
    cutter.#server = createServer((client) => cutter.#join(client, connect({ host, port })));
    await new Promise((resolve) => cutter.#server.listen(0, "127.0.0.1", resolve));
    cutter.url = `http://127.0.0.1:${cutter.#server.address().port}`;
    return cutter;
  }

  #join(client, server) {
    const pair = [client, server];
    this.#pairs.add(pair);
    let last = {};
    client.on("data", (data) => {
      const request = last.status !== 101 && /^[A-Z]+ \S+(?= HTTP\/1)/.exec(data.toString("latin1", 0, 2000))?.[0];
      if (request) this.requests.add(last = { request });
    });
    server.on("data", (data) => {
      const status = /^HTTP\/1\.\d (\d+)/.exec(data.toString("latin1", 0, 20))?.[1];
      if (status && last.status !== 101) last.status = Number(status);
    });
    client.pipe(server);
    server.pipe(client);
    for (const socket of pair) {
      socket.setNoDelay();
      socket.on("error", () => {}); // close follows
      socket.on("close", () => { for (const one of pair) one.destroy(); this.#pairs.delete(pair); });
    }
  }

  // cut ends all connections at once: in an orderly way as TCP sees it, or with a reset.
  cut({ reset }) {
    for (const pair of this.#pairs) for (const socket of pair) reset ? socket.resetAndDestroy() : socket.destroy();
  }

  // about lists the requests in which a text stands.
  about(text) { return this.requests.entries.filter(({ request }) => request.includes(text)); }

  async close() {
    this.cut({ reset: false });
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
