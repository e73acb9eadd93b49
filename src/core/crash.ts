// Claims found open when a process starts: whoever made them died during the try. The record that says so is
// also what tells crashes apart that lie close together: a service that restarts three times in a minute has
// had one accident, not a message that kills it. Not here: what becomes of the delivery (decide.ts).

import type { AttemptRecord, Delivery } from './delivery.ts'
import { MINUTE } from './units.ts'

/** Crashes closer together than this count as one. */
export const CRASHES_APART_MS = 15 * MINUTE

const CRASHED = 'ECRASHED'

/** The record of a try during which its process ended. */
export function crashRecord(now: number): AttemptRecord {
  return {
    at: now,
    durationMs: 0,
    counted: false,
    reply: { text: 'the process ended during this try', phase: 'unknown', errno: CRASHED },
    uncertain: true,
  }
}

export function isCrash(record: AttemptRecord | undefined): boolean {
  return record?.reply.errno === CRASHED
}

/** How many crashes it has had, this one included. */
export function crashesWith(delivery: Delivery, now: number): number {
  const { last, crashes } = delivery
  const apart = last === undefined || !isCrash(last) || now - last.at >= CRASHES_APART_MS
  return apart ? crashes + 1 : crashes
}
