// A clock that moves when told: five days pass in a millisecond, in the order in which they would.
// Timers fire at their moment; between two of them the event loop runs until nothing more comes of it.

import type { Clock, Timer } from '../clock.ts'
import { systemClock } from '../clock.ts'
import { Heap } from '../core/heap.ts'

/** A clock that stands still until it is told to move. */
export interface ManualClock extends Clock {
  /** Moves on by `ms`, firing what falls due, and lets each have its consequences first. */
  advance(ms: number): Promise<void>
  /** Moves on from timer to timer until `done()` holds; throws when `limitMs` have passed without it. */
  advanceUntil(done: () => boolean, limitMs?: number): Promise<void>
  /**
   * Moves on from timer to timer until the promise settles, and gives its value. While `busy()` holds, as
   * while a real socket's answer is awaited, time stands still and the event loop runs.
   * @throws what the promise rejects with; an Error when `limitMs` of its time have passed
   */
  runUntil<T>(
    promise: Promise<T>,
    options?: { readonly busy?: () => boolean | Promise<boolean>; readonly limitMs?: number },
  ): Promise<T>
  /** Lets everything that is due now have its consequences; time stands still. */
  settle(): Promise<void>
  /** Moves the wall clock only, as an administrator or NTP would. */
  jump(ms: number): void
  /** How many timers are set. */
  readonly timers: number
}

interface Alarm {
  at: number
  callback: (() => void) | undefined
}

/**
 * Makes a clock for `wrapTransport({ clock })`: days of holds and retries pass in milliseconds, in their order.
 * @param options.start epoch ms at which it begins. @default 2026-01-01T00:00:00Z
 * @param options.seed of its `random()`, which repeats from run to run. @default 1
 */
export function manualClock(options: { start?: number; seed?: number } = {}): ManualClock {
  let now = options.start ?? 1_767_225_600_000
  let jumped = 0
  let seed = (options.seed ?? 1) >>> 0
  const alarms = new Heap<Alarm>()
  let live = 0
  let turns = 0
  let working = 0

  const turn = () => new Promise<void>((resolve) => systemClock.turn(resolve))

  async function settle(): Promise<void> {
    // three empty turns in a row: promises, setImmediate and a socket's answer to either have run out
    for (let quiet = 0; quiet < 3; quiet++) {
      await turn()
      if (turns > 0 || working > 0) quiet = -1
    }
  }

  async function moveTo(target: number, done: () => boolean): Promise<boolean> {
    await settle()
    while (!done()) {
      const next = alarms.peek()
      if (next === undefined || next.at > target) {
        now = Math.max(now, target)
        return done()
      }
      alarms.pop()
      if (next.callback === undefined) continue
      now = Math.max(now, next.at)
      live--
      const { callback } = next
      next.callback = undefined
      callback()
      await settle()
    }
    return true
  }

  return {
    now: () => now + jumped,
    monotonic: () => now,
    random() {
      // mulberry32: small, seeded, good enough for jitter
      seed = (seed + 0x6d2b79f5) >>> 0
      let t = seed
      t = Math.imul(t ^ (t >>> 15), t | 1)
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
      return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
    },
    after(delayMs, callback): Timer {
      const alarm: Alarm = { at: now + Math.max(0, delayMs), callback }
      alarms.push(alarm.at, alarm)
      live++
      return {
        cancel() {
          if (alarm.callback === undefined) return
          alarm.callback = undefined
          live--
        },
        keep() {},
      }
    },
    turn(callback) {
      turns++
      systemClock.turn(() => {
        turns--
        callback()
      })
    },
    working(operation) {
      working++
      const over = () => {
        working--
      }
      operation.then(over, over)
    },
    async advance(ms) {
      await moveTo(now + ms, () => false)
    },
    async advanceUntil(done, limitMs = 30 * 86_400_000) {
      const target = now + limitMs
      if (!(await moveTo(target, done))) throw new Error(`manualClock: not done within ${limitMs} ms`)
    },
    async runUntil(promise, { busy, limitMs = 30 * 86_400_000 } = {}) {
      const limit = now + limitMs
      let over = false
      const end = () => {
        over = true
      }
      promise.then(end, end)
      for (;;) {
        // what is due now may make it busy: asked only when nothing more comes of it
        await settle()
        if (over) break
        if (await busy?.()) {
          await turn()
          continue
        }
        const next = alarms.peek()
        if (next === undefined) continue // nothing is set: only a socket or a file can still move things
        if (next.at > limit) throw new Error(`manualClock: not settled within ${limitMs} ms`)
        await moveTo(next.at, () => over || (alarms.peek()?.at ?? Number.POSITIVE_INFINITY) > next.at)
      }
      return promise
    },
    settle,
    jump(ms) {
      jumped += ms
    },
    get timers() {
      return live
    },
  }
}
