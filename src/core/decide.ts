// What becomes of a delivery after a try: done, again at a time, parked for a person, or failed. Pure.
// A throttle is not a failed attempt: it holds its lane (effect.ts, lane.ts) and leaves the message's back-off
// alone. Nothing is free for ever: one try comes at once, then 30 s apart, and after 20 they count.
// Not here: writing the decision down (apply.ts).

import { clampToLast, MOST_UNCOUNTED, UNCOUNTED_WAIT_MS, waitAfter } from './backoff.ts'
import { CRASHES_APART_MS, crashesWith } from './crash.ts'
import type { Delivery, FailReason } from './delivery.ts'
import { type Effect, isBeforeMail, isOfSession, isOwn } from './effect.ts'
import type { OnUncertain } from './message.ts'
import type { EffectivePolicy } from './policy-merge.ts'
import type { ResolvedReaction } from './reaction.ts'
import type { Reply } from './reply.ts'
import { DAY, SECOND } from './units.ts'
import type { Verdict } from './verdict.ts'

export { type Effect, type EffectTarget, effectOf } from './effect.ts'

export type Decision =
  | { readonly kind: 'complete' }
  | {
      readonly kind: 'retry'
      readonly at: number
      readonly countsAsAttempt: boolean
      /** Counted although its cause does not call for it: too many went free. */
      readonly overdrawn?: boolean
    }
  | { readonly kind: 'park'; readonly why: 'uncertain' | 'crashes' }
  | { readonly kind: 'fail'; readonly reason: FailReason }

/** What is known of one delivery's try. */
export interface Tried {
  readonly reply: Reply
  readonly accepted: boolean
  /** The body was handed over and no reply came. */
  readonly uncertain: boolean
  /** Absent when accepted. */
  readonly verdict?: Verdict
  readonly effect: Effect
  /** The lane found that this throttle is about the message. */
  readonly ofMessage: boolean
  /** Another recipient of the same transaction was accepted: trying the rest at once gets somewhere. */
  readonly progress?: boolean
}

export interface DecideContext {
  readonly onUncertain: OnUncertain
  readonly now: number
  readonly random: () => number
}

/** After so many uncertain outcomes a person decides, whatever the policy. */
const MOST_UNCERTAIN = 2
/** After so many claims found open after crashes, too. */
const MOST_CRASHES = 3

/** A wait said by a server is believed between these. */
const LEAST_STATED_MS = SECOND
const MOST_STATED_MS = DAY
/** A stated wait is kept to, and a little more: their clock is not ours. */
const STATED_SPREAD = 0.1

/** Tries for a dialogue that is refused for good without ever getting on. */
const MOST_REFUSED_DIALOGUES = 3

/** Decides what becomes of a delivery that was tried. */
export function decide(
  tried: Tried,
  delivery: Delivery,
  policy: EffectivePolicy,
  context: DecideContext,
): Decision {
  if (tried.accepted) return { kind: 'complete' }
  if (tried.uncertain) return afterUncertain(delivery, policy, context)
  const { verdict } = tried
  if (verdict === undefined) return again(tried, undefined, delivery, policy, context)
  if (verdict.persistence === 'permanent' && isFinal(tried, verdict, delivery))
    return { kind: 'fail', reason: 'rejected' }
  return again(tried, verdict, delivery, policy, context)
}

/**
 * Decides what becomes of a claim found open when a process starts: it may have been sent. It is tried again at once
 * the first time, later after a pause, so that no message kills the process at every start; the third crash, each
 * a quarter of an hour from the one before, parks it. The pauses differ, so that who was only in the air with
 * the one that kills is not so the next time. Applied with a `crashRecord`.
 */
export function afterCrash(delivery: Delivery, context: DecideContext): Decision {
  if (context.onUncertain === 'fail') return { kind: 'fail', reason: 'uncertain' }
  if (context.onUncertain === 'park') return { kind: 'park', why: 'uncertain' }
  if (crashesWith(delivery, context.now) >= MOST_CRASHES) return { kind: 'park', why: 'crashes' }
  const wait = delivery.crashes === 0 ? 0 : CRASHES_APART_MS * (1 + context.random())
  return next(context.now + wait, delivery, delivery.expiresAt, context.now, { countsAsAttempt: false })
}

function afterUncertain(delivery: Delivery, policy: EffectivePolicy, context: DecideContext): Decision {
  if (context.onUncertain === 'fail') return { kind: 'fail', reason: 'uncertain' }
  if (context.onUncertain === 'park' || delivery.uncertain + 1 >= MOST_UNCERTAIN)
    return { kind: 'park', why: 'uncertain' }
  const wait = waitAfter(policy.reactions.network.retry ?? policy.retry, delivery.attempts, context.random)
  return next(context.now + wait, delivery, delivery.expiresAt, context.now, { countsAsAttempt: true })
}

/** Whether a permanent refusal ends the delivery. What was said before MAIL never does: it says nothing of the message. */
function isFinal(tried: Tried, verdict: Verdict, delivery: Delivery): boolean {
  if (isBeforeMail(tried.reply, verdict)) return false
  if (isOwn(verdict) || tried.ofMessage) return true
  if (isOfSession(verdict) && tried.progress !== true && delivery.uncounted >= MOST_REFUSED_DIALOGUES)
    return true
  if (verdict.scope === 'connection') return false
  return tried.effect.reaction.onPermanent === 'fail'
}

function again(
  tried: Tried,
  verdict: Verdict | undefined,
  delivery: Delivery,
  policy: EffectivePolicy,
  context: DecideContext,
): Decision {
  const { now } = context
  const { reaction } = tried.effect
  const free = verdict !== undefined && isFree(tried, verdict)
  const overdrawn = free && delivery.uncounted >= MOST_UNCOUNTED
  if (free && !overdrawn) {
    const atOnce = delivery.uncounted === 0 || (isOfSession(verdict) && tried.progress === true)
    // what only wants another connection keeps its place in the queue, or it would be last on the next one too
    const soonest = isOfSession(verdict) ? Math.min(now, delivery.dueAt) : now
    return next(atOnce ? soonest : now + UNCOUNTED_WAIT_MS, delivery, delivery.expiresAt, now, {
      countsAsAttempt: false,
    })
  }
  if (delivery.attempts + 1 >= (reaction.maxAttempts ?? Infinity)) return { kind: 'fail', reason: 'rejected' }
  const deadline = Math.min(delivery.expiresAt, delivery.createdAt + (reaction.maxAgeMs ?? Infinity))
  const wait = waitOf(verdict, reaction, delivery, policy, context)
  return next(now + wait, delivery, deadline, now, {
    countsAsAttempt: true,
    ...(overdrawn ? { overdrawn } : {}),
  })
}

/** Whether the try leaves the message's back-off alone. */
function isFree(tried: Tried, verdict: Verdict): boolean {
  const { effect, reply, ofMessage } = tried
  if (ofMessage) return false
  if (effect.kind === 'throttle') return !effect.reaction.countsAsAttempt || isBeforeMail(reply, verdict)
  return !effect.reaction.countsAsAttempt && !isOwn(verdict)
}

/** What the server states, or else the rule, or else the schedule; from the second refusal on the longer. */
function waitOf(
  verdict: Verdict | undefined,
  reaction: ResolvedReaction,
  delivery: Delivery,
  policy: EffectivePolicy,
  context: DecideContext,
): number {
  const own = waitAfter(reaction.retry ?? policy.retry, delivery.attempts, context.random)
  const given = verdict?.retryAfterMs
  if (given === undefined) return own
  const ruled = verdict?.retryAfterFrom === 'rule'
  const stated = ruled ? given : Math.min(MOST_STATED_MS, Math.max(LEAST_STATED_MS, given))
  const kept = Math.ceil(stated * (1 + STATED_SPREAD * context.random()))
  return delivery.attempts === 0 ? kept : Math.max(kept, own)
}

function next(
  wanted: number,
  delivery: Delivery,
  deadline: number,
  now: number,
  how: { readonly countsAsAttempt: boolean; readonly overdrawn?: boolean },
): Decision {
  const moment = clampToLast(wanted, now, delivery.createdAt, deadline)
  return moment === undefined ? { kind: 'fail', reason: 'expired' } : { kind: 'retry', at: moment, ...how }
}
