// Random receivers, random traffic, the real engine: whatever meets whom, all mail is delivered, and politely.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ReceiverSpec } from '../../src/testing/models.ts'
import type { Plan } from '../../src/testing/plan.ts'
import { simulate } from '../../src/testing/simulate.ts'

const receiver: fc.Arbitrary<ReceiverSpec> = fc.oneof(
  fc.record({
    kind: fc.constantFrom('sliding-window' as const, 'counts-retries' as const, 'reputation' as const),
    limit: fc.constantFrom('20/min' as const, '60/min' as const, '300/h' as const, '3/s' as const),
  }),
  fc.record({
    kind: fc.constant('token-bucket' as const),
    rate: fc.constantFrom('1/s' as const, '30/min' as const, '200/h' as const),
    burst: fc.integer({ min: 1, max: 100 }),
  }),
  fc.record({ kind: fc.constant('greylist' as const), delay: fc.constantFrom('1m' as const, '5m' as const) }),
  fc.record({ kind: fc.constant('max-connections' as const), limit: fc.integer({ min: 1, max: 6 }) }),
  fc.record({
    kind: fc.constant('outage' as const),
    from: fc.integer({ min: 0, max: 4 * 3_600_000 }),
    lasts: fc.integer({ min: 60_000, max: 4 * 3_600_000 }),
    how: fc.constantFrom('busy' as const, 'refused' as const),
  }),
)

const plan: fc.Arbitrary<Plan> = fc
  .record({
    seed: fc.nat(1_000),
    route: fc.constantFrom('direct' as const, 'relay' as const),
    receivers: fc.array(fc.array(receiver, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 8 }),
    traffic: fc.array(
      fc.record({
        messages: fc.integer({ min: 1, max: 80 }),
        over: fc.constantFrom(0, '1h' as const, '5h' as const),
        priority: fc.constantFrom('high' as const, 'normal' as const, 'bulk' as const),
        sender: fc.constantFrom('a@one.example', 'b@two.example'),
      }),
      { minLength: 1, maxLength: 16 },
    ),
  })
  .map(({ seed, route, receivers, traffic }) => ({
    seed,
    route,
    providers: receivers.map((spec, i) => ({ name: `p${i}`, domains: [`p${i}.example`], receiver: spec })),
    traffic: traffic.map((one, i) => ({ ...one, to: `p${i % receivers.length}.example` })),
  }))

describe('whatever the plan', () => {
  it('all mail is delivered, and few attempts pass a limit', { timeout: 60_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(plan, async (given) => {
        const { lanes, messages, delivered } = await simulate(given)
        expect(delivered).toBe(messages)
        for (const lane of lanes) expect(lane.violations).toBeLessThan(10 + lane.messages / 5)
      }),
      { numRuns: 12 },
    )
  })
})
