// What the mailer tells while it happens: one typed event per decision, best effort.
// A listener that throws or rejects cannot stop delivery. What must not be missed is `onSettled` (mailer.ts).

import { types } from 'node:util'
import type { AttemptRecord, DeliveryState, FailReason } from './core/delivery.ts'
import type { Reply } from './core/reply.ts'
import type { Verdict } from './core/verdict.ts'

/** The message an event is about. */
export interface AboutMessage {
  /** The ticket's id. */
  readonly id: string
  /** The user's key, where one was given. */
  readonly key?: string
  /** The Message-ID header. */
  readonly messageId: string
  /** The user's `meta`. */
  readonly meta?: unknown
}

/** The recipient an event is about. */
export interface AboutRecipient extends AboutMessage {
  readonly recipient: {
    /** As given in the envelope. */
    readonly address: string
    readonly domain: string
    readonly lane: string
    /** Tries so far, this one included. */
    readonly tries: number
    /** Tries that advanced the back-off. */
    readonly attempts: number
  }
}

/** How one recipient ended, or where it stands. */
export interface RecipientStatus {
  readonly address: string
  readonly domain: string
  readonly lane: string
  readonly state: DeliveryState
  /** Why it failed. */
  readonly reason?: FailReason
  /** Tries that advanced the back-off. */
  readonly attempts: number
  /** Tries so far. */
  readonly tries: number
  /** Whether some try may have delivered without our hearing of it. */
  readonly uncertain: boolean
  /** Epoch ms of the next try, while waiting. */
  readonly nextAttemptAt?: number
  /** Epoch ms at which it is given up. */
  readonly expiresAt: number
  /** Epoch ms. */
  readonly settledAt?: number
  /** The newest reply. */
  readonly reply?: Reply
  /** What the newest reply meant; absent when it was accepted. */
  readonly verdict?: NonNullable<AttemptRecord['verdict']>
  /** Every try, oldest first. */
  readonly history: readonly AttemptRecord[]
}

/** How a message ended: every recipient in exactly one way. */
export interface Outcome extends AboutMessage {
  /** `accepted`: the next hop took it for every recipient, which a relay may still bounce later. */
  readonly status: 'accepted' | 'partial' | 'failed'
  readonly recipients: readonly RecipientStatus[]
  /** Epoch ms. */
  readonly settledAt: number
}

/** Where a message stands. */
export interface MessageStatus extends AboutMessage {
  /** `parked`: at least one recipient waits for a person. */
  readonly state: 'waiting' | 'parked' | 'settled'
  readonly recipients: readonly RecipientStatus[]
  /** Epoch ms. */
  readonly createdAt: number
  /** Epoch ms. */
  readonly settledAt?: number
}

/** Something happened to a lane, the egress or a From domain. */
export interface AboutLane {
  /** The lane's key; `@egress` for the transport itself, `@from:<domain>` for a From domain. */
  readonly lane: string
  /** Epoch ms. */
  readonly at: number
}

/** Every event by its name, with what its listeners are given. Moments are epoch ms. */
export interface EventMap {
  /** Stored: it will not be lost. */
  readonly queued: AboutMessage & { readonly recipients: number }
  /** The next hop took it. */
  readonly accepted: AboutRecipient & { readonly reply: Reply }
  /** Not yet: it is tried again. */
  readonly deferred: AboutRecipient & {
    readonly reply: Reply
    readonly verdict: Verdict
    /** Epoch ms; the lane may make it later. */
    readonly nextAttemptAt: number
    /** Whether this try advanced the back-off. */
    readonly counted: boolean
  }
  /** Failed for good. */
  readonly failed: AboutRecipient & {
    readonly reason: FailReason
    readonly reply?: Reply
    readonly verdict?: NonNullable<AttemptRecord['verdict']>
    readonly history: readonly AttemptRecord[]
  }
  /** May have been delivered without a reply. */
  readonly uncertain: AboutRecipient & { readonly reply?: Reply }
  /** Waits for a person: `resolveUncertain`. */
  readonly parked: AboutRecipient & { readonly why: 'uncertain' | 'crashes' }
  /** Every recipient has ended. */
  readonly settled: Outcome
  /** The lane waits because of a reply or an operator. */
  readonly held: AboutLane & {
    /** Epoch ms. */
    readonly until: number
    /** 1 for the first hold, growing while it is refused again. */
    readonly level: number
    readonly cause?: string
    /** The reply that held it, verbatim. */
    readonly reply?: string
    readonly rule?: string
  }
  /** One message tries whether the lane is open again. */
  readonly probing: AboutLane
  /** The probe passed: the lane speeds up again. */
  readonly recovering: AboutLane
  /** The lane runs as configured again. */
  readonly opened: AboutLane
  /** The lane's rate (recipients per second) or concurrency was adapted. */
  readonly adapted: AboutLane & {
    readonly what: 'rate' | 'concurrency'
    readonly from: number
    readonly to: number
    readonly reason: string
  }
  /** Waiting will not cure it: somebody should look. */
  readonly trouble: {
    readonly kind: 'lane' | 'login' | 'sender' | 'egress' | 'store' | 'poison' | 'handler'
    readonly at: number
    readonly lane?: string
    readonly cause?: string
    /** What was seen, in words. */
    readonly pattern: string
    /** What a person can do about it. */
    readonly advice: string
    /** The provider's page about it. */
    readonly url?: string
    readonly reply?: string
  }
  /** This process delivers from the store now, or no longer does. */
  readonly owner: { readonly owner: boolean; readonly at: number }
}

/** The name of an event. */
export type EventName = keyof EventMap

/** Hears one event. What it throws or rejects with is logged and stops nothing. */
export type Listener<N extends EventName> = (event: EventMap[N]) => unknown

/** Listeners by event. */
export type Listeners = { readonly [N in EventName]?: Listener<N> }

export const EVENT_NAMES = [
  'queued',
  'accepted',
  'deferred',
  'failed',
  'uncertain',
  'parked',
  'settled',
  'held',
  'probing',
  'recovering',
  'opened',
  'adapted',
  'trouble',
  'owner',
] as const satisfies readonly EventName[]

/** Hands events to listeners; never throws. */
export class Events {
  readonly #listeners = new Map<EventName, Set<(event: never) => unknown>>()
  readonly #onListenerError: (name: EventName, error: unknown) => void

  constructor(onListenerError: (name: EventName, error: unknown) => void) {
    this.#onListenerError = onListenerError
  }

  /** Adds a listener; the function it returns takes it away again. */
  on<N extends EventName>(name: N, listener: Listener<N>): () => void {
    let listeners = this.#listeners.get(name)
    if (listeners === undefined) {
      listeners = new Set()
      this.#listeners.set(name, listeners)
    }
    // one wrapper per call, so that the same function added twice is called twice and taken away one by one
    const own = (event: EventMap[N]) => listener(event)
    listeners.add(own)
    return () => {
      listeners.delete(own)
    }
  }

  /** Whether anybody listens: lets the loop skip building events nobody hears. */
  heard(name: EventName): boolean {
    return (this.#listeners.get(name)?.size ?? 0) > 0
  }

  emit<N extends EventName>(name: N, event: EventMap[N]): void {
    const listeners = this.#listeners.get(name)
    if (listeners === undefined) return
    for (const listener of [...listeners]) {
      try {
        const answer = (listener as Listener<N>)(event)
        if (types.isPromise(answer)) answer.catch((error: unknown) => this.#onListenerError(name, error))
      } catch (error) {
        this.#onListenerError(name, error)
      }
    }
  }
}
