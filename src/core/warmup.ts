// A warm-up plan under way: so many recipients a day, stage by stage; a stage that was not delivered is repeated.
// Source of the 90 %: SparkPost's automated IP warm-up moves on only when that much of a stage was delivered
// (https://support.sparkpost.com/docs/user-guide/automated-ip-warmup, as of 2020-02-08, read 2026-11-20).

import type { WarmupName, WarmupPlan } from './limits.ts'

export const WARMUP_NAMES = ['automated', 'gentle'] as const satisfies readonly WarmupName[]

/** The stages of each plan that has a name, and where they come from. */
export const WARMUP_PLANS: Readonly<
  Record<WarmupName, { readonly daily: readonly number[]; readonly source: string; readonly date: string }>
> = {
  automated: {
    daily: [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 40_000, 50_000, 75_000, 100_000],
    source: 'https://support.sparkpost.com/docs/user-guide/automated-ip-warmup (stages 1 to 11 of 29)',
    date: '2026-11-20',
  },
  gentle: {
    // biome-ignore format: a week to a line
    daily: [
      50, 50, 100, 100, 200, 200, 200,
      400, 400, 400, 800, 800, 800, 800,
      1_500, 1_500, 1_500, 1_500, 2_500, 2_500, 2_500,
      5_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000,
    ],
    source:
      'https://enterno.io/en/articles/warm-up-sending-domain (50 a day, doubling every few days), https://help.socketlabs.com/docs/warm-up-basics (never more than double)',
    date: '2026-11-20',
  },
}

/** Which stage, since when, and how far it got. */
export interface WarmupState {
  /** Index into the plan's `daily`; its length when the plan is over. */
  readonly stage: number
  /** Epoch ms at which the stage's day began; days are counted from the plan's start. */
  readonly dayAt: number
  readonly sent: number
  readonly delivered: number
}

const DAY_MS = 86_400_000
const ENOUGH = 0.9
/** Share of a stage that only mail of high priority may use. */
export const WARMUP_RESERVE = 0.1

export function beginWarmup(plan: WarmupPlan, now: number): WarmupState {
  return { stage: 0, dayAt: dayOf(plan, now), sent: 0, delivered: 0 }
}

function dayOf(plan: WarmupPlan, now: number): number {
  return plan.startAt + Math.floor((now - plan.startAt) / DAY_MS) * DAY_MS
}

/**
 * The state as of `now`: a new day begins with the next stage, or with the same one when less than 90 % was delivered
 * of what the stage let go. The reserve may stay unused: without mail of high priority no stage is ever full.
 */
export function warmupAt(state: WarmupState, plan: WarmupPlan, now: number): WarmupState {
  if (state.stage >= plan.daily.length) return state
  const day = dayOf(plan, now)
  if (day <= state.dayAt) return state
  const allowed = plan.daily[state.stage] ?? 0
  const used = Math.max(state.sent, allowed - Math.floor(allowed * WARMUP_RESERVE))
  const done = state.dayAt >= plan.startAt && state.delivered >= ENOUGH * used
  return { stage: done ? state.stage + 1 : state.stage, dayAt: day, sent: 0, delivered: 0 }
}

/** Recipients that may still go today; `Infinity` when the plan is over. `state` as of now. */
export function warmupRoom(state: WarmupState, plan: WarmupPlan): number {
  const allowed = plan.daily[state.stage]
  return allowed === undefined ? Infinity : allowed - state.sent
}

/** When the next day of the plan begins. */
export function nextWarmupDay(state: WarmupState): number {
  return state.dayAt + DAY_MS
}
