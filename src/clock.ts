// The only file that names Date, Math.random and timers: everything else is given a Clock.
// Captured when the module loads, so that a user's fake timers do not freeze delivery.

const { now: dateNow } = Date
const { random } = Math
const { setTimeout: startTimer, clearTimeout: stopTimer, setImmediate: nextTurn } = globalThis
const hrtime = performance.now.bind(performance)

/** A timer that was started and can be stopped. */
export interface Timer {
  cancel(): void
  /** Whether it keeps the process alive. */
  keep(alive: boolean): void
}

/** Time and chance, as the delivery engine sees them. */
export interface Clock {
  /** Wall clock, epoch ms. */
  now(): number
  /** Monotonic ms from an arbitrary origin. */
  monotonic(): number
  /** 0 ≤ x < 1. */
  random(): number
  /** Calls back once after `delayMs`; the timer keeps the process alive until told otherwise. */
  after(delayMs: number, callback: () => void): Timer
  /** Calls back in the next turn of the event loop. */
  turn(callback: () => void): void
  /** Told of finite work outside the loop (a commit, freezing), so that a manual clock waits for it. */
  working?(operation: Promise<unknown>): void
  /** How many of its ms pass in one of the machine's; leases between real processes are stretched by it. @default 1 */
  readonly scale?: number
}

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => dateNow(),
  monotonic: () => hrtime(),
  random: () => random(),
  after(delayMs, callback) {
    // Node's timers overflow above 2^31-1 ms and would fire at once
    const handle = startTimer(callback, Math.min(Math.max(0, delayMs), 2_147_000_000))
    return {
      cancel: () => stopTimer(handle),
      keep: (alive) => {
        if (alive) handle.ref()
        else handle.unref()
      },
    }
  },
  turn: (callback) => {
    nextTurn(callback)
  },
}

/** A moment as people and logs read it: `2026-01-31T12:00:00.000Z`. */
export function isoTime(at: number): string {
  return new Date(at).toISOString()
}
