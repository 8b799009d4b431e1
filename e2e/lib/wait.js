// Waiting for what must happen, with a deadline that says what did not.

import { setTimeout as timer } from "node:timers";

export const patience = 60_000; // milliseconds; generous, since a slow machine is no fault

// within fails when the promise takes too long; what names it in the error.
export function within(promise, what, milliseconds = patience) {
  let clock;
  const late = new Promise((_, reject) => {
    clock = timer(() => reject(new Error(`not within ${milliseconds} ms: ${what}`)), milliseconds);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(clock));
}

// A Log keeps what happened, in order, and lets one wait for more.
export class Log {
  entries = [];
  #waiting = new Set();

  add(entry) {
    this.entries.push(entry);
    for (const check of this.#waiting) check();
  }

  // until returns what look makes of the entries, as soon as that is truthy.
  until(look, what, milliseconds) {
    let check;
    const found = new Promise((resolve) => {
      check = () => {
        const result = look(this.entries);
        if (result) resolve(result);
      };
      this.#waiting.add(check);
      check();
    });
    return within(found, what, milliseconds).finally(() => this.#waiting.delete(check));
  }

  // first returns the first entry, at or after a position, that matches.
  first(matches, what, from = 0) {
    return this.until((entries) => entries.find((entry, i) => i >= from && matches(entry)), what);
  }
}
