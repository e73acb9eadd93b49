// Whom a reply speaks of: one's own relay (egress), one's From domain (sender), this sender at this provider
// (lane), or nobody but the message. And how loudly. Not here: what becomes of the delivery (decide.ts).
//
// On a relay, what is said before RCPT is about one's account. What is said later is too when it is of the
// kind a relay says (login, quota, rate, connections, busy), unless a recipient's provider shows through it.

import type { Cause } from './cause.ts'
import type { EffectivePolicy } from './policy-merge.ts'
import type { ResolvedReaction } from './reaction.ts'
import type { Phase, Reply } from './reply.ts'
import { MINUTE, SECOND } from './units.ts'
import type { Verdict } from './verdict.ts'

export type EffectTarget = 'lane' | 'sender' | 'egress' | 'none'

/** What a reply means for what it speaks of. */
export interface Effect {
  readonly target: EffectTarget
  /** `throttle` holds; `unexplained` holds when it repeats; the others open what was being probed. */
  readonly kind: 'throttle' | 'unexplained' | 'answered' | 'accepted'
  readonly reaction: ResolvedReaction
}

const BEFORE_MAIL: ReadonlySet<Phase> = new Set<Phase>(['greeting', 'ehlo', 'auth', 'idle'])

/** About one's From domain, whatever the receiver. */
const OF_FROM_DOMAIN: ReadonlySet<Cause> = new Set<Cause>([
  'authentication',
  'sender-rejected',
  'reputation-domain',
])

/** About the dialogue; a fresh connection or a smaller batch cures them. */
const OF_SESSION: ReadonlySet<Cause> = new Set<Cause>(['connection-recycle', 'too-many-recipients'])

/** Reasons that are none: they hold only when they repeat. */
const VAGUE: ReadonlySet<Cause> = new Set<Cause>(['unknown', 'policy-other'])

/** A refusal for good before MAIL whose cause names no hold. */
const REFUSED_HOLD_MS = 15 * MINUTE

/**
 * Whether it was said before a message was offered: it cannot speak of the message, and fails none.
 * A connection that could not be made counts as such.
 */
export function isBeforeMail(reply: Reply, verdict: Pick<Verdict, 'cause' | 'scope'>): boolean {
  const silent = reply.code === undefined
  // no such domain, or a domain that takes no mail (RFC 7505), is found out before any connection
  if (silent && verdict.cause !== 'network' && verdict.scope === 'recipient') return false
  return BEFORE_MAIL.has(reply.phase) || (silent && verdict.cause === 'network' && reply.phase === 'unknown')
}

/** Whether the verdict is about this message or recipient and nothing else. */
export function isOwn(verdict: Pick<Verdict, 'cause' | 'scope'>): boolean {
  return (verdict.scope === 'message' || verdict.scope === 'recipient') && !OF_SESSION.has(verdict.cause)
}

/** Whether the verdict is about the dialogue, which goes on at once elsewhere. */
export function isOfSession(verdict: Pick<Verdict, 'cause'>): boolean {
  return OF_SESSION.has(verdict.cause)
}

/** Whom a reply speaks of and what that calls for; `verdict` is absent for an accepted recipient. */
export function effectOf(
  reply: Reply,
  verdict: Verdict | undefined,
  route: 'relay' | 'direct',
  policy: EffectivePolicy,
): Effect {
  if (verdict === undefined) return { target: 'lane', kind: 'accepted', reaction: policy.reactions.unknown }
  const early = isBeforeMail(reply, verdict)
  const reaction = reactionTo(verdict, policy.reactions[verdict.cause])
  const kind = kindOf(reply, verdict, reaction, early)
  const target = targetOf(reply, verdict, route, policy, kind, early)
  if (kind !== 'throttle' || reaction.holdMs !== undefined) return { target, kind, reaction }
  // a throttle by factors alone, or a closed door without a reason
  const holdMs =
    early && reaction.rateFactor === 1 && reaction.concurrencyFactor === 1 ? REFUSED_HOLD_MS : SECOND
  return { target, kind, reaction: { ...reaction, holdMs, holdMaxMs: Math.max(holdMs, reaction.holdMaxMs) } }
}

/** The reaction, with the hold that a permanent refusal calls for. */
function reactionTo(verdict: Verdict, reaction: ResolvedReaction): ResolvedReaction {
  if (verdict.persistence === 'transient' || reaction.permanentHoldMs === reaction.holdMs) return reaction
  const { holdMs: _transient, holdStepsMs: _steps, ...rest } = reaction
  const { permanentHoldMs } = reaction
  if (permanentHoldMs === undefined) return rest
  return { ...rest, holdMs: permanentHoldMs, holdMaxMs: Math.max(permanentHoldMs, reaction.holdMaxMs) }
}

function kindOf(reply: Reply, verdict: Verdict, reaction: ResolvedReaction, early: boolean): Effect['kind'] {
  const { cause, persistence } = verdict
  if (OF_SESSION.has(cause)) return 'answered'
  if (VAGUE.has(cause) && persistence === 'transient')
    return cause === 'unknown' || !isOwn(verdict) ? 'unexplained' : 'answered'
  if (early && persistence === 'permanent') return 'throttle'
  if (isOwn(verdict)) return 'answered'
  // one lost connection is no reason to stop; one that cannot be made is
  if (cause === 'network' && !early) return 'unexplained'
  if (cause === 'network' && reply.phase === 'idle') return 'answered'
  const calls = reaction.holdMs !== undefined || reaction.rateFactor < 1 || reaction.concurrencyFactor < 1
  return calls && !VAGUE.has(cause) ? 'throttle' : 'answered'
}

function targetOf(
  reply: Reply,
  verdict: Verdict,
  route: 'relay' | 'direct',
  policy: EffectivePolicy,
  kind: Effect['kind'],
  early: boolean,
): EffectTarget {
  if (OF_FROM_DOMAIN.has(verdict.cause) && !isOwn(verdict) && !early) return 'sender'
  if (route === 'direct') return 'lane'
  if (early) return 'egress'
  if (kind === 'answered') return isOwn(verdict) || verdict.scope !== 'sender' ? 'lane' : 'egress'
  if (reply.phase === 'mail' || verdict.scope === 'sender') return 'egress'
  if (kind === 'unexplained') return verdict.cause === 'network' ? 'egress' : 'lane'
  return showsRecipientProvider(reply, verdict, policy) ? 'lane' : 'egress'
}

/**
 * Whether the relay repeats what a recipient's provider said: a rule of that provider matched, its marks are in the
 * text, or the text quotes another server. That the recipient's domain is the provider's is no mark.
 */
function showsRecipientProvider(reply: Reply, verdict: Verdict, policy: EffectivePolicy): boolean {
  const { layer, provider } = verdict
  if (layer === 'user') return true
  if (provider !== undefined && !policy.relays.has(provider))
    if (layer === 'provider' || !policy.names.includes(provider)) return true
  return / said:| responded:|remote (?:host|server|mta)/i.test(reply.text.slice(0, 2_000))
}
