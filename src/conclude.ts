// What one attempt's replies come to: a settlement per delivery, and what its lane, the egress and the
// From domain learn from it. Only values in and out; outbox.ts carries it out.

import type { AttemptResult, RecipientOutcome } from './attempt.ts'
import { apply } from './core/apply.ts'
import { printable } from './core/classify/parse.ts'
import { type Decision, decide, type Effect, type EffectTarget, effectOf } from './core/decide.ts'
import type { AttemptRecord, Delivery } from './core/delivery.ts'
import type { Arrival } from './core/lane.ts'
import type { OnUncertain } from './core/message.ts'
import type { EffectivePolicy } from './core/policy-book.ts'
import type { Verdict } from './core/verdict.ts'
import type { Grouping } from './grouping.ts'
import type { Claim, Settlement } from './stores/store.ts'

/** One delivery's try, understood. */
export interface Concluded {
  readonly settlement: Settlement
  readonly decision: Decision
  readonly outcome: RecipientOutcome
  readonly verdict: Verdict | undefined
  readonly before: Delivery
}

/** An arrival without what only the caller knows: whether it was a probe. */
export type Lesson = Arrival extends infer A
  ? A extends Arrival
    ? Omit<A, 'probe' | 'startedAt' | 'ticket'>
    : never
  : never

export interface Conclusion {
  readonly concluded: readonly Concluded[]
  readonly lane: Lesson
  readonly egress: Lesson
  readonly sender: Lesson
  /** The batch is to be tried in halves: at most so many recipients of this message at a time. */
  readonly halve: number | undefined
}

export interface ConcludeContext {
  readonly grouping: Grouping
  readonly route: 'relay' | 'direct'
  readonly onUncertain: OnUncertain
  readonly host: string | undefined
  readonly startedAt: number
  readonly now: number
  readonly random: () => number
  /** Whether this rule, met in this lane, is the relay's own doing. */
  readonly promotes: (rule: string) => boolean
  /** Whether a throttle is known to be about this message and not what it seems to speak of. */
  readonly ofMessage: (verdict: Verdict, target: EffectTarget) => boolean
  /** A person asked for it to end. */
  readonly cancelled: boolean
}

/** Causes of a refused batch that the number of recipients may explain; content is refused in any number. */
const MAY_BE_TOO_MANY: ReadonlySet<string> = new Set([
  'too-many-recipients',
  'unknown',
  'protocol',
  'policy-other',
])
const AFTER_RCPT: ReadonlySet<string> = new Set(['data', 'dot'])

/** Of several replies' lessons the strongest is learned. */
function strength({ kind }: { readonly kind: string }): number {
  return ['returned', 'answered', 'accepted', 'unexplained', 'throttle'].indexOf(kind)
}

/** Understands an attempt that reached the server or failed on the way. */
export function conclude(claim: Claim, result: AttemptResult, context: ConcludeContext): Conclusion {
  return result.outcomes.every((outcome) => outcome.accepted) &&
    result.outcomes.length === claim.deliveries.length
    ? allAccepted(claim, result, context)
    : someRefused(claim, result, context)
}

const COMPLETE: Decision = { kind: 'complete' }

/** The common end, without the questions that only refusals ask. */
function allAccepted(claim: Claim, result: AttemptResult, context: ConcludeContext): Conclusion {
  const recipients = claim.deliveries.length
  const lesson: Lesson = { kind: 'accepted', recipients, accepted: recipients }
  const concluded = claim.deliveries.map((before, i) => {
    const outcome = heard(result, i)
    const record: { -readonly [K in keyof AttemptRecord]: AttemptRecord[K] } = {
      at: context.startedAt,
      durationMs: Math.round(result.durationMs),
      counted: true,
      reply: outcome.reply,
    }
    if (result.transcript !== undefined) record.transcript = result.transcript
    const delivery = apply(before, COMPLETE, record, context.now)
    return {
      settlement: { fence: claim.fence, delivery, record },
      decision: COMPLETE,
      outcome,
      verdict: undefined,
      before,
    }
  })
  return { concluded, lane: lesson, egress: lesson, sender: lesson, halve: undefined }
}

function someRefused(claim: Claim, result: AttemptResult, context: ConcludeContext): Conclusion {
  const lessons = { lane: weakest(claim), egress: weakest(claim), sender: weakest(claim) }
  const progress = result.outcomes.some((o) => o.accepted)
  const concluded = claim.deliveries.map((delivery, i) => {
    const outcome = heard(result, i)
    const policy = context.grouping.policyFor(delivery)
    const verdict = outcome.accepted ? undefined : understand(outcome, delivery, context)
    const effect = promoted(effectOf(outcome.reply, verdict, context.route, policy), verdict, context)
    const ofMessage =
      verdict !== undefined && effect.kind === 'throttle' && context.ofMessage(verdict, effect.target)
    learn(lessons, effect, verdict, outcome)
    const tried = {
      reply: outcome.reply,
      accepted: outcome.accepted,
      uncertain: !outcome.accepted && outcome.uncertain,
      effect,
      ofMessage,
      progress,
      ...(verdict === undefined ? {} : { verdict }),
    }
    const decided = decide(tried, delivery, policy, context)
    const decision: Decision =
      context.cancelled && decided.kind === 'retry' ? { kind: 'fail', reason: 'cancelled' } : decided
    return write(claim, delivery, outcome, verdict, decision, policy, result, context)
  })
  const halve = halved(concluded)
  if (halve === undefined) return { concluded, ...lessons, halve }
  // refused for good as a batch says nothing of each: they are tried in halves, at once
  const again: Decision = { kind: 'retry', at: context.now, countsAsAttempt: false }
  return {
    concluded: concluded.map((c) =>
      c.decision.kind === 'fail'
        ? write(
            claim,
            c.before,
            c.outcome,
            c.verdict,
            again,
            context.grouping.policyFor(c.before),
            result,
            context,
          )
        : c,
    ),
    ...lessons,
    halve,
  }
}

/** What was said of a recipient, fit to be kept and shown: a server's text is hostile. */
function heard(result: AttemptResult, i: number): RecipientOutcome {
  const outcome = result.outcomes[i] ?? missing
  const reply = printable(outcome.reply)
  return reply === outcome.reply ? outcome : { ...outcome, reply }
}

const missing: RecipientOutcome = {
  accepted: false,
  uncertain: false,
  reply: { text: 'the transport said nothing of this recipient', phase: 'unknown', errno: 'EPROTOCOL' },
}

function weakest(claim: Claim): Lesson {
  return { kind: 'answered', recipients: claim.deliveries.length }
}

function understand(outcome: RecipientOutcome, delivery: Delivery, context: ConcludeContext): Verdict {
  const known =
    context.route === 'relay' ? undefined : (context.grouping.mxOf(delivery.domain) ?? context.host)
  const mx = outcome.reply.host ?? known
  return context.grouping.book.classify(outcome.reply, {
    domain: delivery.domain,
    route: context.route,
    now: context.now,
    ...(mx === undefined ? {} : { mx }),
  })
}

function promoted(effect: Effect, verdict: Verdict | undefined, context: ConcludeContext): Effect {
  if (
    context.route !== 'relay' ||
    effect.target !== 'lane' ||
    effect.kind !== 'throttle' ||
    verdict === undefined
  )
    return effect
  return context.promotes(verdict.rule) ? { ...effect, target: 'egress' } : effect
}

/** Of several recipients' replies the strongest counts: a throttle for one is a throttle for the lane. */
function learn(
  lessons: { lane: Lesson; egress: Lesson; sender: Lesson },
  effect: Effect,
  verdict: Verdict | undefined,
  outcome: RecipientOutcome,
): void {
  if (outcome.accepted) {
    for (const place of ['lane', 'egress', 'sender'] as const) {
      const known = lessons[place]
      if (known.kind === 'accepted') lessons[place] = { ...known, accepted: known.accepted + 1 }
      else if (strength(known) < strength({ kind: 'accepted' }))
        lessons[place] = { kind: 'accepted', recipients: known.recipients, accepted: 1 }
    }
    return
  }
  if (effect.target === 'none' || verdict === undefined) return
  if (effect.kind !== 'throttle' && effect.kind !== 'unexplained') return
  const known = lessons[effect.target]
  if (strength(known) >= strength(effect)) return
  lessons[effect.target] = {
    kind: effect.kind,
    recipients: known.recipients,
    verdict,
    reply: outcome.reply,
    reaction: effect.reaction,
  }
  // what was said of the relay says nothing of the lane, not even that it is open
  if (effect.target === 'egress') lessons.lane = { kind: 'returned', recipients: known.recipients }
}

function write(
  claim: Claim,
  delivery: Delivery,
  outcome: RecipientOutcome,
  verdict: Verdict | undefined,
  decision: Decision,
  policy: EffectivePolicy,
  result: AttemptResult,
  context: ConcludeContext,
): Concluded {
  const record: AttemptRecord = {
    at: context.startedAt,
    durationMs: Math.round(result.durationMs),
    counted: decision.kind !== 'retry' || decision.countsAsAttempt,
    reply: outcome.reply,
    ...(verdict === undefined ? {} : { verdict: shorten(verdict) }),
    ...(!outcome.accepted && outcome.uncertain ? { uncertain: true } : {}),
    ...(decision.kind === 'retry' ? { nextAt: decision.at } : {}),
    ...(result.transcript === undefined ? {} : { transcript: result.transcript }),
  }
  const after = apply(delivery, decision, record, context.now)
  // a policy that groups domains may have come since it was stored: what waits again waits in today's lane
  const settled =
    after.state === 'waiting' && after.lane !== policy.lane ? { ...after, lane: policy.lane } : after
  return {
    settlement: { fence: claim.fence, delivery: settled, record },
    decision,
    outcome,
    verdict,
    before: delivery,
  }
}

function shorten(verdict: Verdict): NonNullable<AttemptRecord['verdict']> {
  const { cause, persistence, scope, rule, provider, retryAfterMs, advice, url } = verdict
  return {
    cause,
    persistence,
    scope,
    rule,
    advice,
    ...(provider === undefined ? {} : { provider }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(url === undefined ? {} : { url }),
  }
}

function halved(concluded: readonly Concluded[]): number | undefined {
  const size = concluded.length
  const first = concluded[0]
  if (size < 2 || first === undefined) return undefined
  const asOne = concluded.every(
    (c) =>
      !c.outcome.accepted &&
      !c.outcome.uncertain &&
      (AFTER_RCPT.has(c.outcome.reply.phase) || c.verdict?.cause === 'too-many-recipients') &&
      c.verdict !== undefined &&
      MAY_BE_TOO_MANY.has(c.verdict.cause) &&
      c.outcome.reply.text === first.outcome.reply.text,
  )
  return asOne ? Math.ceil(size / 2) : undefined
}
