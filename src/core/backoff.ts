// How long a message waits between its own tries, and the whole schedule that follows, for tests and for people.
// Not here: holds of lanes, which come on top (lane-hold.ts), nor whether a try counts (decide.ts).

import type { Cause } from './cause.ts'
import type { EffectivePolicy } from './policy-merge.ts'
import type { ResolvedReaction, ResolvedSchedule } from './reaction.ts'
import { type Duration, duration, MINUTE, SECOND } from './units.ts'

/** Between two tries that do not count, the first of which came at once. */
export const UNCOUNTED_WAIT_MS = 30 * SECOND

/** So many tries do not count; the next ones do. */
export const MOST_UNCOUNTED = 20

/** The last try is made so long before a message expires, or a tenth of its life if that is less. */
const LAST_TRY_MS = MINUTE

/** The wait after `attempts` earlier counted attempts, without chance. */
export function nominalWait(schedule: ResolvedSchedule, attempts: number): number {
  if (schedule.kind === 'list') return schedule.ms[Math.min(attempts, schedule.ms.length - 1)] ?? 0
  return Math.min(schedule.maxMs, schedule.firstMs * schedule.factor ** Math.min(attempts, 1_000))
}

/** The wait after `attempts` earlier counted attempts, varied in proportion to its length. */
export function waitAfter(schedule: ResolvedSchedule, attempts: number, random: () => number): number {
  const wait = nominalWait(schedule, attempts)
  const varied =
    schedule.kind === 'list'
      ? wait * (1 + schedule.spread * random())
      : wait * (1 - schedule.jitter + 2 * schedule.jitter * random())
  return Math.round(varied)
}

/** When the last try before `deadline` is made, for something that began at `since`. */
export function lastTryAt(since: number, deadline: number): number {
  return deadline - Math.min(LAST_TRY_MS, Math.max(0, deadline - since) / 10)
}

/**
 * The moment of the next try: at `wanted`, or just before `deadline` if that is sooner and has not passed.
 * `undefined`: there is no next try.
 */
export function clampToLast(
  wanted: number,
  now: number,
  since: number,
  deadline: number,
): number | undefined {
  const last = lastTryAt(since, deadline)
  if (wanted < last) return wanted
  return now < last ? last : undefined
}

/**
 * When one message is tried that is always refused for `cause` with a 4xx: its age at each try, in ms, without
 * chance; the last is just before it expires. For a cause that holds, the holds' doubling is what it waits for.
 */
export function scheduleOf(policy: EffectivePolicy, cause: Cause, ttl: Duration): readonly number[] {
  const reaction = policy.reactions[cause]
  const retry = reaction.retry ?? policy.retry
  const ttlMs = Math.min(duration(ttl, 'ttl'), reaction.maxAgeMs ?? Infinity)
  const holds = reaction.holdMs !== undefined && cause !== 'unknown'
  const ages = [0]
  let [age, counted] = [0, 0]
  for (let refusals = 0; refusals < 100_000; refusals++) {
    const counts = reaction.countsAsAttempt || refusals >= MOST_UNCOUNTED
    if (counts && counted + 1 >= (reaction.maxAttempts ?? Infinity)) break
    const own = counts ? nominalWait(retry, counted) : refusals === 0 ? 0 : UNCOUNTED_WAIT_MS
    const hold = holds ? nominalHold(reaction, refusals) : 0
    if (counts) counted++
    const next = clampToLast(age + Math.max(own, hold), age, 0, ttlMs)
    if (next === undefined) break
    ages.push(next)
    age = next
  }
  return ages
}

/** The hold after `refusals` earlier ones, without chance. */
function nominalHold({ holdMs = 0, holdStepsMs, holdMaxMs }: ResolvedReaction, refusals: number): number {
  if (holdStepsMs !== undefined) return holdStepsMs[Math.min(refusals, holdStepsMs.length - 1)] ?? 0
  return Math.min(holdMaxMs, holdMs * 2 ** Math.min(refusals, 30))
}
