// The short form of npm run chaos: some points, some moments, a poisonous message, a pause, a deploy.

import { describe, expect, it } from 'vitest'
import type { Counts } from './fixtures/audit.ts'
import { handOver } from './handover.ts'
import { runMoments } from './moments.ts'
import { POINTS, runPoint } from './points.ts'
import { PAUSES, paused, poison, sameKeys, takeOver } from './processes.ts'

/** The points at which most can go wrong; npm run chaos does all. */
const SHORT = [
  'stored, before anybody hears of it',
  'claimed, on disk',
  'in the body',
  'after the dot, taken, no reply',
  'after the dot, taken and replied',
  'replied, before it is settled',
  'settled, before it is on disk',
  'folded, not committed',
  'onSettled called, not acknowledged',
]

function sound(counts: Counts): void {
  expect(counts).toMatchObject({ lost: 0, unmarked: 0, wrong: [] })
  expect(counts.stored).toBeGreaterThan(0)
}

describe.concurrent('a process is killed', () => {
  it.each(SHORT)('%s: all is delivered, and what came twice says so', { timeout: 60_000 }, async (name) => {
    const point = POINTS.find((one) => one.name === name)
    if (point === undefined) throw new Error(`no point is named '${name}'`)
    const counts = await runPoint(point)
    sound(counts)
    expect(counts.accepted).toBe(counts.stored)
  })

  it('at ten random moments under load', { timeout: 60_000 }, async () => {
    const counts = await runMoments(10, 7)
    sound(counts)
    expect(counts.accepted).toBe(counts.stored)
  })

  it('or closed, after a moment, and so is each that follows: every outcome is heard of', {
    timeout: 60_000,
  }, async () => {
    const counts = await handOver(12, 3)
    sound(counts)
    expect(counts.accepted).toBeGreaterThanOrEqual(counts.stored)
  })

  it('at every try by one message: that is parked, and the 40 others go out', {
    timeout: 60_000,
  }, async () => {
    const counts = await poison(1)
    sound(counts)
    expect(counts).toMatchObject({ parked: 1, accepted: 40 })
    // three that count, and the second of two that came too close
    expect(counts.deaths).toBeLessThanOrEqual(4)
  })

  it('while others hand over the same keys: each arrives once', { timeout: 60_000 }, async () => {
    const counts = await sameKeys()
    sound(counts)
    expect(counts).toMatchObject({ stored: 60, accepted: 60, delivered: 60, duplicates: 0 })
  })

  it('while another waits: it takes over as soon as the lease is over', { timeout: 60_000 }, async () => {
    const counts = await takeOver('SIGKILL', { factor: 10, stretch: 2 })
    sound(counts)
    expect(counts).toMatchObject({ accepted: 60, duplicates: 0 })
    // 10 s and a look, at a fifth of that
    expect(counts.ms).toBeLessThan(10_000)
  })
})

describe.concurrent('a process is paused and wakes up behind its successor', () => {
  it.each(PAUSES.filter((pause) => pause.name !== 'in the body'))(
    '$name: nothing is sent twice unmarked',
    { timeout: 60_000 },
    async (pause) => {
      const counts = await paused(pause)
      sound(counts)
      expect(counts.accepted).toBe(counts.stored)
      if (pause.at !== undefined) expect(counts.duplicates).toBe(0)
    },
  )
})
