// Every wait has one named reason: random worlds, looked at again and again, in which no recipient may wait without
// one, no reason may name a moment that is over, and none may turn out to have been untrue.
// Single reasons, each with its words, are test/explain.test.ts.

import fc from 'fast-check'
import {
  type Binding,
  type EgressGate,
  type Explanation,
  type Mailer,
  memoryStore,
  type PriorityName,
  type ProviderPolicy,
  type Ticket,
  wrapTransport,
} from 'steadymail'
import { manualClock, type ScriptedAnswer, scriptedTransport } from 'steadymail/testing'
import { expect, it } from 'vitest'
import { MINUTE, mail } from './world.ts'

const SECOND = 1_000

/**
 * What each reason says of time. `timed`: until when. `endless`: until when, or for ever. `answer`: something that
 * has no moment ends it. `passing`: none that could be met when all that is due now has happened.
 */
const KINDS: Record<Binding, 'timed' | 'endless' | 'answer' | 'passing'> = {
  settled: 'answer',
  parked: 'answer',
  'in-flight': 'answer',
  'not-before': 'timed',
  'back-off': 'timed',
  token: 'timed',
  cap: 'timed',
  reserve: 'timed',
  warmup: 'timed',
  hold: 'endless',
  probe: 'answer',
  concurrency: 'answer',
  'egress-token': 'timed',
  'egress-cap': 'timed',
  'egress-reserve': 'timed',
  'egress-warmup': 'timed',
  'egress-hold': 'endless',
  'egress-probe': 'answer',
  'egress-concurrency': 'answer',
  'sender-hold': 'endless',
  'sender-probe': 'answer',
  gate: 'answer',
  slot: 'answer',
  turn: 'passing',
  store: 'answer',
  owner: 'answer',
  stopped: 'answer',
  open: 'passing',
}

/** Whose end nothing in these worlds brings forward: no attempt is made before. */
const FIRM = new Set<Binding>(['not-before', 'back-off', 'warmup', 'egress-warmup', 'cap', 'egress-cap'])

/** What may still keep mail when nobody refuses any and nobody holds any. */
const LEFT: readonly Binding[] = [
  'settled',
  'parked',
  'token',
  'cap',
  'reserve',
  'warmup',
  'egress-token',
  'egress-reserve',
  'egress-warmup',
]

const DOMAINS = ['a', 'b', 'c', 'd'] as const
const SENDERS = ['one.test', 'two.test'] as const
const REPLIES: readonly ScriptedAnswer[] = [
  '250 2.0.0 Ok',
  '250 2.0.0 Ok',
  '250 2.0.0 Ok',
  '421 4.7.0 Too many messages from your address, try again later',
  '421 4.3.2 Too many concurrent connections',
  '450 4.2.0 Greylisted, try again in 300 seconds',
  '451 4.3.0 Try again later',
  '421 4.7.26 This mail has been rate limited because it is unauthenticated',
  '550 5.1.1 User unknown',
  { errno: 'ECONNREFUSED' },
  'drop',
]

const limits = {
  rate: fc.option(fc.constantFrom('6/min' as const, '1/s' as const, '20/h' as const), { nil: undefined }),
  burst: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
  concurrency: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  warmup: fc.option(
    fc.record({
      start: fc.constantFrom('2025-12-31', '2026-01-01'),
      daily: fc.oneof(fc.constant('gentle' as const), fc.constant([10, 60])),
    }),
    { nil: undefined },
  ),
}

const policy = fc.record({
  ...limits,
  caps: fc.option(fc.constantFrom('5/h' as const, '30/h' as const, '60/d' as const), { nil: undefined }),
})

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      to: fc.array(fc.constantFrom(...DOMAINS), { minLength: 1, maxLength: 3 }),
      from: fc.constantFrom(...SENDERS),
      priority: fc.constantFrom<PriorityName>('high', 'normal', 'bulk'),
      copies: fc.integer({ min: 1, max: 3 }),
      delay: fc.constantFrom(0, 0, 0, 10 * MINUTE, 300 * MINUTE),
      onUncertain: fc.constantFrom('retry' as const, 'park' as const),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.constantFrom(1, SECOND, 20 * SECOND, 3 * MINUTE, 20 * MINUTE, 200 * MINUTE),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom('hold', 'hold', 'release'),
      lane: fc.constantFrom('@egress', '@from:one.test', 'a.test', 'b.test'),
      for: fc.constantFrom(undefined, '30s' as const, '2h' as const),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('gate' as const), isOpen: fc.boolean() }) },
)

const given = fc.record({
  seed: fc.nat(10_000),
  route: fc.constantFrom('relay' as const, 'direct' as const),
  gated: fc.boolean(),
  egress: fc.record(limits),
  policies: fc.array(policy, { minLength: 1, maxLength: 3 }),
  /** How long an answer takes. */
  slow: fc.constantFrom(0, 0, 5 * SECOND, 4 * MINUTE),
  steps: fc.array(step, { minLength: 8, maxLength: 20 }),
})

type Given = typeof given extends fc.Arbitrary<infer T> ? T : never

const said = <T extends object>(options: T) =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/** A gate that somebody else opens and closes. */
function door() {
  let isOpen = true
  let waiting: (() => void)[] = []
  const gate: EgressGate = {
    async schedule(use) {
      if (!isOpen) await new Promise<void>((resolve) => void waiting.push(resolve))
      return use()
    },
    close: async () => undefined,
  }
  const turn = (open: boolean) => {
    isOpen = open
    const through = open ? waiting : []
    if (open) waiting = []
    for (const one of through) one()
  }
  return { gate, turn }
}

/** Plays one world; gives how often each reason was met. */
async function play(world: Given): Promise<Map<Binding, number>> {
  const clock = manualClock({ seed: world.seed })
  const shared = door()
  const tried: { readonly id: string; readonly to: string; readonly at: number }[] = []
  let isFriendly = false
  const transport = scriptedTransport(
    async ({ messageId, to }) => {
      for (const address of to) tried.push({ id: messageId, to: address, at: clock.now() })
      const draw = () => REPLIES[Math.floor(clock.random() * REPLIES.length)] ?? '250 2.0.0 Ok'
      const recipients = Object.fromEntries(
        to.map((address) => [address, isFriendly ? '250 2.0.0 Ok' : draw()]),
      )
      if (world.slow > 0 && !isFriendly)
        await new Promise<void>((resolve) => void clock.after(world.slow * clock.random(), resolve))
      return { recipients }
    },
    { route: world.route, record: false },
  )
  const mailer: Mailer = wrapTransport(transport, {
    store: memoryStore(),
    clock,
    ttl: '60d',
    retention: { accepted: '3d', failed: '30d' }, // every message is asked about at the end
    egress: { ...said(world.egress), ...(world.gated ? { gate: shared.gate } : {}) },
    policies: world.policies.map(
      (one, i): ProviderPolicy => ({ name: `p${i}`, domains: [`${DOMAINS[i]}.test`], ...said(one) }),
    ),
  })
  const tickets: Ticket[] = []
  const met = new Map<Binding, number>()

  const look = async () => {
    await clock.settle()
    const now = clock.now()
    const promised: {
      readonly id: string
      readonly to: string
      readonly until: number
      readonly why: string
    }[] = []
    for (const ticket of tickets) {
      const reasons = (await mailer.explain(ticket.id)) ?? []
      const status = await ticket.status()
      expect(reasons.map((r) => r.subject)).toEqual(status?.recipients.map((r) => r.address))
      for (const reason of reasons) {
        met.set(reason.binding, (met.get(reason.binding) ?? 0) + 1)
        check(reason, now)
        if (FIRM.has(reason.binding) && reason.until !== undefined)
          promised.push({
            id: ticket.messageId,
            to: reason.subject,
            until: reason.until,
            why: reason.sentence,
          })
      }
    }
    return promised
  }

  for (const one of world.steps) {
    const promised = await look()
    const before = tried.length
    if (one.kind === 'pass') {
      await clock.advance(one.ms)
      for (const { id, to, at } of tried.slice(before)) {
        const broken = promised.find((p) => p.id === id && p.to === to && at < p.until)
        expect(broken?.why, `tried at ${new Date(at).toISOString()}`).toBeUndefined()
      }
    } else if (one.kind === 'send') {
      for (let i = 0; i < one.copies; i++) {
        const to = one.to.map((domain, j) => `user${tickets.length}-${j}@${domain}.test`)
        const { priority, onUncertain, delay } = one
        tickets.push(
          await mailer.sendWithRetry(
            { ...mail(to), from: `shop@${one.from}` },
            { priority, onUncertain, ...(delay === 0 ? {} : { notBefore: clock.now() + delay }) },
          ),
        )
      }
    } else if (one.kind === 'hold') await mailer.hold(one.lane, one.for === undefined ? {} : { for: one.for })
    else if (one.kind === 'release') await mailer.release(one.lane)
    else if ('isOpen' in one) shared.turn(one.isOpen)
  }
  await look()

  // and none of it was for ever: once everybody is friendly, only what a limit puts off is left
  isFriendly = true
  shared.turn(true)
  for (const lane of ['@egress', '@from:one.test', 'a.test', 'b.test']) await mailer.release(lane)
  await clock.advance(6 * 60 * MINUTE)
  await look()
  for (const ticket of tickets) {
    for (const { binding, sentence } of (await mailer.explain(ticket.id)) ?? [])
      expect(LEFT, sentence).toContain(binding)
  }
  await clock.runUntil(mailer.close({ timeout: 0 }))
  return met
}

function check(reason: Explanation, now: number): void {
  const { binding, until, since, sentence } = reason
  const kind = KINDS[binding]
  expect(kind, sentence).toBeDefined()
  expect(sentence).not.toMatch(/undefined|NaN|Invalid/)
  expect(kind, `at rest: ${sentence}`).not.toBe('passing')
  if (kind === 'timed') expect(until, `${sentence}: says until when`).toBeDefined()
  if (kind === 'answer') expect(until, `${sentence}: has no moment`).toBeUndefined()
  if (until !== undefined) expect(until, sentence).toBeGreaterThan(now)
  if (since !== undefined) expect(since, sentence).toBeLessThanOrEqual(now)
}

it('every recipient that waits has one reason, which holds and ends', { timeout: 60_000 }, async () => {
  const met = new Map<Binding, number>()
  await fc.assert(
    fc.asyncProperty(given, async (world) => {
      for (const [binding, count] of await play(world)) met.set(binding, (met.get(binding) ?? 0) + count)
    }),
    { numRuns: 12, seed: 20_261_120, endOnFailure: true },
  )
  console.log(
    [...met]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([b, n]) => `${b} ${n}`)
      .join(', '),
  )
})
