// The memory store is the model of the SQLite store: whatever is done to both, both answer alike.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Delivery } from '../../src/core/delivery.ts'
import { memoryStore } from '../../src/stores/memory.ts'
import { sqliteStore } from '../../src/stores/sqlite/store.ts'
import type { Claim, Store } from '../../src/stores/store.ts'
import { sampleMessage } from '../../src/testing/store-contract.ts'
import { audit, files, NOW } from './fixtures/files.ts'

const fresh = files()
const ADDRESSES = ['a@x.test', 'b@x.test', 'c@y.test', 'd@z.test']
const room = { messages: 6, bytes: 280 }

type Step = (world: World) => Promise<unknown>

/** One store and what a caller would remember of it. */
class World {
  readonly store: Store
  /** For what others do: another store on the same file, where there is one. */
  readonly elsewhere: Store
  readonly tickets: string[] = []
  claims: Claim[] = []
  owner = 0
  /** Every moment is different, so that the order of what is due is never a matter of taste. */
  now = NOW
  constructor(store: Store, elsewhere: Store = store) {
    this.store = store
    this.elsewhere = elsewhere
  }

  later(ms: number): number {
    this.now += ms
    return this.now
  }

  ticket(pick: number): string {
    return this.tickets[pick % Math.max(1, this.tickets.length)] ?? 'none'
  }
}

const become = (
  how: number,
  one: Delivery,
  world: World,
): { readonly delivery: Delivery; readonly said: boolean } => {
  const settledAt = world.now
  switch (how % 5) {
    case 0:
      return { delivery: { ...one, state: 'accepted', tries: one.tries + 1, settledAt }, said: true }
    case 1:
      return { delivery: { ...one, state: 'failed', reason: 'rejected', settledAt }, said: true }
    case 2:
      return { delivery: { ...one, state: 'parked' }, said: true }
    case 3:
      return { delivery: { ...one, state: 'waiting', dueAt: world.later(7), lane: one.domain }, said: true }
    default:
      return {
        delivery: { ...one, state: 'waiting', dueAt: world.later(3), expiresAt: world.now + 1e6 },
        said: false,
      }
  }
}

const n = fc.nat(1000)
const adding = fc
  .record({
    to: fc.subarray(ADDRESSES, { minLength: 1 }),
    key: fc.option(fc.constantFrom('k1', 'k2'), { nil: undefined }),
    priority: fc.constantFrom(0, 1, 2),
    foreign: fc.boolean(),
  })
  .map(({ to, key, priority, foreign }): [string, Step] => [
    `add ${to} ${key ?? ''}`,
    async (world) => {
      const id = `t${String(world.tickets.length).padStart(4, '0')}`
      world.tickets.push(id)
      const dueAt = world.later(5)
      const added = sampleMessage(to, {
        message: { id, priority: priority as 0 | 1 | 2, ...(key && { key }) },
        delivery: { dueAt, expiresAt: dueAt + 400 },
        bytes: new Uint8Array(50).fill(world.tickets.length),
      })
      return foreign ? world.elsewhere.add(added, room, 0) : world.store.add(added, room, world.owner)
    },
  ])
const working = fc
  .tuple(n, fc.array(n, { maxLength: 4 }), fc.boolean(), fc.boolean())
  .map(([pick, hows, keepOutcomes, avoiding]): [string, Step] => [
    `turn ${pick} ${hows}`,
    async (world) => {
      const settled = world.claims.splice(0, hows.length)
      const settle = settled.flatMap((claim, at) =>
        claim.deliveries.map((one) => {
          const { delivery, said } = become(hows[at] ?? 0, one, world)
          const text = `250 <${one.address}> ${world.now}`
          const record = {
            at: world.now,
            durationMs: 1,
            counted: true,
            reply: { code: 250, text, phase: 'dot' },
          } as const
          return { fence: claim.fence, delivery, ...(said && { record }) }
        }),
      )
      if (pick % 7 === 0) world.claims.push(...settled) // answered twice: the second is stale
      const lanes = ['x.test', 'y.test', 'z.test']
      const result = await world.store.turn({
        owner: world.owner,
        now: world.now,
        until: world.now,
        settle,
        claims: [0, 1, 2].map((at) => ({
          lane: lanes[(pick + at) % 3] as string,
          sender: 'sender.test',
          priority: ((pick + at) % 3) as 0 | 1 | 2,
          limit: 1 + (pick % 2),
          ...(avoiding && { avoid: [world.ticket(pick)] }),
        })),
        lanes: (claimed) => [
          { key: lanes[pick % 3] as string, state: pick % 4 ? `${claimed.length}` : undefined },
        ],
        keepOutcomes,
      })
      world.claims.push(...result.claims.flatMap(({ claim }) => (claim ? [claim] : [])))
      // a store may hand the bytes along: then they are those that it gives when asked
      for (const { claim, bytes } of result.claims)
        if (bytes) expect(await world.store.bytes(claim?.message.id ?? '')).toEqual(bytes)
      const claims = result.claims.map(({ bytes: _, ...claimed }) => claimed)
      return { ...result, claims, durable: await result.durable }
    },
  ])
const amending = fc.tuple(n, n, fc.boolean()).map(([pick, how, keepOutcomes]): [string, Step] => [
  `amend ${pick} ${how}`,
  (world) => {
    const change = ({ deliveries }: { readonly deliveries: readonly Delivery[] }) => {
      const chosen = how % 2 ? deliveries.slice(0, 1) : deliveries
      return chosen.map((one) => {
        const { settledAt: _, reason: __, ...rest } = one
        return become(how, rest, world).delivery
      })
    }
    const [store, owner] = how % 3 ? [world.store, world.owner] : [world.elsewhere, 0]
    return store.amend(world.ticket(pick), change, world.now, owner, keepOutcomes)
  },
])
const others = fc.oneof(
  n.map((ms): [string, Step] => [
    `expire ${ms}`,
    async (world) => {
      world.now += ms
      const claims = await world.store.claimExpired(world.owner, world.now, world.now, 100)
      world.claims.push(...claims)
      return claims
    },
  ]),
  n.map((ms): [string, Step] => [
    `purge ${ms}`,
    ({ store, now }) =>
      store.purge({ settledBefore: now - ms, failedBefore: now - ms / 2, keysBefore: now - ms / 3 }, 2),
  ]),
  n.map((pick): [string, Step] => [
    `erase ${pick}`,
    ({ store, elsewhere, now, owner }) =>
      (pick % 3 ? store : elsewhere)
        .erase(ADDRESSES[pick % 4] as string, now, owner, pick % 2 === 0)
        .then((touched) => [...touched].sort()),
  ]),
  n.map((pick): [string, Step] => [
    'acknowledge',
    (world) => (pick % 3 ? world.store : world.elsewhere).acknowledge([world.ticket(pick)]),
  ]),
  fc.constant<[string, Step]>([
    'own again',
    async (world) => {
      const owner = await world.store.own('me', world.now, world.now + 1e9)
      world.owner = owner ?? 0
      return owner
    },
  ]),
)

async function all<T>(pages: AsyncIterable<readonly T[]>): Promise<string[]> {
  const found: string[] = []
  for await (const page of pages) found.push(...page.map((one) => JSON.stringify(one)))
  return found.sort()
}

/** What can be asked without bringing the tables up to date. */
async function glimpse({ store, tickets }: Pick<World, 'store' | 'tickets'>): Promise<unknown> {
  const found = await Promise.all(tickets.map((ticket) => store.get(ticket)))
  const ids = found.flatMap((stored) => stored?.deliveries.map(({ id }) => id) ?? [])
  return {
    counts: await store.counts(),
    found,
    outcomes: [...(await store.outcomes(100))].sort(),
    history: await Promise.all(ids.map((id) => store.history(id))),
    bytes: await Promise.all(tickets.map(async (ticket) => (await store.bytes(ticket))?.join(''))),
    keys: [(await store.byKey('k1'))?.message.id, (await store.byKey('k2'))?.message.id],
  }
}

/** Everything that can be asked. */
async function view({ store, owner, tickets, now }: World): Promise<unknown> {
  const listed = await store.list({ limit: 100 })
  const ids = listed.flatMap(({ deliveries }) => deliveries.map(({ id }) => id))
  return {
    counts: await store.counts(),
    heads: await all(store.heads()),
    lanes: await all(store.lanes()),
    listed,
    recent: (await store.list({ limit: 3, settledSince: now - 50 })).map(({ message }) => message.id),
    failed: (await store.list({ limit: 3, state: 'failed' })).map(({ message }) => message.id),
    claims: await store.openClaims(),
    outcomes: [...(await store.outcomes(100))].sort(),
    notices: (await store.notices(owner))
      .map((notice) => JSON.stringify(Object.entries(notice).sort()))
      .sort(),
    history: await Promise.all(ids.map((id) => store.history(id))),
    bytes: await Promise.all(tickets.map(async (ticket) => (await store.bytes(ticket))?.join(''))),
    keys: [(await store.byKey('k1'))?.message.id, (await store.byKey('k2'))?.message.id],
  }
}

const answer = (promise: Promise<unknown>) =>
  promise.then(
    (value) => ({ value }),
    (error) => ({ refused: error.code }),
  )

/** Who looks after a step, and at what: `own` store or `other` one on the same file. */
const LOOKS = ['nobody', 'own glimpse', 'own view', 'other glimpse', 'other view'] as const

it('memory and SQLite answer alike to whatever is done, whoever looks at it and when', {
  timeout: 120_000,
}, async () => {
  const step = fc.oneof(
    { weight: 4, arbitrary: adding },
    { weight: 8, arbitrary: working },
    { weight: 2, arbitrary: amending },
    { weight: 2, arbitrary: others },
  )
  const looked = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom('nobody', 'own glimpse') },
    { weight: 1, arbitrary: fc.constantFrom(...LOOKS) },
  )
  const steps = fc.array(fc.tuple(step, looked), { minLength: 5, maxLength: 60, size: 'max' })
  await fc.assert(
    fc.asyncProperty(steps, async (script) => {
      const files = [fresh(), fresh()] as const
      // the second is looked at after every step, so that its tables always follow at once
      const other = sqliteStore(files[0])
      const model = new World(memoryStore())
      const real = new World(sqliteStore(files[0]), other)
      const folded = new World(sqliteStore(files[1]))
      const worlds = [model, real, folded]
      await other.open()
      for (const world of worlds) {
        await world.store.open()
        world.owner = (await world.store.own('me', NOW, NOW + 1e12)) ?? 0
      }
      try {
        for (const [[name, step], looks] of script) {
          const expected = await answer(step(model))
          expect(await answer(step(real)), name).toEqual(expected)
          expect(await answer(step(folded)), name).toEqual(expected)
          await folded.store.list({ limit: 1 })
          if (looks === 'nobody') continue
          const look = looks.endsWith('view') ? view : glimpse
          // notices are for the owner, and once
          const from =
            looks.startsWith('own') || look === view ? real : { tickets: real.tickets, store: other }
          if (looks === 'other view') await other.list({ limit: 1 })
          const answers = await look(model)
          expect(await look(from as World), `${name}, ${looks}`).toEqual(answers)
          expect(await look(folded), name).toEqual(answers)
        }
        const all = await view(model)
        expect(await view(real)).toEqual(all)
      } finally {
        for (const store of [other, ...worlds.map((world) => world.store)]) await store.close()
      }
      for (const file of files) audit(file)
    }),
    { numRuns: 40 },
  )
})
