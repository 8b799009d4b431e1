// A real nginx in front of nodes, with the configuration that deploy/nginx ships: each request goes to the next of them, whoever
// sent it.

import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { within } from "./wait.js";

const shipped = fileURLToPath(new URL("../../deploy/nginx/nginx.conf", import.meta.url));
const places = [process.env.NGINX, ...`${process.env.PATH}:/usr/sbin`.split(":").map((folder) => path.join(folder, "nginx"))];

export class Nginx {
  #child;
  #dir;
  #exit;
  #stderr = "";

  // start serves by the nodes with these URLs. Without upgrade no WebSocket gets through.
  static async start(nodes, { upgrade = true } = {}) {
    const binary = places.find((place) => place && existsSync(place));
    if (!binary) throw new Error("no nginx: run make setup, or set NGINX=/path/to/it");
    const nginx = new Nginx();
    nginx.#dir = await mkdtemp(path.join(tmpdir(), "hubfleet-nginx-"));
    const port = await freePort();
    nginx.url = `http://127.0.0.1:${port}`;
    const file = path.join(nginx.#dir, "nginx.conf");
    await writeFile(file, config(await readFile(shipped, "utf8"), nginx.#dir, port, nodes, upgrade));
    const args = ["-p", nginx.#dir, "-e", "stderr", "-c", file, "-g", "daemon off;"];
    const check = spawnSync(binary, [...args, "-t"], { encoding: "utf8" });
    if (check.status !== 0) throw new Error(`nginx refuses its configuration:\n${check.stderr}`);

    nginx.#child = spawn(binary, args, { stdio: ["ignore", "ignore", "pipe"] });
    nginx.#child.stderr.on("data", (data) => { nginx.#stderr += data; });
    nginx.#exit = new Promise((resolve) => nginx.#child.on("close", resolve));
    await within(Promise.race([nginx.#answers(), nginx.#exit.then(() => { throw new Error(`nginx ended:\n${nginx.#stderr}`); })]), "nginx to answer");
    return nginx;
  }

  // #answers returns once nginx takes requests; any answer is one.
  async #answers() {
    while (!(await fetch(`${this.url}/`).then(() => true, () => false))) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  async close() {
    this.#child.kill("SIGTERM");
    await within(this.#exit, "nginx to end");
    await rm(this.#dir, { recursive: true });
  }
}

// config is what is shipped, with these nodes for those of Compose, a free port on loopback, and its files in a folder of its own. The
// nodes have addresses, not names, and nginx may be older than 1.27.3: nothing is looked up.
function config(text, dir, port, nodes, upgrade) {
  const replace = (what, by) => {
    const replaced = text.replaceAll(what, by);
    if (replaced === text) throw new Error(`${shipped} has nothing that matches ${what}`);
    text = replaced;
  };
  replace(/^ *resolver 127\.0\.0\.11 [^;]*;\n/gm, "");
  replace(/( server node-\d:8080) resolve /g, "$1 ");
  const [, host, options] = text.match(/ server (node-1:8080)( [^;]*;)/);
  replace(new RegExp(` server ${host}${options}`, "g"), nodes.map((url) => ` server ${new URL(url).host}${options}`).join("\n"));
  replace(/^ *server node-\d:8080 [^;]*;\n/gm, "");
  replace(/ listen 8080;/g, ` listen 127.0.0.1:${port};`);
  replace(/ \/tmp\//g, ` ${dir}/`);
  replace(/access_log \/dev\/stdout without_query;/g, "access_log off;");
  if (!upgrade) replace(/^ *proxy_set_header (Upgrade|Connection) .*;\n/gm, "");
  return text;
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
