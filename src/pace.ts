// Lets the event loop turn between the steps of a loop of promises that would never wait for it by itself, so that
// timers, sockets and other work are not held up until it has ended.

import type { Clock } from './clock.ts'

/** Steps that may follow each other without a turn: reads of a store, about a millisecond together. */
const STEPS = 32

export class Pace {
  readonly #clock: Clock
  #steps = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** To be awaited after each step; one in 32 waits for the next turn. */
  step(): Promise<void> | undefined {
    if (++this.#steps % STEPS > 0) return undefined
    return new Promise((resolve) => this.#clock.turn(resolve))
  }
}
