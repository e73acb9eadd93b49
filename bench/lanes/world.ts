// An event queue in which senders meet modelled receivers: five connections, a backlog, and the clock of a heap.
// The rivals live here because they are a few lines each; steadymail runs as itself, in src/testing/simulate.ts.

import { Heap } from '../../src/core/heap.ts'
import { type ReceiverSpec, receiver } from '../../src/testing/models.ts'

export interface Scenario {
  readonly name: string
  readonly receiver: ReceiverSpec | readonly ReceiverSpec[]
  /** Waiting at the start, each to another mailbox. */
  readonly messages: number
  /** How long an accepted transaction takes. */
  readonly tookMs: number
}

export interface Ran {
  readonly delivered: number
  /** When the last one was delivered, ms from the start; `Infinity` when some never were. */
  readonly drainMs: number
  readonly attempts: number
  /** Refusals because a limit was passed. */
  readonly violations: number
}

/** A way to send: what each message waits after its nth refusal, and a limit on all. */
export interface Way {
  readonly delayMs: (refusals: number, random: () => number) => number
  /** Attempts per ms, after a burst of one. */
  readonly perMs?: number
  readonly connections?: number
}

export const START = 1_767_225_600_000
export const HORIZON_MS = 5 * 86_400_000
export const CONNECTIONS = 5
const REFUSED_MS = 100

/** Small, seeded, the same from run to run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export const mailbox = (message: number) => `r${message}@receiver.example`
export const SENDER = 'news@sender.example'

/** Sends the backlog in one of the rivals' ways. */
export function sendIn(way: Way, scenario: Scenario, seed = 1): Ran {
  const random = seeded(seed)
  const peer = receiver(scenario.receiver, START)
  const due = new Heap<number>()
  const answered = new Heap<() => void>()
  const refusals = new Uint32Array(scenario.messages)
  for (let message = 0; message < scenario.messages; message += 1) due.push(START, message)
  const connections = way.connections ?? CONNECTIONS
  let [now, open, attempts, violations, delivered, lastAt, tokenAt] = [START, 0, 0, 0, 0, START, START]

  while (delivered < scenario.messages) {
    const free = open < connections && due.size > 0
    const next = Math.min(answered.next, free ? Math.max(now, due.next, tokenAt) : Infinity)
    if (next > START + HORIZON_MS) break
    now = Math.max(now, next)
    if (answered.next <= now) {
      answered.pop()?.()
      continue
    }
    const message = due.pop() ?? 0
    if (way.perMs !== undefined) tokenAt = Math.max(tokenAt, now) + 1 / way.perMs
    attempts += 1
    open += 1
    const [refusal] = peer.answer(now, { sender: SENDER, recipients: [mailbox(message)], connections: open })
    const took = refusal ? REFUSED_MS : scenario.tookMs * (0.5 + random())
    if (refusal?.violation) violations += 1
    answered.push(now + took, () => {
      open -= 1
      if (refusal === undefined) {
        delivered += 1
        lastAt = now
        return
      }
      refusals[message] = (refusals[message] ?? 0) + 1
      due.push(now + way.delayMs(refusals[message] ?? 1, random), message)
    })
  }
  const drainMs = delivered === scenario.messages ? lastAt - START : Infinity
  return { delivered, drainMs, attempts, violations }
}

/** The bound: sends each message at the first moment at which it would be accepted. */
export function omniscient(scenario: Scenario): Ran {
  const peer = receiver(scenario.receiver, START)
  const random = seeded(1)
  const answered = new Heap<boolean>()
  const waiting = new Heap<number>()
  for (let message = 0; message < scenario.messages; message += 1) waiting.push(START, message)
  let [now, open, attempts, delivered, lastAt] = [START, 0, 0, 0, START]
  while (delivered < scenario.messages) {
    const message = waiting.peek()
    const attempt = { sender: SENDER, recipients: [mailbox(message ?? 0)], connections: open + 1 }
    const clear =
      open < CONNECTIONS && message !== undefined
        ? peer.clearAt(Math.max(now, waiting.next), attempt)
        : Infinity
    const next = Math.min(answered.next, Math.max(now, clear))
    if (next === Infinity) break
    now = next
    if (answered.next <= now) {
      open -= 1
      if (answered.pop()) {
        delivered += 1
        lastAt = now
      }
      continue
    }
    waiting.pop()
    attempts += 1
    open += 1
    const [refusal] = peer.answer(now, attempt)
    answered.push(now + (refusal ? REFUSED_MS : scenario.tookMs * (0.5 + random())), refusal === undefined)
    if (refusal !== undefined && message !== undefined) waiting.push(peer.clearAt(now + 1, attempt), message)
  }
  return { delivered, drainMs: lastAt - START, attempts, violations: 0 }
}

/** The rivals, by name; `perMs` is the rate the receiver really allows. */
export function rivals(
  perMs: number | undefined,
  connections: number | undefined,
): Readonly<Record<string, Way>> {
  const exponential = (refusals: number, random: () => number) =>
    // p-retry's defaults (factor 2 from 1 s, randomised), kept up to an hour instead of giving up after ten
    Math.min(3_600_000, 1_000 * 2 ** (refusals - 1) * (1 + random()))
  return {
    'naive (again after 60 s)': { delayMs: () => 60_000 },
    'exponential per message': { delayMs: exponential },
    'fixed limiter, right': {
      delayMs: exponential,
      ...(perMs !== undefined && { perMs }),
      ...(connections !== undefined && { connections }),
    },
    'fixed limiter, 3× too high': {
      delayMs: exponential,
      ...(perMs !== undefined && { perMs: perMs * 3 }),
      ...(connections !== undefined && { connections: Math.min(CONNECTIONS, connections * 3) }),
    },
  }
}
