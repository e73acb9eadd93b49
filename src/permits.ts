// Permits of a shared gate, acquired before anything is claimed: asked for while there are free slots and
// ready lanes, used one by one, given back when there is nothing to send.

import type { Priority } from './core/message.ts'
import type { EgressGate } from './gate.ts'

export class Permits {
  readonly #gate: EgressGate
  readonly #onGranted: () => void
  readonly #onRefused: (error: unknown) => void
  #asking = 0
  #granted: (() => void)[] = []

  constructor(gate: EgressGate, onGranted: () => void, onRefused: (error: unknown) => void) {
    this.#gate = gate
    this.#onGranted = onGranted
    this.#onRefused = onRefused
  }

  /** Asked for and not answered yet. */
  get asking(): number {
    return this.#asking
  }

  /** Granted and not used yet. */
  get granted(): number {
    return this.#granted.length
  }

  /** Asks until so many are asked for or granted. */
  ask(wanted: number, priority: Priority): void {
    while (this.#asking + this.#granted.length < wanted) {
      this.#asking++
      let waiting = true
      const answered = () => {
        if (waiting) this.#asking--
        waiting = false
      }
      const use = () =>
        new Promise<void>((giveBack) => {
          answered()
          this.#granted.push(giveBack)
          this.#onGranted()
        })
      const refused = (error: unknown) => {
        answered()
        this.#onRefused(error)
      }
      try {
        this.#gate.schedule(use, { priority }).catch(refused)
      } catch (error) {
        refused(error) // thrown, not rejected: it must not end the loop
        return // and asked again at once it would throw again
      }
    }
  }

  /** Takes a granted permit for an attempt; call what it gives when the attempt is over. */
  take(): (() => void) | undefined {
    return this.#granted.shift()
  }

  /** Gives back all granted ones but so many. */
  keep(count: number): void {
    for (const giveBack of this.#granted.splice(count)) giveBack()
  }
}
