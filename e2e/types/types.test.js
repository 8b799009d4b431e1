// What hubgen writes, before the real TypeScript compiler: right uses compile and run, wrong ones are found.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { Client, stopAll } from "../lib/client.js";
import { Cluster } from "../lib/cluster.js";

const run = promisify(execFile);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

let out; // where the compiled files go
before(async () => {
  out = await mkdtemp(path.join(os.tmpdir(), "hubgen-"));
  await writeFile(path.join(out, "package.json"), '{ "type": "module" }');
  await symlink(here("../node_modules"), path.join(out, "node_modules"));
});
after(() => rm(out, { recursive: true }));

// compile returns the errors that the compiler finds: for each the file, the line, and the error without its explanation.
async function compile(...args) {
  const tsc = here("../node_modules/typescript/bin/tsc");
  const options = { cwd: here(".") };
  const { code = 0, stdout } = await run(process.execPath, [tsc, "--pretty", "false", ...args], options).catch((err) => err);
  const errors = [...stdout.matchAll(/^(\S+?)\((\d+),\d+\): error (TS\d+: .*)$/gm)];
  assert.equal(code === 0, errors.length === 0, `tsc ends with ${code} and says:\n${stdout}`);
  return errors.map(([, file, line, error]) => ({ file, line: Number(line), error }));
}

// expected reads from a file the errors that it has.
async function expected(file) {
  const lines = (await readFile(here(file), "utf8")).split("\n");
  return lines.flatMap((text, i) => {
    const error = text.match(/\/\/ (TS\d+: .*)$/)?.[1];
    return error ? [{ file, line: i + 1, error }] : [];
  });
}

test("right uses compile with --strict, as does all else that hubgen's tests write", async () => {
  assert.deepEqual(await compile("-p", "tsconfig.json", "--outDir", out), []);
});

test("wrong uses are found, each where it stands", async () => {
  const want = await expected("wrong.ts");
  assert.ok(want.length >= 25, `wrong.ts has ${want.length} errors`);
  assert.deepEqual(await compile("-p", "tsconfig.wrong.json", "--noEmit"), want);
});

test("right uses work", async () => {
  const { say, count } = await import(pathToFileURL(path.join(out, "e2e/types/right.js")));
  const cluster = await Cluster.start({ nodes: 1, redis: "none" });
  try {
    const ada = await Client.connect(cluster.url, { user: "ada" });
    assert.deepEqual(await say(ada.connection), ["ada: invoked", "ada: sent", "ADA", '{"deep":[1,null]}']);
    assert.equal(await count(ada.connection, 10), 50);
  } finally {
    await stopAll();
    await cluster.close();
  }
});
