// Whose turn it is, where a lane's connection is dear and each has a run of ten.

import { builtinPolicies } from 'steadymail'
import { describe, expect, it } from 'vitest'
import type { LaneState } from '../src/core/lane.ts'
import { policyBook } from '../src/core/policy-book.ts'
import { Egress } from '../src/egress.ts'
import { type Gated, Lanes, type Plan } from '../src/lanes.ts'

const MANY = { burst: 1_000_000, caps: [], concurrency: 1000 }
const NOW = 1_000_000
const unused = () => {
  throw new Error('nothing is classified here')
}

function lanesOf(waiting: Readonly<Record<string, number>>, connections: number) {
  const lanes = new Lanes(new Egress({ ...MANY, concurrency: connections }, NOW, connections), 10)
  const policy = { ...policyBook([], builtinPolicies, () => unused).forDomain('acme.test'), limits: MANY }
  for (const [key, count] of Object.entries(waiting))
    lanes.note(lanes.queue(lanes.lane(key, policy, NOW), 'us.test', 1), NOW, count, NOW)
  const undo = new Map<Gated, LaneState>()
  /** Begins what may begin; gives the lanes in order. */
  const go = (): Plan[] => {
    const plans: Plan[] = []
    for (let plan = lanes.plan(NOW, undo); plan; plan = lanes.plan(NOW, undo)) {
      lanes.answered(plan.queue, 1, plan.queue.waiting > 1 ? NOW : undefined)
      lanes.reschedule(plan.lane, NOW)
      plans.push(plan)
    }
    return plans
  }
  const end = (plan: Plan) => {
    lanes.release(plan, true)
    lanes.reschedule(plan.lane, NOW)
  }
  return { lanes, go, end }
}

describe('lanes with a run of ten', () => {
  it('each begin one message, and go on with their own as each ends', () => {
    const { go, end } = lanesOf({ a: 50, b: 50, c: 50, d: 50 }, 2)
    const order: string[] = []
    let flying = go()
    for (let i = 0; i < 40; i++) {
      order.push(...flying.map(({ lane }) => lane.key))
      for (const plan of flying) end(plan)
      flying = go()
    }
    expect(order.slice(0, 20).sort().join('')).toBe('a'.repeat(10) + 'b'.repeat(10))
    expect(order.slice(20, 40).sort().join('')).toBe('c'.repeat(10) + 'd'.repeat(10))
    expect(order.slice(40, 60).sort().join('')).toBe('a'.repeat(10) + 'b'.repeat(10))
  })

  it('share what is free evenly when there are fewer lanes than connections', () => {
    const { go } = lanesOf({ a: 50, b: 50 }, 10)
    const keys = go().map(({ lane }) => lane.key)
    // the last slot is for a lane that has none
    expect(keys).toHaveLength(9)
    expect(keys.filter((key) => key === 'a').length).toBeGreaterThanOrEqual(4)
    expect(keys.filter((key) => key === 'b').length).toBeGreaterThanOrEqual(4)
  })

  it('that leave the last slot to others go on when another is free', () => {
    const { go, end } = lanesOf({ a: 50 }, 3)
    let flying = go()
    expect(flying).toHaveLength(2)
    for (let sent = 0; sent < 5; sent++) {
      end(flying[0] as Plan)
      flying = [...flying.slice(1), ...go()]
      expect(flying).toHaveLength(2)
    }
  })

  it('stand in line once, however many messages they had', () => {
    const { lanes, go, end } = lanesOf({ a: 5000, b: 5000 }, 5)
    let flying = go()
    for (let i = 0; i < 2000; i++) {
      const [first, ...rest] = flying
      if (first) end(first)
      flying = [...rest, ...go()]
    }
    for (const plan of flying) end(plan)
    // a place that was left behind is passed over once: there are a few, not one for each message
    expect(lanes.readyCount(NOW)).toBeLessThan(20)
  })
})
