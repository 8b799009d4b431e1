// Running node processes: built binaries, a real Redis and the round-robin proxy, all run by devcluster.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import path from "node:path";
import { Log, patience } from "./wait.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
export const bin = (name) => path.join(root, "bin", name);

// The two ways to run that everything must work in.
export const topologies = [
  { name: "one process", nodes: 1, redis: "none" },
  { name: "three nodes behind the proxy", nodes: 3, redis: "" },
];

export class Cluster {
  #child;
  #events = new Log();
  #stderr = [];
  #exit;

  // start returns when every node is ready. program is what the nodes run, args are further flags of theirs, cwd is where they run.
  static async start({ program = "node", nodes = 3, redis = "", args = [], cwd = root } = {}) {
    const cluster = new Cluster();
    const flags = ["--json", "--node", bin(program), "--nodes", String(nodes), "--redis", redis, "--listen", "127.0.0.1:0"];
    cluster.#child = spawn(bin("devcluster"), [...flags, "--", ...args], { cwd, env: cleanEnv(), stdio: "pipe" });
    cluster.#exit = new Promise((resolve) => cluster.#child.on("close", resolve));
    createInterface({ input: cluster.#child.stdout }).on("line", (line) => cluster.#events.add(JSON.parse(line)));
    createInterface({ input: cluster.#child.stderr }).on("line", (line) => cluster.#stderr.push(line));
    cluster.#exit.then((code) => cluster.#events.add({ event: "end", code }));

    const up = await cluster.#events.first((e) => e.event === "ready" || e.event === "end", "the cluster being ready");
    if (up.event === "end") throw new Error(`the cluster did not start:\n${cluster.logs()}`);
    cluster.url = up.url; // the proxy
    cluster.nodes = up.nodes; // [{name, url, admin}]
    cluster.redis = up.redis;
    return cluster;
  }

  // kill ends a process (a node's name, or "redis") without a word, and returns when it is gone.
  kill(name) { return this.#end("kill", name); }

  // stop asks it to leave, and returns how it ended: "exit status 0" when all was well.
  stop(name) { return this.#end("stop", name); }

  async #end(command, name) {
    const from = this.#events.entries.length;
    this.#child.stdin.write(`${command} ${name}\n`);
    return (await this.#events.first((e) => e.event === "exited" && e.name === name, `${name} to end`, from)).status;
  }

  // restart starts it again on the same port, and returns when a node is ready.
  async restart(name) {
    const from = this.#events.entries.length;
    this.#child.stdin.write(`start ${name}\n`);
    await this.#events.first((e) => e.event === "started" && e.name === name, `${name} to start`, from);
    const node = this.nodes.find((n) => n.name === name);
    if (node) await answers(`${node.admin}/readyz`);
  }

  // close ends everything, and fails when a node complained of a data race or a panic of its own.
  async close() {
    this.#child.stdin.end();
    const code = await this.#exit;
    if (code !== 0) throw new Error(`the cluster ended with ${code}:\n${this.logs()}`);
    const faults = this.#stderr.filter((line) => /DATA RACE|│ (panic|fatal error):/.test(line));
    if (faults.length) throw new Error(`a node is faulty:\n${this.logs()}`);
  }

  logs() { return this.#stderr.slice(-200).join("\n"); }
}

// answers returns once the URL gives 200.
export async function answers(url) {
  const end = Date.now() + patience;
  for (;;) {
    const status = await fetch(url).then((r) => r.status, (err) => err.cause?.code ?? err.message);
    if (status === 200) return;
    if (Date.now() > end) throw new Error(`${url} still answers ${status}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

// cleanEnv keeps the settings of whoever runs the tests out of them, and makes a data race the end of a node. Flags beat what it says.
function cleanEnv() {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("HUBFLEET_")));
  // Most tests have no balancer that would have to notice first.
  return { ...env, HUBFLEET_DRAIN_DELAY: "0s", GORACE: "halt_on_error=1 atexit_sleep_ms=0" };
}
