// When the state of a lane is written.

import { expect, it } from 'vitest'
import { depart, openLane } from '../src/core/lane.ts'
import type { Gated } from '../src/lanes.ts'
import { UnsavedLanes } from '../src/unsaved-lanes.ts'

const NOW = Date.UTC(2026, 0, 1)
const limits: Gated['limits'] = {
  rate: { count: 1, perMs: 1_000, text: '1/s' },
  burst: 100,
  concurrency: 10,
  caps: [],
}

it('what a lane had spent before a turn that failed is saved with the next, though nothing more is sent there', () => {
  const lanes = new UnsavedLanes()
  const state = openLane(limits, NOW)
  const lane: Gated = {
    key: 'x.test',
    limits,
    state,
    inFlight: 0,
    probing: false,
    dirty: false,
    saved: state,
  }
  const spend = (tokens: number) => {
    lane.state = depart(lane.state, limits, NOW, tokens)
    lanes.stain(lane, NOW)
  }
  spend(1) // may wait for company
  const before = lane.state
  const taken = lanes.take(NOW)
  spend(50) // the turn's own claim
  expect(lanes.rows(taken, NOW).map(({ key }) => key)).toEqual(['x.test'])
  lane.state = before
  lanes.giveBack(taken, [lane])
  expect(lanes.dueAt(NOW)).toBe(NOW)
  const [row] = lanes.rows(lanes.take(NOW), NOW)
  expect(row).toEqual({ key: 'x.test', state: JSON.stringify(before) })
  expect(lane.dirty).toBe(false)
})

it('lanes that only count are saved 256 a turn, until all are', () => {
  const lanes = new UnsavedLanes()
  const all = Array.from({ length: 600 }, (_, n): Gated => {
    const state = openLane(limits, NOW)
    return { key: `${n}.test`, limits, state, inFlight: 0, probing: false, dirty: false, saved: state }
  })
  for (const lane of all) {
    lane.state = depart(lane.state, limits, NOW, 1)
    lanes.stain(lane, NOW)
  }
  expect(lanes.take(NOW)).toEqual([])
  const due = lanes.dueAt(NOW)
  expect(due).toBe(NOW + 250)
  const saved: string[] = []
  for (const [count, next] of [
    [256, due],
    [256, due],
    [88, Number.POSITIVE_INFINITY],
  ] as const) {
    const rows = lanes.rows(lanes.take(due), due)
    expect(rows).toHaveLength(count)
    expect(lanes.dueAt(due)).toBe(next)
    saved.push(...rows.map(({ key }) => key))
  }
  expect(new Set(saved).size).toBe(600)
  expect(lanes.size).toBe(0)
})
