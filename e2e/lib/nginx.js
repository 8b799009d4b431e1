// A real nginx in front of nodes: each request goes to the next of them, whoever sent it.

import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { within } from "./wait.js";

const places = [process.env.NGINX, ...`${process.env.PATH}:/usr/sbin`.split(":").map((folder) => path.join(folder, "nginx"))];

export class Nginx {
  #child;
  #dir;
  #exit;
  #stderr = "";

  // start serves each hub by the nodes that have it: {chat: [url, …], test: [url, …]}. Without upgrade no WebSocket gets through.
  static async start(hubs, { upgrade = true } = {}) {
    const binary = places.find((place) => place && existsSync(place));
    if (!binary) throw new Error("no nginx: run make setup, or set NGINX=/path/to/it");
    const nginx = new Nginx();
    nginx.#dir = await mkdtemp(path.join(tmpdir(), "hubfleet-nginx-"));
    const port = await freePort();
    nginx.url = `http://127.0.0.1:${port}`;
    const file = path.join(nginx.#dir, "nginx.conf");
    await writeFile(file, config(nginx.#dir, port, hubs, upgrade));
    const args = ["-p", nginx.#dir, "-e", "stderr", "-c", file];
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

// config needs no root, writes nowhere but into its folder, and keeps no node away: one that has gone is tried and passed over
// at each request anew.
const config = (dir, port, hubs, upgrade) => `
daemon off;
master_process off;
pid ${dir}/pid;
error_log stderr crit;
events { worker_connections 1024; }
http {
  access_log off;
  client_body_temp_path ${dir}/body;
  proxy_temp_path ${dir}/proxy;
  fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi;
  scgi_temp_path ${dir}/scgi;
  map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
${Object.entries(hubs).map(([name, urls]) => `  upstream ${name} {
${urls.map((url) => `    server ${new URL(url).host} max_fails=0;`).join("\n")}
  }`).join("\n")}
  server {
    listen 127.0.0.1:${port};
    proxy_http_version 1.1;
    proxy_set_header Host $http_host;
${upgrade ? `    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection $connection_upgrade;` : `    proxy_set_header Connection "";`}
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    proxy_buffering off;
    proxy_connect_timeout 2s;
    proxy_read_timeout 120s;
    proxy_send_timeout 120s;
${Object.keys(hubs).map((name) => `    location /${name} { proxy_pass http://${name}; }`).join("\n")}
    location / { return 404; }
  }
}
`;

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
