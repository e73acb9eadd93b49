// Lets in so many at a time; the others wait in line. p-queue bounds those inside: each of its tasks serves whoever is
// next until nobody waits. A place in p-queue's own line costs a call several times what one in ours does, and a burst
// of thousands takes its places in one turn of the event loop.

import PQueue from 'p-queue'

/** Somebody who waits, or who has just been let in. */
type Guest = () => Promise<void>

/** Places at the front of the line that are empty before it is moved up. */
const EMPTY_MOST = 1_024

export class Turnstile {
  readonly #inside: PQueue
  /** Those who wait, from `#next` on. */
  #line: Guest[] = []
  #next = 0
  /** Tasks of p-queue's that will let in whoever comes next. */
  #serving = 0
  /** Those of them that p-queue has not started yet. */
  #coming = 0

  constructor(most: number) {
    this.#inside = new PQueue({ concurrency: most })
  }

  /** So many may be inside; when there are more, nobody is let in until enough have left. */
  allow(most: number): void {
    if (most === this.#inside.concurrency) return
    this.#inside.concurrency = most
    this.#serve()
  }

  /** Does it when there is room, in order of the calls; settles as it does. */
  run<T>(task: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#line.push(() => task().then(resolve, reject))
      this.#serve()
    })
  }

  /** Resolves when nobody is inside or waits. */
  idle(): Promise<void> {
    return this.#inside.onIdle()
  }

  get #waiting(): number {
    return this.#line.length - this.#next
  }

  #serve(): void {
    while (this.#waiting > this.#coming && this.#serving < this.#inside.concurrency) {
      this.#serving++
      this.#coming++
      void this.#inside.add(() => this.#letIn())
    }
  }

  async #letIn(): Promise<void> {
    this.#coming--
    while (this.#waiting > 0 && this.#serving <= this.#inside.concurrency) await this.#take()()
    this.#serving--
  }

  #take(): Guest {
    const line = this.#line
    const guest = line[this.#next] as Guest
    line[this.#next++] = nobody // an empty place must not keep alive who stood there
    if (this.#next === line.length) {
      this.#line = []
      this.#next = 0
    } else if (this.#next > EMPTY_MOST && this.#next * 2 > line.length) {
      this.#line = line.slice(this.#next)
      this.#next = 0
    }
    return guest
  }
}

const nobody: Guest = () => Promise.resolve()
