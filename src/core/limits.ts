// What a lane may do at most, resolved from policies: plain numbers, in recipients and milliseconds.
// Not here: how a lane moves below them (lane.ts), nor where they come from (policy.ts).

/** So many recipients in so long. */
export interface RateLimit {
  readonly count: number
  readonly perMs: number
  /** As it was written: `20/min`. */
  readonly text: string
}

/** Plans that are known by name; warmup.ts has their stages and sources. */
export type WarmupName = 'automated' | 'gentle'

/** A slow beginning: recipients per day, stage by stage. */
export interface WarmupPlan {
  /** Epoch ms; before it the first stage's allowance holds and no stage is completed. */
  readonly startAt: number
  readonly daily: readonly number[]
  /** Where it is one of the plans that have a name. */
  readonly name?: WarmupName
}

/** The limits of one lane; a lane never goes above them, however well it is doing. */
export interface LaneLimits {
  /** Absent: as fast as caps, concurrency and the receiver allow. */
  readonly rate?: RateLimit
  /** Recipients that may go at once after a rest; at least 1. */
  readonly burst: number
  /** Further rolling windows beside the rate. */
  readonly caps: readonly RateLimit[]
  /** Attempts under way at a time; at least 1. */
  readonly concurrency: number
  readonly warmup?: WarmupPlan
}
