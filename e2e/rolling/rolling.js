// A rolling restart under clients: three nodes behind nginx as it is shipped, each drained with the default settings and started
// again in turn. "make rolling" runs it; it takes about two minutes and ends by itself. It prints what the clients saw, and fails when one
// of them gave up, or got a message twice or out of order, or a node did not end in order and in time.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Cluster, bin } from "../lib/cluster.js";
import { Nginx } from "../lib/nginx.js";
import { Log, within } from "../lib/wait.js";

const clients = process.env.CLIENTS ?? "1000";
const drainTimeout = 30_000;

const cluster = await Cluster.start({ nodes: 3, args: ["--drain-delay=5s", `--drain-timeout=${drainTimeout}ms`] });
const nginx = await Nginx.start(cluster.nodes.map((node) => node.url));
const said = new Log();
const fleet = spawn(bin("rolling"), ["--url", `${nginx.url}/chat`, "--clients", clients], { stdio: ["pipe", "pipe", "inherit"] });
const ended = new Promise((resolve) => fleet.on("close", resolve));
createInterface({ input: fleet.stdout }).on("line", (line) => said.add(JSON.parse(line)));
let failed = false;
const fault = (text) => { failed = true; console.error(text); };
try {
  await Promise.race([said.first((e) => e.ready, "all clients to start"), ended.then(() => { throw new Error("clients did not start"); })]);
  console.log(`${clients} clients are connected`);
  for (const node of cluster.nodes) {
    const began = Date.now();
    const status = await cluster.stop(node.name);
    const took = Date.now() - began;
    console.log(`${node.name}: drained in ${(took / 1000).toFixed(1)} s, ${status}`);
    if (status !== "exit status 0" || took > drainTimeout + 500) fault(`${node.name} did not end in order and in time`);
    await cluster.restart(node.name);
  }
  fleet.stdin.end();
  const report = await said.first((e) => "Clients" in e, "the report");
  console.log(JSON.stringify(report, null, 2));
  if (await within(ended, "the clients to end") !== 0) fault("the clients are not content");
} finally {
  fleet.kill("SIGKILL");
  await nginx.close();
  await cluster.close();
}
process.exitCode = failed ? 1 : 0;
