// What the engine's values come to as events: of a try, a lane, a crash. Only words; nothing is decided here.

import type { Clock } from './clock.ts'
import type { Concluded } from './conclude.ts'
import type { Decision } from './core/decide.ts'
import type { Delivery } from './core/delivery.ts'
import type { LaneEvent } from './core/lane.ts'
import { EGRESS } from './egress.ts'
import type { EventMap, Events } from './events.ts'
import type { Gated } from './lanes.ts'
import type { Claim, Store } from './stores/store.ts'

export class Teller {
  readonly #events: Events
  readonly #store: Store
  readonly #clock: Clock

  constructor(events: Events, store: Store, clock: Clock) {
    this.#events = events
    this.#store = store
    this.#clock = clock
  }

  /** What a lane, the egress or a From domain has to tell. */
  lane(gated: Gated, event: LaneEvent, at: number): void {
    const events = this.#events
    const lane = gated.key
    switch (event.kind) {
      case 'held': {
        const { text } = gated.state.hold ?? {}
        events.emit('held', { lane, at, ...omitKind(event), ...(text === undefined ? {} : { reply: text }) })
        break
      }
      case 'slow-start':
        events.emit('recovering', { lane, at })
        break
      case 'opened':
        events.emit('opened', { lane, at })
        break
      case 'rate':
        events.emit('adapted', {
          lane,
          at,
          what: 'rate',
          from: event.from,
          to: event.to,
          reason: event.reason,
        })
        break
      case 'concurrency':
        events.emit('adapted', {
          lane,
          at,
          what: 'concurrency',
          from: event.from,
          to: event.to,
          reason: event.reason,
        })
        break
      case 'trouble': {
        const kind =
          gated.key === EGRESS
            ? event.cause === 'auth-credentials'
              ? 'login'
              : 'egress'
            : lane.startsWith('@from:')
              ? 'sender'
              : 'lane'
        events.emit('trouble', { kind, lane, at, ...omitKind(event) })
        break
      }
      case 'poison':
        events.emit('trouble', {
          kind: 'poison',
          lane,
          at,
          pattern: `the message ${event.ticket} is refused while others pass`,
          advice: 'Look at the message: its content, size or headers are what the reply is about.',
        })
        break
      default:
        event satisfies never
    }
  }

  /** What became of one delivery's try. */
  concluded(claim: Claim, concluded: Concluded): void {
    const events = this.#events
    const { settlement, decision, outcome, verdict } = concluded
    const { delivery } = settlement
    if (decision.kind === 'complete' && !events.heard('accepted')) return
    const about = aboutRecipient(claim, delivery)
    if (!outcome.accepted && outcome.uncertain) events.emit('uncertain', { ...about, reply: outcome.reply })
    switch (decision.kind) {
      case 'complete':
        events.emit('accepted', { ...about, reply: outcome.reply })
        break
      case 'retry':
        if (verdict !== undefined && events.heard('deferred')) {
          events.emit('deferred', {
            ...about,
            reply: outcome.reply,
            verdict,
            nextAttemptAt: delivery.dueAt,
            counted: decision.countsAsAttempt,
          })
        }
        break
      case 'park':
        events.emit('parked', { ...about, why: decision.why })
        break
      case 'fail':
        this.failed(claim, delivery)
        break
      default:
        decision satisfies never
    }
  }

  /** Tells of a claim that was found open after a crash. */
  crashed(claim: Claim, delivery: Delivery, decision: Decision): void {
    const about = aboutRecipient(claim, delivery)
    this.#events.emit('uncertain', about)
    if (decision.kind === 'park') this.#events.emit('parked', { ...about, why: decision.why })
  }

  /** Tells of a failure with its whole history. */
  failed(claim: Claim, delivery: Delivery): void {
    const events = this.#events
    if (!events.heard('failed')) return
    const last = delivery.last
    const tell = (history: EventMap['failed']['history']) =>
      events.emit('failed', {
        ...aboutRecipient(claim, delivery),
        reason: delivery.reason ?? 'rejected',
        ...(last === undefined ? {} : { reply: last.reply }),
        ...(last?.verdict === undefined ? {} : { verdict: last.verdict }),
        history,
      })
    const told = this.#store.history(delivery.id).then(tell, () => tell(last === undefined ? [] : [last]))
    this.#clock.working?.(told)
  }
}

function omitKind<E extends { kind: string }>(event: E): Omit<E, 'kind'> {
  const { kind: _, ...rest } = event
  return rest
}

/** What an event says of its message. */
export function aboutMessage(message: Claim['message']): EventMap['queued'] {
  return {
    id: message.id,
    messageId: message.messageId,
    recipients: message.recipients,
    ...(message.key === undefined ? {} : { key: message.key }),
    ...(message.meta === undefined ? {} : { meta: JSON.parse(message.meta) as unknown }),
  }
}

function aboutRecipient(claim: Claim, delivery: Delivery) {
  const { recipients: _, ...about } = aboutMessage(claim.message)
  const { address, domain, lane, tries, attempts } = delivery
  return { ...about, recipient: { address, domain, lane, tries, attempts } }
}
