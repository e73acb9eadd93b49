import { describe, expect, it } from 'vitest'
import { apply } from '../../src/core/apply.ts'
import type { AttemptRecord } from '../../src/core/delivery.ts'
import { deliveryOf, MIN, replyOf, T0 } from './fixtures.ts'

const record: AttemptRecord = { at: T0, durationMs: 12, counted: true, reply: replyOf() }
const again = { kind: 'retry', at: T0 + MIN } as const

describe('a delivery after a decision', () => {
  it('is accepted, with its moment', () => {
    const after = apply(deliveryOf({ uncounted: 3 }), { kind: 'complete' }, record, T0 + 5)
    expect(after).toMatchObject({
      state: 'accepted',
      settledAt: T0 + 5,
      tries: 1,
      attempts: 1,
      uncounted: 0,
      last: record,
    })
  })

  it('has failed, with its reason', () => {
    const after = apply(deliveryOf(), { kind: 'fail', reason: 'expired' }, record, T0 + 5)
    expect(after).toMatchObject({ state: 'failed', reason: 'expired', settledAt: T0 + 5, tries: 1 })
  })

  it('has expired without a try: nothing is counted', () => {
    const after = apply(
      deliveryOf({ tries: 4, attempts: 2 }),
      { kind: 'fail', reason: 'expired' },
      undefined,
      T0,
    )
    expect(after).toMatchObject({ state: 'failed', tries: 4, attempts: 2 })
    expect(after).not.toHaveProperty('last')
  })

  it('waits, counted: the back-off goes on and the free tries begin anew', () => {
    const after = apply(deliveryOf({ uncounted: 3 }), { ...again, countsAsAttempt: true }, record, T0)
    expect(after).toMatchObject({ state: 'waiting', dueAt: T0 + MIN, attempts: 1, tries: 1, uncounted: 0 })
  })

  it('waits, not counted: the back-off is left alone', () => {
    const after = apply(deliveryOf({ attempts: 2 }), { ...again, countsAsAttempt: false }, record, T0)
    expect(after).toMatchObject({ state: 'waiting', attempts: 2, tries: 1, uncounted: 1 })
  })

  it('waits, overdrawn: the free tries stay used up', () => {
    const decision = { ...again, countsAsAttempt: true, overdrawn: true }
    expect(apply(deliveryOf({ uncounted: 20 }), decision, record, T0)).toMatchObject({
      attempts: 1,
      uncounted: 20,
    })
  })

  it('is parked, and remembers an uncertain outcome', () => {
    const after = apply(deliveryOf(), { kind: 'park', why: 'uncertain' }, { ...record, uncertain: true }, T0)
    expect(after).toMatchObject({ state: 'parked', uncertain: 1, tries: 1 })
  })

  it('that had failed waits again without its reason', () => {
    const failed = deliveryOf({ state: 'failed', reason: 'rejected', settledAt: T0 })
    const after = apply(failed, { ...again, countsAsAttempt: false }, undefined, T0)
    expect(after).toMatchObject({ state: 'waiting', uncounted: 0, tries: 0 })
    expect(after).not.toHaveProperty('reason')
    expect(after).not.toHaveProperty('settledAt')
  })

  it('is a new value', () => {
    const before = Object.freeze(deliveryOf())
    expect(apply(before, { kind: 'complete' }, record, T0)).not.toBe(before)
  })
})
