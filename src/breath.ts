// Tells who works on by promises alone, for which the event loop never turns, that it should turn now: timers, sockets
// and the application's own work wait for that. One for all parts of a mailer, since their times add up.

import type { Clock } from './clock.ts'

/** So long our own work may keep a turn of the event loop before what can wait does. */
const MOST_MS = 4

export class Breath {
  readonly #clock: Clock
  readonly #most: number
  #turned: Promise<void> | undefined
  #rested: Promise<void> | undefined
  #began = 0
  #turn = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.#most = MOST_MS * (clock.scale ?? 1)
  }

  /** The number of this turn of the event loop, of those in which somebody asked. */
  get turn(): number {
    this.#note()
    return this.#turn
  }

  /** Whether our work has kept this turn for long enough. */
  get isSpent(): boolean {
    this.#note()
    return this.#clock.monotonic() - this.#began >= this.#most
  }

  /** Resolves in the next turn; when this one is spent, once timers and sockets have certainly had theirs. */
  next(): Promise<void> {
    if (!this.isSpent) return this.#note()
    // what is to be called in the next turn may be called in this one still, after what is under way
    this.#rested ??= new Promise((resolve) => {
      this.#clock.turn(() =>
        this.#clock.turn(() => {
          this.#rested = undefined
          resolve()
        }),
      )
    })
    return this.#rested
  }

  #note(): Promise<void> {
    if (this.#turned !== undefined) return this.#turned
    this.#turn++
    this.#began = this.#clock.monotonic()
    this.#turned = new Promise((resolve) => {
      this.#clock.turn(() => {
        this.#turned = undefined
        resolve()
      })
    })
    return this.#turned
  }
}
