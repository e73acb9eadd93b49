// steadymail/bottleneck: a Bottleneck limiter as the egress gate, for an account quota that several processes
// share through Redis. A permit is one scheduled function; it is acquired before mail is claimed, so a limiter
// that stops, drops or loses Redis leaves the outbox as it was. Not for lanes: they need to know when, not whether.

import { systemClock } from './clock.ts'
import { badOption, SteadymailError, wordsOf } from './core/error.ts'
import type { Priority } from './core/message.ts'
import type { EgressGate } from './gate.ts'

export type { EgressGate } from './gate.ts'

/** What is used of a Bottleneck (2.19), so that any copy of it fits. */
export interface BottleneckLike {
  schedule<T>(options: { readonly priority: number }, use: () => PromiseLike<T>): Promise<T>
  stop(options: {
    readonly dropWaitingJobs: boolean
    readonly dropErrorMessage: string
    readonly enqueueErrorMessage: string
  }): Promise<void>
}

/** How a Bottleneck limiter is used as a gate. */
export interface BottleneckGateOptions {
  /**
   * When the mailer closes: `stop` the limiter, dropping what waits in it; or `leave` it running because other
   * code uses it, and only withdraw our own requests, each of which still spends its turn.
   * @default 'stop'
   */
  readonly onClose?: 'stop' | 'leave'
}

/** Bottleneck's priorities go from 0, first, to 9; 5 is its default, so other users of the limiter fit in between. */
const PRIORITY: Readonly<Record<Priority, number>> = { 0: 3, 1: 5, 2: 7 }

const CLOSED = 'egress.gate: closed'

/**
 * Makes a Bottleneck instance the gate of `egress: { gate }`. High priority is scheduled as 3, normal as 5, bulk as 7.
 * Its requests reject with a `SteadymailError`: `CLOSED` once the mailer closed or the limiter was stopped,
 * `BAD_STATE` when the limiter's `highWater` dropped one. Redis errors pass through as they are.
 * @throws {SteadymailError} `BAD_OPTION` for what is no limiter, or one with `rejectOnDrop: false`, which never answers
 */
export function bottleneckGate(limiter: BottleneckLike, options: BottleneckGateOptions = {}): EgressGate {
  check(limiter, options)
  const waiting = new Set<Request>()
  let closing: Promise<void> | undefined
  return {
    async schedule<T>(use: () => Promise<T>, { priority }: { readonly priority: Priority }): Promise<T> {
      if (closing !== undefined) throw closed()
      const request = new Request()
      waiting.add(request)
      const granted = () => {
        waiting.delete(request)
        if (request.withdrawn) throw closed()
        return use()
      }
      try {
        return await Promise.race([limiter.schedule({ priority: PRIORITY[priority] }, granted), request.lost])
      } catch (error) {
        throw understood(error)
      } finally {
        waiting.delete(request)
      }
    },
    waitingMs() {
      const [oldest] = waiting // in the order they were made
      return oldest === undefined ? undefined : systemClock.monotonic() - oldest.since
    },
    close() {
      closing ??= options.onClose === 'leave' ? Promise.resolve() : stop(limiter)
      for (const request of waiting) request.withdraw()
      waiting.clear()
      return closing
    },
  }
}

/** One wait for a permit. */
class Request {
  readonly since = systemClock.monotonic()
  withdrawn = false
  /** Rejects when the request is withdrawn. */
  readonly lost: Promise<never>
  #reject: (error: Error) => void = () => {}

  constructor() {
    this.lost = new Promise<never>((_, reject) => {
      this.#reject = reject
    })
    this.lost.catch(() => {}) // it may lose the race
  }

  withdraw(): void {
    this.withdrawn = true
    this.#reject(closed())
  }
}

function check(limiter: unknown, options: BottleneckGateOptions): void {
  const given = limiter as { schedule?: unknown; stop?: unknown; rejectOnDrop?: unknown } | null | undefined
  if (typeof given?.schedule !== 'function' || typeof given.stop !== 'function')
    throw badOption('limiter', 'a Bottleneck instance', limiter)
  if (given.rejectOnDrop === false)
    throw badOption('limiter.rejectOnDrop', 'true, else a dropped request never ends', false)
  if (options.onClose !== undefined && options.onClose !== 'stop' && options.onClose !== 'leave')
    throw badOption('onClose', "one of 'stop', 'leave'", options.onClose)
}

async function stop(limiter: BottleneckLike): Promise<void> {
  try {
    await limiter.stop({ dropWaitingJobs: true, dropErrorMessage: CLOSED, enqueueErrorMessage: CLOSED })
  } catch (error) {
    // its owner stopped it before us, which is what we wanted
    if (!isStopped(error)) throw error
  }
}

function understood(error: unknown): unknown {
  if (SteadymailError.is(error)) return error
  if (isStopped(error)) return closed(error)
  if (wordsOf(error) === 'This job has been dropped by Bottleneck')
    return new SteadymailError(
      'BAD_STATE',
      'egress.gate: the limiter dropped the request, its highWater is reached',
      {
        path: 'egress.gate',
        cause: error,
      },
    )
  return error
}

function isStopped(error: unknown): boolean {
  const message = wordsOf(error)
  return message === CLOSED || /limiter has been stopped|stop\(\) has already been called/.test(message)
}

function closed(cause?: unknown): SteadymailError {
  return new SteadymailError('CLOSED', `${CLOSED}, no more permits`, { path: 'egress.gate', cause })
}
