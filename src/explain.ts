// "Why not yet?": for a message or a lane, the one thing that binds, until when, and what was said.
// Not here: the decisions themselves; this reads the same state that they read.

import { isoTime } from './clock.ts'
import type { AttemptRecord, Delivery } from './core/delivery.ts'
import { wordsOf } from './core/error.ts'
import { type LaneView, opening, viewLane } from './core/lane.ts'
import { NO_END } from './core/lane-state.ts'
import type { Priority } from './core/message.ts'
import type { Phase, Reply } from './core/reply.ts'
import { EGRESS } from './egress.ts'
import type { Gated, Lane } from './lanes.ts'
import type { Outbox } from './outbox.ts'
import type { Stored } from './stores/store.ts'

/**
 * What binds. Of the message: `settled` `parked` `in-flight` `not-before` `back-off`. Of its lane: `token` `cap`
 * `reserve` `warmup` `hold` `probe` `concurrency`; the same with `egress-` for the transport above all lanes, and
 * `sender-hold` `sender-probe` for its From domain. Of this process: `gate` `slot` `turn` (others go first)
 * `store` (cannot be written) `owner` (another process delivers) `stopped`. `open`: a lane that nothing binds.
 */
export type Binding =
  | 'settled'
  | 'parked'
  | 'in-flight'
  | 'not-before'
  | 'back-off'
  | LaneBinding
  | `egress-${LaneBinding}`
  | 'sender-hold'
  | 'sender-probe'
  | 'gate'
  | 'slot'
  | 'turn'
  | 'store'
  | 'owner'
  | 'stopped'
  | 'open'

/** What can bind a lane. */
export type LaneBinding = 'token' | 'cap' | 'reserve' | 'warmup' | 'hold' | 'probe' | 'concurrency'

/** One reason, as data and as a sentence. */
export interface Explanation {
  /** The recipient's address, or the lane's key. */
  readonly subject: string
  readonly lane: string
  readonly binding: Binding
  /** Epoch ms; absent where an answer or a person ends the wait. */
  readonly until?: number
  /** Epoch ms since when this binds, where known. */
  readonly since?: number
  /** The reply behind it, verbatim. */
  readonly reply?: string
  /** Where in the session it came, from which host, at which address, and how the session was protected. */
  readonly from?: Pick<Reply, 'phase' | 'host' | 'address' | 'tls'>
  /** What was said in the session of the last try, without the message (direct delivery, after a refusal). */
  readonly transcript?: readonly string[]
  readonly rule?: string
  readonly cause?: string
  readonly advice?: string
  readonly url?: string
  /** Tries that did not advance the back-off; 0 for lanes. */
  readonly uncounted: number
  readonly sentence: string
}

/** A lane as `lanes()` shows it. */
export interface LaneStatus extends LaneView {
  readonly lane: string
  readonly waiting: number
  readonly inFlight: number
  /** Epoch ms of the next delivery that is due. */
  readonly nextDueAt?: number
}

export function laneStatus(gated: Gated, now: number): LaneStatus {
  const queues = 'queues' in gated ? (gated as Lane).queues : []
  const dueAt = Math.min(Number.POSITIVE_INFINITY, ...queues.map((q) => q.dueAt))
  return {
    lane: gated.key,
    ...viewLane(gated.state, gated.limits, now),
    waiting: queues.reduce((sum, q) => sum + Math.max(0, q.waiting), 0),
    inFlight: gated.inFlight + ('ahead' in gated ? (gated as Lane).ahead : 0),
    ...(Number.isFinite(dueAt) ? { nextDueAt: dueAt } : {}),
  }
}

/** What binds a lane, or the egress, or a From domain. */
export function explainLane(outbox: Outbox, gated: Gated, now: number): Explanation {
  const process = processBinding(outbox)
  if (process !== undefined)
    return sentence({ subject: gated.key, lane: gated.key, uncounted: 0, ...process }, now)
  const prefix = gated.key === EGRESS ? 'egress-' : ''
  const own = gatedBinding(gated, 1, now, prefix)
  const above = own ?? (gated === outbox.egress ? undefined : gatedBinding(outbox.egress, 1, now, 'egress-'))
  const reason = above ?? ('queues' in gated ? readyBinding(outbox, gated as Lane, now) : undefined)
  return sentence(
    { subject: gated.key, lane: gated.key, uncounted: 0, ...(reason ?? { binding: 'open' }) },
    now,
  )
}

/** What keeps an open lane with mail that is due. */
function readyBinding(outbox: Outbox, lane: Lane, now: number): Reason | undefined {
  const due = lane.queues.find((queue) => queue.waiting > 0 && queue.dueAt <= now)
  return due === undefined ? undefined : turnBinding(outbox, lane, due.priority, now)
}

/** What keeps one that nothing holds: a slot, the gate, or those before it. */
function turnBinding(outbox: Outbox, lane: Lane | undefined, priority: Priority, now: number): Reason {
  const kept = lane !== undefined && outbox.lanes.isKeptFrom(lane, now, priority)
  if (outbox.egress.free <= 0 || kept) return { binding: 'slot' }
  return outbox.parts.options.egress.gate === undefined ? { binding: 'turn' } : gateBinding(outbox, now)
}

/** What binds each recipient of a message. */
export function explainMessage(outbox: Outbox, stored: Stored, now: number): readonly Explanation[] {
  return stored.deliveries.map((delivery) =>
    sentence(
      {
        subject: delivery.address,
        lane: delivery.lane,
        uncounted: delivery.tries - delivery.attempts,
        ...deliveryBinding(outbox, delivery, now),
      },
      now,
    ),
  )
}

type Reason = Omit<Explanation, 'subject' | 'lane' | 'uncounted' | 'sentence'>

function deliveryBinding(outbox: Outbox, delivery: Delivery, now: number): Reason {
  const said = spoken(delivery.last)
  if (delivery.state === 'accepted' || delivery.state === 'failed') return { binding: 'settled', ...said }
  if (delivery.state === 'parked') return { binding: 'parked', ...said }
  if (delivery.state === 'claimed') return { binding: 'in-flight', ...said }
  const process = processBinding(outbox)
  if (delivery.dueAt > now) {
    const binding = delivery.tries === 0 && delivery.crashes === 0 ? 'not-before' : 'back-off'
    const since = delivery.last === undefined ? {} : { since: delivery.last.at }
    return { binding, until: delivery.dueAt, ...since, ...said }
  }
  if (process !== undefined) return process
  const { priority } = delivery
  const lane = outbox.lanes.find(delivery.lane)
  const sender = outbox.lanes.knownSender(delivery.sender)
  return (
    (lane === undefined ? undefined : gatedBinding(lane, priority, now, '')) ??
    (sender === undefined ? undefined : senderBinding(sender, priority, now)) ??
    gatedBinding(outbox.egress, priority, now, 'egress-') ??
    turnBinding(outbox, lane, priority, now)
  )
}

function processBinding(outbox: Outbox): Reason | undefined {
  if (outbox.stopped) return { binding: 'stopped' }
  if (outbox.storeFailure !== undefined) {
    const { error, since } = outbox.storeFailure
    return { binding: 'store', since, advice: wordsOf(error) }
  }
  return outbox.owner.fence === 0 ? { binding: 'owner' } : undefined
}

function gateBinding(outbox: Outbox, now: number): Reason {
  const wait = outbox.parts.options.egress.gate?.waitingMs?.()
  return { binding: 'gate', ...(wait === undefined ? {} : { since: now - wait }) }
}

function gatedBinding<P extends '' | 'egress-'>(
  gated: Gated,
  priority: Priority,
  now: number,
  prefix: P,
): Reason | undefined {
  const open = opening(gated.state, gated.limits, now, gated, priority)
  if (open.at <= now || open.bound === undefined) return undefined
  const { hold, heldSince } = viewLane(gated.state, gated.limits, now)
  const because = open.bound === 'hold' || open.bound === 'probe' ? hold : undefined
  return {
    binding: `${prefix}${open.bound}` as Binding,
    // an operator's hold without an end has no time to be shown either
    ...(open.at < NO_END ? { until: open.at } : {}),
    ...(because === undefined
      ? {}
      : {
          ...(heldSince === undefined ? {} : { since: heldSince }),
          ...(because.text === undefined ? {} : { reply: because.text }),
          ...(because.phase === undefined ? {} : { from: holder(because.phase, because.host) }),
          ...(because.rule === undefined ? {} : { rule: because.rule }),
          ...(because.cause === undefined ? {} : { cause: because.cause }),
          ...(because.text === undefined && because.reason !== undefined ? { advice: because.reason } : {}),
          ...(because.advice === undefined ? {} : { advice: because.advice }),
          ...(because.url === undefined ? {} : { url: because.url }),
        }),
  }
}

function holder(phase: Phase, host: string | undefined): NonNullable<Reason['from']> {
  return host === undefined ? { phase } : { phase, host }
}

function senderBinding(sender: Gated, priority: Priority, now: number): Reason | undefined {
  const reason = gatedBinding(sender, priority, now, '')
  if (reason === undefined) return undefined
  return { ...reason, binding: reason.binding === 'probe' ? 'sender-probe' : 'sender-hold' }
}

function spoken(last: AttemptRecord | undefined): Partial<Reason> {
  if (last === undefined) return {}
  const { verdict, transcript } = last
  const { text, phase, host, address, tls } = last.reply
  return {
    reply: text,
    from: {
      phase,
      ...(host === undefined ? {} : { host }),
      ...(address === undefined ? {} : { address }),
      ...(tls === undefined ? {} : { tls }),
    },
    ...(transcript === undefined ? {} : { transcript }),
    ...(verdict === undefined ? {} : { rule: verdict.rule, cause: verdict.cause }),
    ...(verdict?.advice === undefined ? {} : { advice: verdict.advice }),
    ...(verdict?.url === undefined ? {} : { url: verdict.url }),
  }
}

const WORDS: Record<Binding, string> = {
  settled: 'has ended',
  parked: 'waits for a person to decide (resolveUncertain)',
  'in-flight': 'is being sent',
  'not-before': 'is not to be sent yet',
  'back-off': 'is tried again later',
  token: 'waits for its lane’s rate',
  cap: 'waits for its lane’s hourly or daily cap',
  reserve: 'waits: the rest of the cap is kept for high priority',
  warmup: 'waits for the next stage of the warm-up',
  hold: 'waits: its lane is held',
  probe: 'waits for the answer to its lane’s probe',
  concurrency: 'waits: its lane has as many attempts under way as it may',
  'egress-token': 'waits for the transport’s rate',
  'egress-cap': 'waits for the transport’s hourly or daily cap',
  'egress-reserve': 'waits: the rest of the transport’s cap is kept for high priority',
  'egress-warmup': 'waits for the next stage of the transport’s warm-up',
  'egress-hold': 'waits: the transport is held',
  'egress-probe': 'waits for the answer to the transport’s probe',
  'egress-concurrency': 'waits for a free connection',
  'sender-hold': 'waits: its From domain is held',
  'sender-probe': 'waits for the answer to its From domain’s probe',
  gate: 'waits for the shared gate',
  slot: 'waits for a free connection; the last one is kept for a lane that has none',
  turn: 'waits for its turn among the lanes',
  store: 'waits: the store cannot be written',
  owner: 'is left to another process, which delivers from this store',
  stopped: 'waits: delivery is not started, or was closed',
  open: 'is open',
}

function sentence(reason: Omit<Explanation, 'sentence'>, now: number): Explanation {
  const parts = [`${reason.subject} ${WORDS[reason.binding]}`]
  if (reason.until !== undefined) parts.push(`until ${isoTime(reason.until)} (${span(reason.until - now)})`)
  const because =
    reason.reply === undefined ? '' : `, because of: ${reason.reply.slice(0, 200)}${speaker(reason.from)}`
  const rule = reason.rule === undefined ? '' : ` [${reason.rule}]`
  const uncounted = reason.uncounted > 0 ? `; ${reason.uncounted} tries were not counted` : ''
  return { ...reason, sentence: `${parts.join(' ')}${because}${rule}${uncounted}` }
}

/** Named where the reply came over a session of ours; a relay is the same for all. */
function speaker(from: Explanation['from']): string {
  if (from?.host === undefined || from.address === undefined) return ''
  const { host, address, tls } = from
  const how = tls === undefined ? '' : tls === false ? ', without TLS' : `, ${tls.version}`
  const unverified = tls && !tls.verified ? ' with an unverified certificate' : ''
  return ` (${host} [${address}]${how}${unverified})`
}

function span(ms: number): string {
  if (ms < 0) return 'now'
  if (ms < 120_000) return `${Math.ceil(ms / 1000)} s`
  if (ms < 7_200_000) return `${Math.round(ms / 60_000)} min`
  return `${(ms / 3_600_000).toFixed(1)} h`
}
