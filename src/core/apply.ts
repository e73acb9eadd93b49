// A decision written down: the delivery as it is afterwards. A new value each time; counters only ever grow
// here, but for the tries that did not count, which end with one that did.

import { crashesWith, isCrash } from './crash.ts'
import type { Decision } from './decide.ts'
import { type AttemptRecord, copyDelivery, type Delivery } from './delivery.ts'

/** The delivery after a decision; `record` is the try it followed, if there was one. */
export function apply(
  delivery: Delivery,
  decision: Decision,
  record: AttemptRecord | undefined,
  now: number,
): Delivery {
  if (decision.kind === 'complete' && record !== undefined && !isCrash(record) && !isMarked(delivery))
    return completed(delivery, record, now)
  const crashed = isCrash(record)
  const tried = {
    ...(delivery.settledAt === undefined && delivery.reason === undefined ? delivery : reopened(delivery)),
    tries: delivery.tries + (record === undefined ? 0 : 1),
    uncertain: delivery.uncertain + (record?.uncertain === true && !crashed ? 1 : 0),
    crashes: crashed ? crashesWith(delivery, now) : delivery.crashes,
    ...(record === undefined ? {} : { last: record }),
  }
  const attempts = delivery.attempts + (record?.counted === true ? 1 : 0)
  switch (decision.kind) {
    case 'complete':
      return { ...tried, attempts, uncounted: 0, state: 'accepted', settledAt: now }
    case 'park':
      return { ...tried, attempts, state: 'parked' }
    case 'fail':
      return { ...tried, attempts, state: 'failed', reason: decision.reason, settledAt: now }
    case 'retry': {
      const waiting = { ...tried, state: 'waiting' as const, dueAt: decision.at }
      if (!decision.countsAsAttempt)
        return { ...waiting, uncounted: delivery.uncounted + (record === undefined || crashed ? 0 : 1) }
      // after too many free tries each one counts, until something else is said
      const uncounted = decision.overdrawn === true ? delivery.uncounted : 0
      return { ...waiting, attempts, uncounted }
    }
    default:
      return decision satisfies never
  }
}

function reopened(delivery: Delivery): Delivery {
  const { settledAt: _settledAt, reason: _reason, ...open } = delivery
  return open
}

/** Whether it ended before and was opened again: then fields have to go. */
function isMarked({ settledAt, reason }: Delivery): boolean {
  return settledAt !== undefined || reason !== undefined
}

/** The usual end. */
function completed(delivery: Delivery, record: AttemptRecord, now: number): Delivery {
  const next = copyDelivery(delivery)
  next.state = 'accepted'
  if (record.counted) next.attempts++
  next.tries++
  next.uncounted = 0
  if (record.uncertain === true) next.uncertain++
  next.settledAt = now
  next.last = record
  return next
}
