// Against the real Bottleneck, in its in-process form. A shared one differs by its datastore only.

import Bottleneck from 'bottleneck'
import { afterEach, describe, expect, it } from 'vitest'
import { bottleneckGate, type EgressGate } from '../src/bottleneck.ts'
import { SteadymailError } from '../src/core/error.ts'
import type { Priority } from '../src/core/message.ts'

const limiters: Bottleneck[] = []

function limiterOf(options: Bottleneck.ConstructorOptions = {}): Bottleneck {
  const limiter = new Bottleneck(options)
  limiters.push(limiter)
  return limiter
}

afterEach(async () => {
  for (const limiter of limiters.splice(0)) await limiter.disconnect()
})

/** A permit that is held until it is given back. */
function permit(gate: EgressGate, priority: Priority = 1) {
  let giveBack = () => {}
  let granted = () => {}
  const grant = new Promise<void>((resolve) => {
    granted = resolve
  })
  const held = new Promise<void>((resolve) => {
    giveBack = resolve
  })
  const over = gate.schedule(
    () => {
      granted()
      return held
    },
    { priority },
  )
  over.catch(() => {})
  return { grant, over, giveBack }
}

/** Resolves when so many more requests have reached the limiter's queue. */
function queuedIn(limiter: Bottleneck, count: number): Promise<void> {
  let missing = count
  return new Promise((resolve) => {
    limiter.on('queued', () => {
      missing--
      if (missing === 0) resolve()
    })
  })
}

async function errorOf(promise: Promise<unknown>): Promise<SteadymailError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(SteadymailError)
  return error as SteadymailError
}

describe('a Bottleneck as the egress gate', () => {
  it('grants as many permits at a time as the limiter allows, and the next when one comes back', async () => {
    const limiter = limiterOf({ maxConcurrent: 2 })
    const gate = bottleneckGate(limiter)
    const queued = queuedIn(limiter, 3)
    const permits = [permit(gate), permit(gate), permit(gate)] as const
    await Promise.all([queued, permits[0].grant, permits[1].grant])
    expect(limiter.counts()).toMatchObject({ EXECUTING: 2, QUEUED: 1 })
    permits[0].giveBack()
    await permits[2].grant
    permits[1].giveBack()
    permits[2].giveBack()
    await Promise.all(permits.map((p) => p.over))
    expect(limiter.counts()).toMatchObject({ EXECUTING: 0, QUEUED: 0 })
  })

  it('lets high priority before normal before bulk, and others’ default in between', async () => {
    const limiter = limiterOf({ maxConcurrent: 1 })
    const gate = bottleneckGate(limiter)
    const order: string[] = []
    const first = permit(gate)
    await first.grant
    const queued = queuedIn(limiter, 4)
    const waiting = [
      gate.schedule(async () => order.push('bulk'), { priority: 2 }),
      limiter.schedule(async () => order.push('somebody else')),
      gate.schedule(async () => order.push('normal'), { priority: 1 }),
      gate.schedule(async () => order.push('high'), { priority: 0 }),
    ]
    await queued
    first.giveBack()
    await Promise.all(waiting)
    expect(order).toEqual(['high', 'somebody else', 'normal', 'bulk'])
  })

  it('spends the quota: an empty reservoir grants nothing until it is filled', async () => {
    const limiter = limiterOf({ reservoir: 1 })
    const gate = bottleneckGate(limiter)
    await gate.schedule(async () => {}, { priority: 1 })
    const next = permit(gate)
    expect(await limiter.check()).toBe(false)
    expect(gate.waitingMs?.()).toBeGreaterThanOrEqual(0)
    await limiter.incrementReservoir(1)
    await next.grant
    expect(gate.waitingMs?.()).toBeUndefined()
    next.giveBack()
    await next.over
  })

  it('gives through what the use gives, and what it throws', async () => {
    const gate = bottleneckGate(limiterOf())
    await expect(gate.schedule(async () => 7, { priority: 1 })).resolves.toBe(7)
    const failure = new Error('the use failed')
    await expect(gate.schedule(() => Promise.reject(failure), { priority: 1 })).rejects.toBe(failure)
  })
})

describe('when there will be no permit', () => {
  it('closing drops what waits as CLOSED and lets what was granted end; nothing dropped was used', async () => {
    const gate = bottleneckGate(limiterOf({ maxConcurrent: 1 }))
    const granted = permit(gate)
    await granted.grant
    let used = false
    const waiting = gate.schedule(
      async () => {
        used = true
      },
      { priority: 1 },
    )
    const closing = gate.close?.()
    const error = await errorOf(waiting)
    expect([error.code, error.message]).toEqual(['CLOSED', 'egress.gate: closed, no more permits'])
    granted.giveBack()
    await Promise.all([granted.over, closing])
    expect(used).toBe(false)
    expect((await errorOf(gate.schedule(async () => {}, { priority: 1 }))).code).toBe('CLOSED')
  })

  it('closing twice, or after its owner stopped it, is the same', async () => {
    const limiter = limiterOf()
    const gate = bottleneckGate(limiter)
    await limiter.stop()
    await gate.close?.()
    await gate.close?.()
  })

  it('a limiter its owner stopped refuses as CLOSED', async () => {
    const limiter = limiterOf()
    const gate = bottleneckGate(limiter)
    await limiter.stop()
    expect((await errorOf(gate.schedule(async () => {}, { priority: 1 }))).code).toBe('CLOSED')
  })

  it('a limiter left running goes on for others, and what was withdrawn is never used', async () => {
    const limiter = limiterOf({ maxConcurrent: 1 })
    const gate = bottleneckGate(limiter, { onClose: 'leave' })
    const granted = permit(gate)
    await granted.grant
    let used = false
    const waiting = gate.schedule(
      async () => {
        used = true
      },
      { priority: 1 },
    )
    await gate.close?.()
    expect((await errorOf(waiting)).code).toBe('CLOSED')
    granted.giveBack()
    await expect(limiter.schedule({ priority: 9 }, async () => 'still here')).resolves.toBe('still here')
    expect(used).toBe(false)
    expect((await errorOf(gate.schedule(async () => {}, { priority: 1 }))).code).toBe('CLOSED')
  })

  it('a request dropped at highWater says so', async () => {
    const limiter = limiterOf({ maxConcurrent: 1, highWater: 0, strategy: Bottleneck.strategy.OVERFLOW })
    const gate = bottleneckGate(limiter)
    const granted = permit(gate)
    await granted.grant
    const error = await errorOf(gate.schedule(async () => {}, { priority: 1 }))
    expect([error.code, error.message]).toEqual([
      'BAD_STATE',
      'egress.gate: the limiter dropped the request, its highWater is reached',
    ])
    granted.giveBack()
    await granted.over
  })
})

describe('refused', () => {
  it.each([undefined, {}, { schedule: () => {} }, 'limiter'])('as no limiter: %j', (given) => {
    expect(() => bottleneckGate(given as unknown as Bottleneck)).toThrow(
      'limiter: expected a Bottleneck instance',
    )
  })

  it('a limiter that never answers for what it drops', () => {
    expect(() => bottleneckGate(limiterOf({ rejectOnDrop: false }))).toThrow(
      'limiter.rejectOnDrop: expected true, else a dropped request never ends, got false',
    )
  })

  it('an unknown way to close', () => {
    expect(() => bottleneckGate(limiterOf(), { onClose: 'kill' as 'stop' })).toThrow(
      "onClose: expected one of 'stop', 'leave', got 'kill'",
    )
  })
})
