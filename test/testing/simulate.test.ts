import { describe, expect, it } from 'vitest'
import { DAY, HOUR, MINUTE, SECOND } from '../../src/core/units.ts'
import type { SimulatedLane } from '../../src/testing/ledger.ts'
import { picture } from '../../src/testing/picture.ts'
import type { Plan } from '../../src/testing/plan.ts'
import { simulate } from '../../src/testing/simulate.ts'

async function only(plan: Plan): Promise<SimulatedLane> {
  const { lanes } = await simulate(plan)
  expect(lanes).toHaveLength(1)
  return lanes[0] as SimulatedLane
}

const receiving = (
  receiver: Plan['providers'][number]['receiver'],
  took?: '10m',
): Plan['providers'][number] => ({
  name: 'receiver',
  domains: ['receiver.example'],
  receiver,
  ...(took !== undefined && { took }),
})

describe('a simulation of the real engine', () => {
  it('drains a backlog at the configured limit without one refusal', async () => {
    const lane = await only({
      policies: [{ name: 'receiver', domains: ['receiver.example'], rate: '60/min', burst: 1 }],
      providers: [receiving({ kind: 'sliding-window', limit: '60/min' })],
      traffic: [{ to: 'receiver.example', messages: 300 }],
    })
    expect(lane).toMatchObject({ delivered: 300, attempts: 300, violations: 0, holds: [] })
    expect(lane.drainMs).toBeLessThan(5.2 * MINUTE)
  })

  it('finds a limit that nobody told it, by a handful of refusals', async () => {
    const lane = await only({
      providers: [receiving({ kind: 'sliding-window', limit: '60/min' })],
      traffic: [{ to: 'receiver.example', messages: 3_000 }],
    })
    expect(lane.delivered).toBe(3_000)
    expect(lane.violations).toBeLessThan(10)
    expect(lane.drainMs).toBeLessThan(1.6 * 50 * MINUTE)
  })

  it('drains a provider that counts retries', async () => {
    const lane = await only({
      providers: [receiving({ kind: 'counts-retries', limit: '120/h' })],
      traffic: [{ to: 'receiver.example', messages: 500 }],
    })
    expect(lane).toMatchObject({ delivered: 500, failed: 0 })
    expect(lane.drainMs).toBeLessThan(1.6 * 4 * HOUR)
    expect(lane.troubles).toContainEqual(expect.stringMatching(/^held 3 times within .* for rate-limit/))
  })

  it('remembers what it sent when the limit is met by a trickle, not by a backlog', async () => {
    const lane = await only({
      providers: [receiving({ kind: 'counts-retries', limit: '300/h' })],
      traffic: [{ to: 'receiver.example', messages: 1_500, over: '1h' }],
    })
    expect(lane.delivered).toBe(1_500)
    expect(lane.drainMs).toBeLessThan(1.6 * 5 * HOUR)
  })

  it('warms up: each day the next stage, as long as what it let go was accepted', async () => {
    const lane = await only({
      policies: [
        {
          name: 'receiver',
          domains: ['receiver.example'],
          warmup: { start: '2026-01-01', daily: [50, 100, 200] },
        },
      ],
      providers: [receiving({ kind: 'token-bucket', rate: '10/s', burst: 100 })],
      traffic: [{ to: 'receiver.example', messages: 400 }],
    })
    const byDay = [0, 1, 2, 3].map((day) =>
      lane.steps
        .filter((step) => Math.ceil(step.at / DAY) === day + 1)
        .reduce((sum, step) => sum + step.delivered, 0),
    )
    expect(byDay.slice(0, 3)).toEqual([45, 90, 180])
    expect(lane.delivered).toBe(400)
  })

  it('keeps to the connections a receiver allows after it was told so', async () => {
    const lane = await only({
      providers: [receiving({ kind: 'max-connections', limit: 2 })],
      traffic: [{ to: 'receiver.example', messages: 500 }],
    })
    expect(lane.delivered).toBe(500)
    expect(lane.violations).toBeLessThan(10)
    expect(lane.steps.every((step) => (step.rate ?? 0) > 0)).toBe(true)
  })

  it('sits out an outage with a handful of probes', async () => {
    const lane = await only({
      providers: [receiving({ kind: 'outage', from: '1m', lasts: '6h', how: 'refused' })],
      traffic: [{ to: 'receiver.example', messages: 500, over: '10m' }],
    })
    expect(lane.delivered).toBe(500)
    expect(lane.wasted).toBeLessThan(40)
    expect(lane.drainMs).toBeLessThan(7 * HOUR)
    expect(lane.holds[0]).toMatchObject({ cause: 'network' })
  })

  it('tries a greylisted message twice, without slowing the lane', async () => {
    const lane = await only({
      providers: [receiving({ kind: 'greylist', delay: '5m' })],
      traffic: [{ to: 'receiver.example', messages: 200 }],
    })
    expect(lane).toMatchObject({ delivered: 200, attempts: 400, violations: 0, holds: [] })
    expect(lane.waitedMs.median).toBeLessThan(10 * MINUTE)
  })

  it('sends a password reset in a new lane at once, whatever bulk waits behind the quota', async () => {
    const bulk = Array.from({ length: 60 }, (_, i) => ({
      to: `bulk${i}.example`,
      messages: 40,
      priority: 'bulk' as const,
    }))
    const { lanes } = await simulate({
      providers: [],
      egress: { rate: '2/s' },
      traffic: [...bulk, { to: 'reset.example', messages: 5, from: '2m', over: '10m', priority: 'high' }],
    })
    const reset = lanes.find((lane) => lane.lane === 'reset.example')
    expect(reset?.waitedMs.p95).toBeLessThan(5 * SECOND)
    expect(lanes.every((lane) => lane.delivered === lane.messages)).toBe(true)
  })

  it('is not slowed by lanes with mail of several priorities that wait for the last slot', async () => {
    const slow = Array.from({ length: 8 }, (_, i) => `slow${i}.example`)
    const { delivered } = await simulate({
      providers: slow.map((domain) => ({
        ...receiving({ kind: 'max-connections', limit: 100 }),
        name: domain,
        domains: [domain],
        took: '3s',
      })),
      traffic: slow.flatMap((to) => [
        { to, messages: 60, priority: 'high' as const },
        { to, messages: 60, priority: 'normal' as const },
        { to, messages: 60, priority: 'bulk' as const },
      ]),
    })
    expect(delivered).toBe(8 * 180)
  })

  it('does not let a receiver that hangs keep others waiting', async () => {
    const { lanes } = await simulate({
      providers: [receiving([{ kind: 'max-connections', limit: 100 }], '10m')],
      traffic: [
        { to: 'receiver.example', messages: 50 },
        { to: 'brisk.example', messages: 50, from: '1m', over: '50m' },
      ],
    })
    expect(lanes.find((lane) => lane.lane === 'brisk.example')?.waitedMs.p95).toBeLessThan(5 * SECOND)
  })

  it('repeats itself with the same seed, and not with another', async () => {
    const plan = (seed: number): Plan => ({
      seed,
      providers: [receiving({ kind: 'sliding-window', limit: '30/min' })],
      traffic: [{ to: 'receiver.example', messages: 200 }],
    })
    const [first, again, other] = [await simulate(plan(3)), await simulate(plan(3)), await simulate(plan(4))]
    expect(again).toEqual(first)
    expect(other.lengthMs).not.toBe(first.lengthMs)
  })

  it('ends after its days, with what still waits', async () => {
    const { lanes, lengthMs, delivered } = await simulate({
      days: 0.5,
      providers: [receiving({ kind: 'outage', from: 0, lasts: '10d' })],
      traffic: [{ to: 'receiver.example', messages: 10 }],
    })
    expect(lanes[0]).toMatchObject({ delivered: 0, failed: 0, waiting: 10 })
    expect([delivered, lengthMs]).toEqual([0, 12 * HOUR])
  })

  it('fails what its TTL ends', async () => {
    const { failed } = await simulate({
      ttl: '2h',
      providers: [receiving({ kind: 'outage', from: 0, lasts: '10d' })],
      traffic: [{ to: 'receiver.example', messages: 10 }],
    })
    expect(failed).toBe(10)
  })

  it('names the field of a plan that makes no sense', async () => {
    const providers = [receiving({ kind: 'greylist' })]
    const traffic = [{ to: 'receiver.example', messages: 1 }]
    const broken: readonly (readonly [unknown, string])[] = [
      [{ providers, traffic: [] }, 'traffic'],
      [{ providers, traffic: [{ to: 'receiver.example', messages: 0 }] }, 'traffic[0].messages'],
      [{ providers, traffic: [{ to: 'receiver.example', messages: 1, over: 'long' }] }, 'traffic[0].over'],
      [{ providers: [{ ...providers[0], took: 'long' }], traffic }, 'providers[0].took'],
      [{ providers, traffic, days: 0 }, 'days'],
      [{ providers, traffic, egres: {} }, 'egres'],
      [{ providers, traffic, policies: [{ name: 'x', domains: ['x'], rate: 'fast' }] }, 'policies[0].rate'],
    ]
    for (const [plan, path] of broken) await expect(simulate(plan as Plan)).rejects.toMatchObject({ path })
  })
})

describe('the picture of a simulation', () => {
  it('is one SVG that needs nothing else, with the lane’s name, holds and sum', async () => {
    const simulation = await simulate({
      providers: [receiving({ kind: 'sliding-window', limit: '60/min' })],
      traffic: [{ to: 'receiver.example', messages: 600 }],
    })
    const svg = picture(simulation, { title: '<Tom & "Jerry">' })
    expect(svg).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg"[^>]*>[\s\S]*<\/svg>\n$/)
    expect(svg).toContain('&#60;Tom &#38; &#34;Jerry&#34;&#62;')
    expect(svg).toContain('receiver.example')
    expect(svg).toContain('600 of 600 delivered')
    expect(svg).toContain('rate-limit, ')
    expect(svg).not.toMatch(/<script|href=|NaN|Infinity|undefined/)
  })

  it('draws the lanes it is asked for', async () => {
    const simulation = await simulate({
      providers: [],
      traffic: [
        { to: 'one.example', messages: 1 },
        { to: 'two.example', messages: 1 },
      ],
    })
    expect(picture(simulation, { lanes: ['two.example'] })).not.toContain('one.example')
  })
})
