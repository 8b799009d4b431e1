// Clients that cannot have the best transport take the next one.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Cluster } from "./lib/cluster.js";
import { Client } from "./lib/client.js";
import { Nginx } from "./lib/nginx.js";

describe("three nodes behind an nginx that does not know of WebSockets", () => {
  let cluster;
  let nginx;
  before(async () => {
    cluster = await Cluster.start();
    nginx = await Nginx.start(cluster.nodes.map((node) => node.url), { upgrade: false });
  });
  after(async () => {
    await nginx?.close();
    await cluster.close();
  });

  for (const [protocol, transport] of [["JSON", "ServerSentEvents"], ["MessagePack", "LongPolling"]]) {
    test(`${protocol} goes over ${transport}`, async (t) => {
      const client = await Client.connect(nginx.url, { protocol });
      t.after(() => client.stop());
      assert.equal((await client.invoke("WhoAmI")).transport, transport);
      await client.invoke("SendMessage", "ana", `over ${transport}`);
      await client.receives(`over ${transport}`);
    });
  }
});
