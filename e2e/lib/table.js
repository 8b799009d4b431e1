// The table of what works with which client over what, in docs/compatibility.md between two marks. It is made of the tests that
// ran. HUBFLEET_UPDATE=1 writes it; else what is written there must hold what ran.

import { readFileSync, writeFileSync } from "node:fs";

const file = new URL("../../docs/compatibility.md", import.meta.url);
const begin = "<!-- the table that the tests write begins here -->\n";
const end = "<!-- and ends here -->\n";
export const update = process.env.HUBFLEET_UPDATE === "1";

export class Table {
  #head;
  #features;
  #rows = new Map(); // "a | b" → feature → "yes" or "no"

  // head names the columns that say what a row is about; the features' columns follow.
  constructor(head, features) {
    [this.#head, this.#features] = [head, features];
  }

  // cell returns a function that runs the test and writes down how it ended.
  cell(about, feature, run) {
    if (!this.#features.includes(feature)) throw new Error(`the table has no column ${feature}`);
    const key = about.join(" | ");
    if (!this.#rows.has(key)) this.#rows.set(key, new Map());
    const row = this.#rows.get(key);
    return async (t) => {
      row.set(feature, "no");
      await run(t);
      row.set(feature, "yes");
    };
  }

  toString() {
    const line = (cells) => `| ${cells.join(" | ")} |\n`;
    const rows = [...this.#rows].map(([key, row]) => line([key, ...this.#features.map((feature) => row.get(feature) ?? "–")]));
    return line([...this.#head, ...this.#features]) + line([...this.#head, ...this.#features].map(() => "---")) + rows.join("");
  }

  // faults says what the document does not hold of what ran.
  faults() {
    const [, committed] = parts();
    const [head = [], , ...lines] = committed.trim().split("\n").map((text) => text.slice(2, -2).split(" | "));
    const faults = [];
    for (const [key, row] of this.#rows) {
      const written = lines.find((cells) => cells.slice(0, this.#head.length).join(" | ") === key);
      for (const [feature, outcome] of row) {
        const holds = written?.[head.indexOf(feature)];
        if (holds !== outcome) faults.push(`${key}, ${feature}: ${outcome} now, ${holds ?? "nothing"} in the document`);
      }
    }
    return faults;
  }

  write() {
    const [before, , after] = parts();
    writeFileSync(file, before + begin + this.toString() + end + after);
  }
}

function parts() {
  const text = readFileSync(file, "utf8");
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`docs/compatibility.md lacks the marks\n${begin}${end}`);
  return [text.slice(0, from), text.slice(from + begin.length, to), text.slice(to + end.length)];
}
