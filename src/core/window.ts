// A rolling window: at most so many in any stretch of its length, in bounded memory.
// What was spent is counted in 24 parts of the window; a part counts in full until all of it has left the
// window, so that the cap is never passed (the price is up to a 24th of it).

import type { RateLimit } from './limits.ts'

/** What was spent lately, for a window of `perMs`. */
export interface RollingWindow {
  readonly perMs: number
  /** Part number and count in turns, oldest first. */
  readonly parts: readonly number[]
}

const PARTS = 24

/** Length of the window that a cap means: for fewer than 1, as long as 1 takes. */
export function windowMs(cap: RateLimit): number {
  return cap.count < 1 ? cap.perMs / cap.count : cap.perMs
}

export function openWindow(perMs: number): RollingWindow {
  return { perMs, parts: [] }
}

function partOf(window: RollingWindow, now: number): number {
  return Math.floor((now * PARTS) / window.perMs)
}

/** When all of part `part` has left the window. */
function leavesAt(window: RollingWindow, part: number): number {
  return Math.ceil(((part + 1 + PARTS) * window.perMs) / PARTS)
}

/** How much of the window is spent. */
export function used(window: RollingWindow, now: number): number {
  const { parts } = window
  const oldest = partOf(window, now) - PARTS
  let sum = 0
  // `oldest` itself still overlaps the window
  for (let i = parts.length - 2; i >= 0; i -= 2) {
    if ((parts[i] ?? 0) < oldest) break
    sum += parts[i + 1] ?? 0
  }
  return sum
}

/** When one more fits under `cap`: `now` or later; `Infinity` for a cap below 1. */
export function opensAt(window: RollingWindow, cap: number, now: number): number {
  let sum = used(window, now)
  if (sum + 1 <= cap) return now
  const { parts } = window
  const oldest = partOf(window, now) - PARTS
  for (let i = 0; i < parts.length; i += 2) {
    const part = parts[i] ?? 0
    if (part < oldest) continue
    sum -= parts[i + 1] ?? 0
    if (sum + 1 <= cap) return Math.max(now, leavesAt(window, part))
  }
  return cap >= 1 ? now : Infinity
}

/** Spends `count` at `now`. */
export function spend(window: RollingWindow, count: number, now: number): RollingWindow {
  const part = partOf(window, now)
  const { parts } = window
  let from = 0
  while (from < parts.length && (parts[from] ?? 0) < part - PARTS) from += 2
  const next = from === 0 ? parts.slice() : parts.slice(from)
  const last = next.length - 2
  if (last >= 0 && (next[last] ?? 0) >= part) next[last + 1] = (next[last + 1] ?? 0) + count
  else next.push(part, count)
  return { perMs: window.perMs, parts: next }
}

/** Gives back `count` that was spent at `spentAt`. */
export function giveBack(window: RollingWindow, count: number, spentAt: number): RollingWindow {
  const part = partOf(window, spentAt)
  const parts = window.parts.slice()
  for (let i = 0; i < parts.length; i += 2) {
    if (parts[i] === part) parts[i + 1] = Math.max(0, (parts[i + 1] ?? 0) - count)
  }
  return { perMs: window.perMs, parts }
}

/** The same window under a clock that went back: what lies ahead of `now` counts as of now. */
export function clampWindow(window: RollingWindow, now: number): RollingWindow {
  const part = partOf(window, now)
  const { parts } = window
  if (parts.length === 0 || (parts[parts.length - 2] ?? 0) <= part) return window
  const next: number[] = []
  let ahead = 0
  for (let i = 0; i < parts.length; i += 2) {
    const at = parts[i] ?? 0
    if (at < part) next.push(at, parts[i + 1] ?? 0)
    else ahead += parts[i + 1] ?? 0
  }
  next.push(part, ahead)
  return { perMs: window.perMs, parts: next }
}
