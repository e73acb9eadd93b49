// How long a lane stands still, and what it makes of being refused again: escalation, suspects, trouble.
// Not here: what moves it from one phase to the next (lane.ts).

import type { Cause } from './cause.ts'
import { episodeOver, type Hold, type LaneState, levelAt, type Suspect } from './lane-state.ts'
import type { ResolvedReaction } from './reaction.ts'
import type { Reply } from './reply.ts'
import type { Verdict } from './verdict.ts'

const SECOND_MS = 1_000
const DAY_MS = 86_400_000
/** A hold nobody stated a length for. */
const DEFAULT_HOLD_MS = 5 * 60_000
/** Holds vary by this share either way, so that lanes refused together do not come back together. */
const JITTER = 0.1
/** Holds in one episode that are worth a person's attention. */
const AGAIN_AND_AGAIN = 3
const MOST_SUSPECTS = 4
/** Of a reply's text, what is kept with the hold. */
const MOST_TEXT = 500

/** Something went wrong that waiting alone may not cure. */
export interface Trouble {
  readonly kind: 'trouble'
  /** What was seen, as `held 3 times within 25 min, last for rate-limit (yahoo-tss04)`. */
  readonly pattern: string
  readonly cause: Cause
  readonly advice: string
  readonly url?: string
  readonly holds: number
  /** Epoch ms of the first hold of the episode. */
  readonly since: number
}

/** What the reaction holds for; 0 or `undefined`: it does not hold. */
export function usualHoldMs(
  verdict: Pick<Verdict, 'persistence'>,
  reaction: Pick<ResolvedReaction, 'holdMs' | 'permanentHoldMs'>,
): number | undefined {
  return (verdict.persistence === 'permanent' ? reaction.permanentHoldMs : undefined) ?? reaction.holdMs
}

/**
 * How long to hold at this level. The first time what the server (or else the rule) states, or else the reaction's
 * hold; from the second on the longer of what the text states and the doubled hold, capped and lengthened by up to a
 * tenth. What the text states is never shortened, and bounded to 1 s … 24 h.
 */
export function holdMs(
  verdict: Pick<Verdict, 'persistence' | 'retryAfterMs' | 'retryAfterFrom'>,
  reaction: Pick<ResolvedReaction, 'holdMs' | 'holdStepsMs' | 'permanentHoldMs' | 'holdMaxMs'>,
  level: number,
  random: () => number,
): number {
  const given = verdict.retryAfterMs
  const fromText = given !== undefined && verdict.retryAfterFrom !== 'rule'
  const stated = fromText ? Math.min(DAY_MS, Math.max(SECOND_MS, given)) : 0
  const usual =
    (verdict.persistence === 'permanent' ? reaction.permanentHoldMs : undefined) ?? reaction.holdMs
  const first = fromText ? (usual ?? stated) : (given ?? usual ?? DEFAULT_HOLD_MS)
  if (level <= 1 && fromText) return Math.min(DAY_MS, Math.ceil(stated * (1 + JITTER * random())))
  const longest = Math.max(first, reaction.holdMaxMs)
  const step = reaction.holdStepsMs?.[Math.min(level, reaction.holdStepsMs.length) - 1]
  const doubled = Math.min(longest, step ?? first * 2 ** Math.min(30, level - 1))
  // lengthened only: what a policy states is never undercut
  return Math.max(stated, SECOND_MS, Math.round(doubled * (1 + JITTER * random())))
}

/** The lane, held by a reply from now on: the bucket is emptied, and replies to what is under way are not heard. */
export function holdBy(
  state: LaneState,
  refusal: { readonly verdict: Verdict; readonly reply: Reply; readonly reaction: ResolvedReaction },
  ticket: string,
  now: number,
  random: () => number,
): { readonly state: LaneState; readonly hold: Hold; readonly trouble?: Trouble } {
  const { verdict, reply, reaction } = refusal
  const level = (state.lastCause === verdict.cause ? levelAt(state, now) : 0) + 1
  const length = holdMs(verdict, reaction, level, random)
  const hold: Hold = {
    since: now,
    until: now + length,
    by: 'reply',
    level,
    ...(reaction.rateFactor < 1 && { aboutRate: true }),
    cause: verdict.cause,
    rule: verdict.rule,
    ...(verdict.provider !== undefined && { provider: verdict.provider }),
    advice: verdict.advice,
    ...(verdict.url !== undefined && { url: verdict.url }),
    text: reply.text.slice(0, MOST_TEXT),
    ...(reply.code !== undefined && { code: reply.code }),
    ...(reply.host !== undefined && { host: reply.host }),
    phase: reply.phase,
  }
  const before = episodeOver(state, now) ? undefined : state.episode
  const episode = {
    since: before?.since ?? now,
    holds: (before?.holds ?? 0) + 1,
    stoodAt: before !== undefined && state.phase === 'held' ? before.stoodAt : now,
    told: before?.told ?? false,
  }
  const tell = !episode.told && (reaction.alert || episode.holds >= AGAIN_AND_AGAIN)
  const held: LaneState = {
    ...state,
    phase: 'held',
    tokens: Math.min(0, state.tokens),
    at: now,
    hold,
    level,
    lastHoldMs: length,
    lastCause: verdict.cause,
    deafUntil: now,
    holds: state.holds + 1,
    episode: tell ? { ...episode, told: true } : episode,
    suspects: suspected(state.suspects, ticket, verdict.rule),
    strange: 0,
    strangeTicket: '',
  }
  if (!tell) return { state: held, hold }
  const trouble: Trouble = {
    kind: 'trouble',
    pattern: patternOf(episode.holds, now - episode.since, verdict),
    cause: verdict.cause,
    advice: verdict.advice,
    ...(verdict.url !== undefined && { url: verdict.url }),
    holds: episode.holds,
    since: episode.since,
  }
  return { state: held, hold, trouble }
}

function patternOf(holds: number, withinMs: number, verdict: Verdict): string {
  const why = `${verdict.cause} (${verdict.rule})`
  return holds === 1 ? `held for ${why}` : `held ${holds} times within ${minutes(withinMs)}, last for ${why}`
}

function minutes(ms: number): string {
  const whole = Math.max(1, Math.round(ms / 60_000))
  return whole < 120 ? `${whole} min` : `${Math.round(whole / 60)} h`
}

function suspected(suspects: readonly Suspect[], ticket: string, rule: string): readonly Suspect[] {
  const others = suspects.filter((one) => one.ticket !== ticket)
  return [...others.slice(-(MOST_SUSPECTS - 1)), { ticket, rule, cleared: false }]
}

/** Another message passed where the suspects were refused: the next refusal of each is its own. */
export function clearSuspects(suspects: readonly Suspect[], passed: string): readonly Suspect[] {
  if (suspects.every((one) => one.cleared && one.ticket !== passed)) return suspects
  return suspects
    .filter((one) => one.ticket !== passed)
    .map((one) => (one.cleared ? one : { ...one, cleared: true }))
}

/** The suspect was refused on its own account: once more only when another has passed again. */
export function rearmSuspect(suspects: readonly Suspect[], ticket: string): readonly Suspect[] {
  return suspects.map((one) => (one.ticket === ticket ? { ...one, cleared: false } : one))
}

/** Whether a refusal of this ticket by this rule is known to speak of the message, not of the lane. */
export function speaksOfMessage(state: LaneState, ticket: string, verdict: Pick<Verdict, 'rule'>): boolean {
  for (const one of state.suspects)
    if (one.cleared && one.ticket === ticket && one.rule === verdict.rule) return true
  return false
}
