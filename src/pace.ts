// Lets the event loop turn between the steps of a loop of promises that would never wait for it by itself, so that
// timers, sockets and other work are not held up until it has ended.

import type { Breath } from './breath.ts'

/** Steps that may follow each other without a turn, however short they are. */
const STEPS = 32

export class Pace {
  readonly #breath: Breath
  #steps = 0

  constructor(breath: Breath) {
    this.#breath = breath
  }

  /** To be awaited after each step; one in 32, and one that ends late in its turn, waits for the next turn. */
  step(): Promise<void> | undefined {
    if (++this.#steps % STEPS > 0 && !this.#breath.isSpent) return undefined
    return this.#breath.next()
  }
}
