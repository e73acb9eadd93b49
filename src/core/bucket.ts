// The token bucket: answers when, never sleeps. A wait for a token is just a time, and survives a restart.
// Not here: which rate applies (lane-pace.ts), nor what a hold does to the tokens (lane.ts).

/** Tokens as they stood at a moment; negative when more was spent than there was. */
export interface Bucket {
  readonly tokens: number
  /** Epoch ms. */
  readonly at: number
}

/** How a bucket fills. */
export interface Refill {
  /** Tokens per ms; 0 never refills, `Infinity` is no limit. */
  readonly perMs: number
  /** The most it holds, at least 1. */
  readonly burst: number
}

/** Sums of fractions miss whole tokens by about 1e-12; a wait of a nanosecond is none. */
const CLOSE = 1e-9

/** Tokens at `now`. A clock that went back fills nothing and takes nothing. */
export function tokensAt(bucket: Bucket, perMs: number, burst: number, now: number): number {
  if (perMs === Infinity) return burst
  const elapsed = now - bucket.at
  const tokens = elapsed > 0 ? bucket.tokens + elapsed * perMs : bucket.tokens
  return Math.min(tokens, burst)
}

/** When `cost` tokens will be there, a whole ms not before `now`; `Infinity` when never. */
export function readyAt(tokens: number, cost: number, perMs: number, now: number): number {
  if (tokens >= cost - CLOSE) return now
  return perMs > 0 ? Math.ceil(now + (cost - tokens) / perMs - CLOSE) : Infinity
}

/** Whole tokens among `tokens`. */
export function wholeTokens(tokens: number): number {
  return Math.floor(tokens + CLOSE)
}

/** Spends `cost` tokens and says when that is in order. A cost above the burst waits for a full bucket and leaves a debt. */
export function reserve(
  bucket: Bucket,
  rate: Refill,
  now: number,
  cost: number,
): { readonly bucket: Bucket; readonly readyAt: number } {
  const tokens = tokensAt(bucket, rate.perMs, rate.burst, now)
  const needed = Math.min(cost, rate.burst)
  return { bucket: { tokens: tokens - cost, at: now }, readyAt: readyAt(tokens, needed, rate.perMs, now) }
}
