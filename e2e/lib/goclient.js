// The Go client, run by the bridge in e2e/goclient, with as much of the official client's face as the checks look at.

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { within } from "./wait.js";

export class GoClients {
  #child;
  #exit;
  #connections = [];
  #answers = new Map(); // by the order's id
  #orders = 0;

  constructor() {
    this.#child = spawn(fileURLToPath(new URL("../../bin/goclient", import.meta.url)), { stdio: ["pipe", "pipe", "inherit"] });
    this.#exit = new Promise((resolve) => this.#child.on("close", resolve));
    createInterface({ input: this.#child.stdout }).on("line", (line) => this.#report(JSON.parse(line)));
  }

  // connection makes one that is not started yet, of the options that official in client.js has: transport, protocol, reconnect, stateful.
  connection(url, options) {
    const client = this.#connections.length;
    const connection = new GoConnection(url, options, (order) => this.#ask({ client, ...order }), (order) => this.#tell({ client, ...order }));
    this.#connections.push(connection);
    return connection;
  }

  // #ask gives an order that is answered, #tell one that is not.
  #ask(order) {
    const id = ++this.#orders;
    this.#tell({ id, ...order });
    return new Promise((resolve, reject) => this.#answers.set(id, { resolve, reject }));
  }

  #tell(order) { this.#child.stdin.write(`${JSON.stringify(order)}\n`); }

  #report({ id, client, event, value, error, ...rest }) {
    if (event) this.#connections[client].happened(event, { value, error, ...rest });
    if (!id) return;
    const { resolve, reject } = this.#answers.get(id);
    this.#answers.delete(id);
    if (error === undefined) resolve(value);
    else reject(new Error(error));
  }

  // close fails when the bridge did not end well, for instance because of a data race.
  async close() {
    this.#child.stdin.end();
    const code = await within(this.#exit, "the bridge to end");
    if (code !== 0) throw new Error(`the bridge ended with ${code}`);
  }
}

// tag makes a value one that JSON can carry: {"$bytes": BASE64} stands for binary, {"$date": MILLISECONDS} for a moment.
function tag(value) {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString("base64") };
  if (value instanceof Date) return { $date: value.getTime() };
  return inside(value, tag);
}

function untag(value) {
  if (value?.$bytes !== undefined) return new Uint8Array(Buffer.from(value.$bytes, "base64"));
  if (value?.$date !== undefined) return new Date(value.$date);
  return inside(value, untag);
}

// inside changes what is in a value.
function inside(value, change) {
  if (Array.isArray(value)) return value.map(change);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, change(part)]));
}

class GoConnection {
  #url;
  #options;
  #ask;
  #tell;
  #handlers = {};
  #streams = new Map(); // by number
  #numbers = 0;

  constructor(url, options, ask, tell) {
    [this.#url, this.#options, this.#ask, this.#tell] = [url, options, ask, tell];
  }

  async start() {
    this.connectionId = await this.#ask({ op: "connect", url: this.#url, ...this.#options });
  }

  stop() { return this.#ask({ op: "stop" }); }

  on(method, handler) {
    this.#handlers[method] = handler;
    if (method === "Answer") this.#tell({ op: "on", method });
  }

  onreconnecting(handler) { this.#handlers.reconnecting = handler; }
  onreconnected(handler) { this.#handlers.reconnected = handler; }
  onclose(handler) { this.#handlers.closed = handler; }

  invoke(method, ...args) { return this.#call("invoke", method, args); }
  send(method, ...args) { return this.#call("send", method, args); }

  stream(method, ...args) {
    return {
      subscribe: (subscriber) => {
        const stream = ++this.#numbers;
        this.#streams.set(stream, subscriber);
        this.#call("stream", method, args, { stream }).catch(() => {}); // the end is an event as well
        return { dispose: () => { if (this.#streams.delete(stream)) this.#tell({ op: "cancel", stream }); } };
      },
    };
  }

  // #call gives an order whose arguments may be subjects.
  #call(op, method, args, more) {
    const uploads = [];
    const prepared = args.map((value) => {
      if (typeof value?.subscribe !== "function") return { value: tag(value) };
      const upload = ++this.#numbers;
      uploads.push([upload, value]);
      return { upload };
    });
    const done = this.#ask({ op, method, args: prepared, ...more }).then(untag);
    for (const [stream, subject] of uploads) {
      subject.subscribe({
        next: (item) => { this.#tell({ op: "item", stream, item }); },
        error: (err) => { this.#tell({ op: "end", stream, error: err.message }); },
        complete: () => { this.#tell({ op: "end", stream }); },
      });
    }
    return done;
  }

  // happened is told what the client does by itself.
  async happened(event, { value, error, stream, args = [] }) {
    const subscriber = this.#streams.get(stream);
    switch (event) {
      case "message": this.#handlers.ReceiveMessage(...args); break;
      case "system": this.#handlers.SystemMessage(...args); break;
      case "item": subscriber?.next(value); break;
      case "streamed":
        this.#streams.delete(stream);
        if (error === undefined) subscriber?.complete();
        else subscriber?.error(new Error(error));
        break;
      case "question": {
        const answer = await Promise.resolve(args).then((all) => this.#handlers.Answer(...all)).then((item) => ({ item }), (err) => ({ error: err.message }));
        this.#tell({ op: "answer", stream, ...answer });
        break;
      }
      case "reconnected":
        [this.connectionId] = args;
        this.#handlers.reconnected(...args);
        break;
      default: this.#handlers[event](error && new Error(error));
    }
  }
}
