// What every store must do, as a suite that anybody can run over their own: under vitest, node:test or
// whatever else has `describe` and `it`. The delivery engine relies on each line of it.
// Not here: what only a file can show (kills, full disks, locks); see test/stores.

import assert from 'node:assert/strict'
import type { AttemptRecord, Delivery } from '../core/delivery.ts'
import type { Message } from '../core/message.ts'
import type {
  Added,
  Claim,
  Claimed,
  ClaimRequest,
  NewDelivery,
  NewMessage,
  Notice,
  QueueHead,
  Settlement,
  Store,
  StoredLane,
  Turn,
  TurnResult,
} from '../stores/store.ts'

/** A store to be tried. */
export interface StoreSubject {
  /** As it appears in the report. */
  readonly name: string
  /** A new, empty store, not yet opened. */
  create(): Promise<Store>
  /** Another store object on what the last created one holds, as a second process would have; absent where there is no such thing. */
  reopen?(): Promise<Store>
}

/** The two functions that the suite needs of a test runner. */
export interface TestRunner {
  describe(name: string, body: () => void): void
  it(name: string, body: () => Promise<void>): void
}

const HOUR = 3_600_000
/** Any moment will do; stores have no clock of their own. */
const T0 = Date.UTC(2026, 0, 1)
const NEVER = T0 + 1000 * HOUR

let made = 0

/** A message to `to`, due at once, in the lane of each address's domain unless told otherwise. */
export function sampleMessage(
  to: readonly string[],
  changes: {
    readonly message?: Partial<Message>
    readonly delivery?: Partial<NewDelivery>
    readonly bytes?: Uint8Array
  } = {},
): NewMessage {
  const id = changes.message?.id ?? `t${String(++made).padStart(12, '0')}`
  const bytes = changes.bytes ?? new TextEncoder().encode(`Subject: ${id}\r\n\r\nHello\r\n`)
  const message: Message = {
    id,
    messageId: `<${id}@sender.test>`,
    from: 'app@sender.test',
    fromDomain: 'sender.test',
    size: bytes.length,
    priority: 1,
    createdAt: T0,
    expiresAt: T0 + 120 * HOUR,
    recipients: to.length,
    wire: {},
    ...changes.message,
  }
  const deliveries = to.map((address): NewDelivery => {
    const domain = address.slice(address.lastIndexOf('@') + 1)
    return {
      ticket: id,
      address,
      domain,
      lane: domain,
      sender: message.fromDomain,
      priority: message.priority,
      state: 'waiting',
      attempts: 0,
      tries: 0,
      uncounted: 0,
      uncertain: 0,
      crashes: 0,
      dueAt: T0,
      expiresAt: message.expiresAt,
      createdAt: T0,
      ...changes.delivery,
    }
  })
  return { message, bytes, deliveries }
}

function record(text: string, at = T0): AttemptRecord {
  return { at, durationMs: 12, counted: true, reply: { code: 250, text, phase: 'dot' } }
}

const accepted = (delivery: Delivery, now = T0): Delivery => {
  const last = record('250 2.0.0 Ok', now)
  return { ...delivery, state: 'accepted', tries: delivery.tries + 1, settledAt: now, last }
}
const failed = (delivery: Delivery, now = T0): Delivery => ({
  ...delivery,
  state: 'failed',
  reason: 'rejected',
  settledAt: now,
  last: record('550 no', now),
})
const settleAs = (claim: Claim, become: (delivery: Delivery) => Delivery): Settlement[] =>
  claim.deliveries.map((one) => {
    const delivery = become(one)
    const changed = delivery.last !== undefined && delivery.last !== one.last
    return { fence: claim.fence, delivery, ...(changed && delivery.last && { record: delivery.last }) }
  })
const waitingAgain =
  (dueAt: number, last?: AttemptRecord) =>
  (delivery: Delivery): Delivery => ({
    ...delivery,
    state: 'waiting',
    tries: delivery.tries + (last ? 1 : 0),
    dueAt,
    ...(last && { last }),
  })

/** What one test works with: an open store, owned, and a shorter hand for its calls. */
class Bench {
  readonly store: Store
  owner: number
  constructor(store: Store, owner: number) {
    this.store = store
    this.owner = owner
  }

  add(added: NewMessage): Promise<Added> {
    return this.store.add(added, undefined, this.owner)
  }

  turn(turn: Partial<Turn>): Promise<TurnResult> {
    return this.store.turn({
      owner: this.owner,
      now: T0,
      until: T0 + HOUR,
      settle: [],
      claims: [],
      lanes: () => [],
      keepOutcomes: false,
      ...turn,
    })
  }

  async claim(request: Partial<ClaimRequest> & { lane: string }, now = T0): Promise<Claimed> {
    const asked = { sender: 'sender.test', priority: 1 as const, limit: 50, ...request }
    const { claims } = await this.turn({ now, claims: [asked] })
    assert.equal(claims.length, 1)
    return claims[0] as Claimed
  }

  async claimed(request: Partial<ClaimRequest> & { lane: string }, now = T0): Promise<Claim> {
    const { claim } = await this.claim(request, now)
    assert.ok(claim, `nothing was due in ${request.lane}`)
    return claim
  }

  async settle(
    claim: Claim,
    become: (delivery: Delivery) => Delivery,
    turn: Partial<Turn> = {},
  ): Promise<TurnResult> {
    return this.turn({ settle: settleAs(claim, become), ...turn })
  }

  /** Adds a message to one recipient and settles it. */
  async finish(added: NewMessage, become = accepted, now = T0, keepOutcomes = false): Promise<string> {
    await this.add(added)
    const [delivery] = added.deliveries
    assert.ok(delivery)
    const { lane, sender, priority } = delivery
    const claim = await this.claimed({ lane, sender, priority }, now)
    await this.settle(claim, (one) => become(one, now), { now, keepOutcomes })
    return added.message.id
  }

  async heads(): Promise<QueueHead[]> {
    return collect(this.store.heads())
  }

  async lanes(): Promise<StoredLane[]> {
    return collect(this.store.lanes())
  }
}

async function collect<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = []
  for await (const page of pages) all.push(...page)
  return all
}

const code = (expected: string) => (error: unknown) =>
  typeof error === 'object' && error !== null && 'code' in error && error.code === expected

/** Runs the contract over a store. Every store in this package passes it. */
export function storeContract(subject: StoreSubject, { describe, it }: TestRunner): void {
  const with_ = (body: (bench: Bench) => Promise<void>) => async () => {
    const store = await subject.create()
    await store.open()
    try {
      const owner = await store.own('first', T0, NEVER)
      assert.ok(owner)
      await body(new Bench(store, owner))
    } finally {
      await store.close()
    }
  }

  describe(`${subject.name}: adding`, () => {
    it(
      'a stored message comes back as it was given, recipient by recipient',
      with_(async ({ store, owner }) => {
        const added = sampleMessage(['a@one.test', 'b@two.test'], {
          message: {
            key: 'order-1',
            meta: '{"order":1}',
            priority: 0,
            onUncertain: 'park',
            wire: { dsn: { ret: 'HDRS' }, requireTLSExtensionEnabled: true },
          },
          bytes: new Uint8Array([0, 1, 2, 255]),
        })
        const answer = await store.add(added, undefined, owner)
        assert.equal(answer.kind, 'added')
        assert.ok(answer.kind === 'added')
        const stored = await store.get(added.message.id)
        assert.deepEqual(stored, {
          message: added.message,
          deliveries: added.deliveries.map((delivery, at) => ({ ...delivery, id: answer.ids[at] })),
        })
        assert.deepEqual(await store.byKey('order-1'), stored)
        assert.deepEqual([...((await store.bytes(added.message.id)) ?? [])], [0, 1, 2, 255])
      }),
    )

    it(
      'delivery ids grow in the order of adding',
      with_(async (bench) => {
        const adds = ['a', 'b', 'c'].map((name) =>
          bench.add(sampleMessage([`${name}@x.test`, `${name}@y.test`])),
        )
        const ids = (await Promise.all(adds)).flatMap((answer) => (answer.kind === 'added' ? answer.ids : []))
        assert.equal(ids.length, 6)
        assert.deepEqual(
          ids,
          [...new Set(ids)].sort((a, b) => a - b),
        )
      }),
    )

    it(
      'an unknown ticket or key is undefined',
      with_(async ({ store }) => {
        assert.equal(await store.get('nobody'), undefined)
        assert.equal(await store.byKey('nobody'), undefined)
        assert.equal(await store.bytes('nobody'), undefined)
        assert.deepEqual(await store.history(999), [])
      }),
    )

    it(
      'the same key with the same recipients, in any order, is a duplicate; with others a conflict; neither stores anything',
      with_(async (bench) => {
        const keyed = (to: string[]) => sampleMessage(to, { message: { key: 'k' } })
        const first = keyed(['a@x.test', 'b@x.test'])
        const answers = await Promise.all([
          bench.add(first),
          bench.add(keyed(['b@x.test', 'a@x.test'])),
          bench.add(keyed(['c@x.test'])),
        ])
        const ticket = first.message.id
        assert.deepEqual(answers.slice(1), [
          { kind: 'duplicate', ticket },
          { kind: 'conflict', ticket },
        ])
        assert.equal((await bench.store.counts()).openMessages, 1)
        assert.equal((await bench.heads())[0]?.waiting, 2)
      }),
    )

    it(
      'a full outbox refuses what does not fit and nothing else, and has room again when a message ends',
      with_(async (bench) => {
        const { store, owner } = bench
        const room = { messages: 2, bytes: 100 }
        const sized = (length: number, key?: string) =>
          sampleMessage(['a@x.test'], { bytes: new Uint8Array(length), ...(key && { message: { key } }) })
        const answers = await Promise.allSettled([
          store.add(sized(60, 'k'), room, owner),
          store.add(sized(60), room, owner),
          store.add(sized(40), room, owner),
          store.add(sized(0), room, owner),
          store.add(sized(60, 'k'), room, owner),
        ])
        assert.deepEqual(
          answers.map(({ status }) => status),
          ['fulfilled', 'rejected', 'fulfilled', 'rejected', 'fulfilled'],
        )
        for (const answer of answers)
          assert.ok(answer.status === 'fulfilled' || code('OUTBOX_FULL')(answer.reason))
        assert.equal((await store.counts()).openBytes, 100)
        await bench.settle(await bench.claimed({ lane: 'x.test' }), accepted)
        assert.equal((await store.add(sized(60), room, owner)).kind, 'added')
      }),
    )

    it(
      'one add that cannot be stored does not take the others of its commit with it',
      with_(async (bench) => {
        const first = sampleMessage(['a@x.test'])
        const again = sampleMessage(['b@x.test'], { message: { id: first.message.id } })
        const answers = await Promise.allSettled([
          bench.add(first),
          bench.add(again),
          bench.add(sampleMessage(['c@x.test'])),
        ])
        assert.deepEqual(
          answers.map(({ status }) => status),
          ['fulfilled', 'rejected', 'fulfilled'],
        )
        assert.equal((await bench.store.counts()).waiting, 2)
      }),
    )
  })

  describe(`${subject.name}: claiming`, () => {
    it(
      'the earliest due goes first, and the answer names when the next is due',
      with_(async (bench) => {
        const at = (dueAt: number) => sampleMessage(['a@x.test'], { delivery: { dueAt } })
        const [late, early, future] = [at(T0 - 10), at(T0 - 20), at(T0 + 50)]
        for (const added of [late, early, future]) await bench.add(added)
        const first = await bench.claim({ lane: 'x.test' })
        assert.equal(first.claim?.message.id, early.message.id)
        assert.equal(first.nextDueAt, T0 - 10)
        const second = await bench.claim({ lane: 'x.test' })
        assert.equal(second.claim?.message.id, late.message.id)
        const third = await bench.claim({ lane: 'x.test' })
        assert.deepEqual(third, { nextDueAt: T0 + 50 })
        const fourth = await bench.claim({ lane: 'x.test' }, T0 + 50)
        assert.equal(fourth.claim?.message.id, future.message.id)
        assert.equal('nextDueAt' in fourth, false)
      }),
    )

    it(
      'an unknown or empty queue gives nothing',
      with_(async (bench) => {
        assert.deepEqual(await bench.claim({ lane: 'nobody.test' }), {})
      }),
    )

    it(
      'lane, From domain and priority each make a queue of their own',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        await bench.add(sampleMessage(['a@x.test'], { message: { fromDomain: 'other.test' } }))
        await bench.add(sampleMessage(['a@x.test'], { message: { priority: 2 } }))
        await bench.add(sampleMessage(['a@y.test']))
        const heads = await bench.heads()
        assert.equal(heads.length, 4)
        assert.ok(heads.every(({ dueAt, waiting }) => dueAt === T0 && waiting === 1))
        const claim = await bench.claimed({ lane: 'x.test', sender: 'other.test' })
        assert.equal(claim.message.fromDomain, 'other.test')
        assert.deepEqual(await bench.claim({ lane: 'x.test', sender: 'other.test' }), {})
        assert.equal((await bench.claimed({ lane: 'x.test', priority: 2 })).message.priority, 2)
      }),
    )

    it(
      'one claim takes due recipients of one message and queue, at most as many as asked',
      with_(async (bench) => {
        const to = ['a@x.test', 'b@x.test', 'other@y.test', 'c@x.test', 'd@x.test']
        const added = sampleMessage(to)
        await bench.add(added)
        await bench.add(sampleMessage(['e@x.test']))
        const addresses = async (limit: number) =>
          (await bench.claimed({ lane: 'x.test', limit })).deliveries.map(({ address }) => address)
        assert.deepEqual(await addresses(3), ['a@x.test', 'b@x.test', 'c@x.test'])
        assert.deepEqual(await addresses(3), ['d@x.test'])
        assert.deepEqual(await addresses(3), ['e@x.test'])
      }),
    )

    it(
      'recipients that are not due stay out of the claim',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test', 'b@x.test']))
        const both = await bench.claimed({ lane: 'x.test' })
        await bench.turn({
          settle: both.deliveries.map((delivery, at) => ({
            fence: both.fence,
            delivery: waitingAgain(T0 + at * HOUR)(delivery),
          })),
        })
        const next = await bench.claim({ lane: 'x.test' })
        assert.deepEqual(
          next.claim?.deliveries.map(({ address }) => address),
          ['a@x.test'],
        )
        assert.equal(next.nextDueAt, T0 + HOUR)
      }),
    )

    it(
      'a claimed delivery cannot be claimed again, and is listed as an open claim',
      with_(async (bench) => {
        const added = sampleMessage(['a@x.test'])
        await bench.add(added)
        const claim = await bench.claimed({ lane: 'x.test' })
        assert.equal(claim.deliveries[0]?.state, 'claimed')
        assert.deepEqual(claim.message, added.message)
        assert.deepEqual(await bench.claim({ lane: 'x.test' }), {})
        assert.deepEqual(await bench.store.openClaims(), [claim])
        assert.equal((await bench.store.get(added.message.id))?.deliveries[0]?.state, 'claimed')
        await bench.settle(claim, accepted)
        assert.deepEqual(await bench.store.openClaims(), [])
      }),
    )

    it(
      'a later claim has a higher fence',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test', 'a@y.test']))
        const first = await bench.claimed({ lane: 'x.test' })
        const second = await bench.claimed({ lane: 'y.test' })
        assert.ok(second.fence > first.fence)
      }),
    )

    it(
      'tickets to be avoided wait while others are due, and go when there is no other',
      with_(async (bench) => {
        const [one, two] = [sampleMessage(['a@x.test', 'b@x.test']), sampleMessage(['c@x.test'])]
        await bench.add(one)
        await bench.add(two)
        const avoid = [one.message.id]
        assert.equal((await bench.claimed({ lane: 'x.test', avoid })).message.id, two.message.id)
        assert.equal((await bench.claimed({ lane: 'x.test', avoid })).message.id, one.message.id)
      }),
    )

    it(
      'several claims of one turn do not overlap',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        await bench.add(sampleMessage(['b@x.test']))
        const request: ClaimRequest = { lane: 'x.test', sender: 'sender.test', priority: 1, limit: 1 }
        const { claims } = await bench.turn({ claims: [request, request, request] })
        const tickets = claims.flatMap(({ claim }) => (claim ? [claim.message.id] : []))
        assert.equal(new Set(tickets).size, 2)
        assert.equal(claims.length, 3)
      }),
    )

    it(
      'what is added in the same moment as a turn can be claimed by it or by the next',
      with_(async (bench) => {
        const adding = bench.add(sampleMessage(['a@x.test']))
        const first = await bench.claim({ lane: 'x.test' })
        await adding
        const second = await bench.claim({ lane: 'x.test' })
        assert.equal([first, second].filter(({ claim }) => claim).length, 1)
      }),
    )
  })

  describe(`${subject.name}: settling`, () => {
    it(
      'an accepted delivery is final, its bytes are wiped, and its message has ended',
      with_(async (bench) => {
        const added = sampleMessage(['a@x.test'])
        await bench.add(added)
        const claim = await bench.claimed({ lane: 'x.test' })
        const result = await bench.settle(claim, (one) => accepted(one, T0 + 5), { now: T0 + 5 })
        await result.durable
        assert.deepEqual(result.ended, [added.message.id])
        assert.deepEqual(result.stale, [])
        const stored = await bench.store.get(added.message.id)
        assert.equal(stored?.settledAt, T0 + 5)
        assert.deepEqual(stored?.deliveries, [accepted({ ...(claim.deliveries[0] as Delivery) }, T0 + 5)])
        assert.equal(await bench.store.bytes(added.message.id), undefined)
        assert.deepEqual(await bench.heads(), [])
      }),
    )

    it(
      'a message ends with its last recipient, not before',
      with_(async (bench) => {
        const added = sampleMessage(['a@x.test', 'b@y.test'])
        await bench.add(added)
        const first = await bench.settle(await bench.claimed({ lane: 'x.test' }), accepted)
        assert.deepEqual(first.ended, [])
        assert.ok(await bench.store.bytes(added.message.id))
        assert.equal((await bench.store.get(added.message.id))?.settledAt, undefined)
        const second = await bench.settle(await bench.claimed({ lane: 'y.test' }), accepted)
        assert.deepEqual(second.ended, [added.message.id])
      }),
    )

    it(
      'a dead letter keeps its bytes, so that it can be sent again',
      with_(async (bench) => {
        const ticket = await bench.finish(sampleMessage(['a@x.test']), failed)
        assert.ok(await bench.store.bytes(ticket))
        assert.equal((await bench.store.counts()).openBytes, 0)
      }),
    )

    it(
      'a deferred delivery waits until it is due, with its counters and its newest record',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        const said = record('451 4.7.1 Try again later')
        const claim = await bench.claimed({ lane: 'x.test' })
        await bench.settle(claim, (one) => ({
          ...waitingAgain(T0 + HOUR, said)(one),
          attempts: 1,
          uncounted: 2,
        }))
        assert.deepEqual(await bench.claim({ lane: 'x.test' }), { nextDueAt: T0 + HOUR })
        const [delivery] = (await bench.claimed({ lane: 'x.test' }, T0 + HOUR)).deliveries
        assert.ok(delivery)
        const { attempts, tries, uncounted, last } = delivery
        assert.deepEqual(
          { attempts, tries, uncounted, last },
          { attempts: 1, tries: 1, uncounted: 2, last: said },
        )
      }),
    )

    it(
      'history has every record in order; a claim given back adds none',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        const records = ['451 one', '451 two', '250 three'].map((text, at) => record(text, T0 + at))
        let id = 0
        for (const [at, said] of records.entries()) {
          const claim = await bench.claimed({ lane: 'x.test' })
          id = claim.deliveries[0]?.id ?? 0
          await bench.settle(
            claim,
            at === 2 ? (one) => ({ ...accepted(one), last: said }) : waitingAgain(T0, said),
          )
          if (at < 2) await bench.settle(await bench.claimed({ lane: 'x.test' }), waitingAgain(T0))
        }
        assert.deepEqual(await bench.store.history(id), records)
      }),
    )

    it(
      'a settlement whose claim no longer stands is not written, and is named',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        const claim = await bench.claimed({ lane: 'x.test' })
        await bench.settle(claim, waitingAgain(T0))
        const late = await bench.settle(claim, accepted)
        assert.deepEqual(late.stale, [0])
        const next = await bench.claimed({ lane: 'x.test' })
        const mixed = await bench.turn({ settle: [...settleAs(claim, failed), ...settleAs(next, accepted)] })
        assert.deepEqual(mixed.stale, [0])
        assert.equal((await bench.store.get(next.message.id))?.deliveries[0]?.state, 'accepted')
      }),
    )

    it(
      'the states of lanes are saved with the claims that changed them',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        let seen: readonly Claimed[] = []
        await bench.turn({
          claims: [{ lane: 'x.test', sender: 'sender.test', priority: 1, limit: 5 }],
          lanes: (claimed) => {
            seen = claimed
            return [
              { key: 'x.test', state: '{"tokens":4}' },
              { key: 'y.test', state: '{"held":1}' },
            ]
          },
        })
        assert.equal(seen[0]?.claim?.deliveries.length, 1)
        await bench.turn({ lanes: () => [{ key: 'x.test', state: '{"tokens":3}' }] })
        await bench.turn({ lanes: () => [{ key: 'y.test', state: undefined }] })
        assert.deepEqual(await bench.lanes(), [{ key: 'x.test', state: '{"tokens":3}' }])
      }),
    )

    it(
      'a delivery may change its lane',
      with_(async (bench) => {
        await bench.add(sampleMessage(['a@x.test']))
        await bench.settle(await bench.claimed({ lane: 'x.test' }), (one) => ({
          ...waitingAgain(T0)(one),
          lane: 'moved.test',
        }))
        assert.deepEqual(await bench.claim({ lane: 'x.test' }), {})
        assert.equal((await bench.claimed({ lane: 'moved.test' })).deliveries[0]?.lane, 'moved.test')
      }),
    )

    it(
      'counts follow every change',
      with_(async (bench) => {
        const size = sampleMessage(['x@x.test']).message.size
        for (const name of 'abcde') await bench.add(sampleMessage([`${name}@x.test`]))
        await bench.settle(await bench.claimed({ lane: 'x.test' }), accepted)
        await bench.settle(await bench.claimed({ lane: 'x.test' }), failed)
        await bench.settle(await bench.claimed({ lane: 'x.test' }), (one) => ({ ...one, state: 'parked' }))
        await bench.claimed({ lane: 'x.test' })
        assert.deepEqual(await bench.store.counts(), {
          waiting: 1,
          claimed: 1,
          parked: 1,
          accepted: 1,
          failed: 1,
          openMessages: 3,
          openBytes: 3 * size,
        })
      }),
    )
  })

  describe(`${subject.name}: expiry`, () => {
    it(
      'what has passed its time is claimed message by message, in time order, at most as many as asked',
      with_(async (bench) => {
        const expiring = (to: string[], expiresAt: number) => sampleMessage(to, { delivery: { expiresAt } })
        const [first, second, later] = [
          expiring(['a@x.test', 'b@y.test'], T0 + 1),
          expiring(['c@x.test'], T0 + 2),
          expiring(['d@x.test'], T0 + 9),
        ]
        for (const added of [later, second, first]) await bench.add(added)
        const sweep = (now: number, limit: number) =>
          bench.store.claimExpired(bench.owner, now, now + HOUR, limit)
        assert.deepEqual(await sweep(T0, 10), [])
        const one = await sweep(T0 + 2, 2)
        assert.deepEqual(
          one.map(({ message, deliveries }) => [message.id, deliveries.length]),
          [[first.message.id, 2]],
        )
        const two = await sweep(T0 + 2, 10)
        assert.deepEqual(
          two.map(({ message }) => message.id),
          [second.message.id],
        )
        assert.deepEqual(await sweep(T0 + 2, 10), [])
        for (const claim of [...one, ...two])
          await bench.settle(claim, (delivery) => ({
            ...delivery,
            state: 'failed',
            reason: 'expired',
            settledAt: T0 + 2,
          }))
        assert.deepEqual(
          (await bench.heads()).map(({ waiting }) => waiting),
          [1],
        )
      }),
    )

    it(
      'a delivery given more time is not swept before it, and one given back as it was is swept again',
      with_(async (bench) => {
        const { store, owner } = bench
        await bench.add(sampleMessage(['a@x.test'], { delivery: { expiresAt: T0 + 1 } }))
        const sweep = async (now: number) => (await store.claimExpired(owner, now, now + HOUR, 10))[0]
        const first = await sweep(T0 + 1)
        assert.ok(first)
        await bench.settle(first, waitingAgain(T0))
        const again = await sweep(T0 + 1)
        assert.ok(again)
        await bench.settle(again, (one) => ({ ...waitingAgain(T0)(one), expiresAt: T0 + HOUR }))
        assert.equal(await sweep(T0 + 1), undefined)
        assert.ok(await sweep(T0 + HOUR))
      }),
    )

    it(
      'claimed, parked and settled deliveries are not swept',
      with_(async (bench) => {
        const { store, owner } = bench
        for (const name of 'abc')
          await bench.add(sampleMessage([`${name}@x.test`], { delivery: { expiresAt: T0 + 1 } }))
        await bench.settle(await bench.claimed({ lane: 'x.test' }), accepted)
        await bench.settle(await bench.claimed({ lane: 'x.test' }), (one) => ({ ...one, state: 'parked' }))
        const claim = await bench.claimed({ lane: 'x.test' })
        assert.deepEqual(await store.claimExpired(owner, T0 + 2, NEVER, 10), [])
        await bench.settle(claim, waitingAgain(T0))
        assert.equal((await store.claimExpired(owner, T0 + 2, NEVER, 10)).length, 1)
      }),
    )
  })

  describe(`${subject.name}: the owner lease`, () => {
    it(
      'one owns at a time; the lease passes on when it ends or is given up',
      with_(async ({ store, owner }) => {
        assert.equal(await store.own('second', T0, T0 + 1), undefined)
        assert.equal(await store.renew(owner, T0 + 10), true)
        assert.equal(await store.own('second', T0 + 9, NEVER), undefined)
        const second = await store.own('second', T0 + 10, T0 + 20)
        assert.ok(second && second > owner)
        assert.equal(await store.renew(owner, NEVER), false)
        await store.disown(owner)
        assert.equal(await store.own('third', T0 + 19, NEVER), undefined)
        await store.disown(second)
        assert.ok(await store.own('third', T0 + 19, NEVER))
      }),
    )

    it(
      'taking it again under the same name gives a newer fence',
      with_(async ({ store, owner }) => {
        const again = await store.own('first', T0, NEVER)
        assert.ok(again && again > owner)
        assert.equal(await store.renew(owner, NEVER), false)
      }),
    )

    it(
      'a turn of a former owner changes nothing',
      with_(async (bench) => {
        const added = sampleMessage(['a@x.test'])
        await bench.add(added)
        const claim = await bench.claimed({ lane: 'x.test' })
        await bench.store.disown(bench.owner)
        await assert.rejects(bench.settle(claim, accepted), code('OWNER_LOST'))
        const next = await bench.store.own('second', T0, NEVER)
        assert.ok(next)
        await assert.rejects(
          bench.settle(claim, accepted, { lanes: () => [{ key: 'x', state: 'y' }] }),
          code('OWNER_LOST'),
        )
        await assert.rejects(bench.store.claimExpired(bench.owner, NEVER, NEVER, 1), code('OWNER_LOST'))
        assert.deepEqual(await bench.lanes(), [])
        assert.equal((await bench.store.get(added.message.id))?.deliveries[0]?.state, 'claimed')
        bench.owner = next
        const [open] = await bench.store.openClaims()
        assert.ok(open)
        assert.deepEqual((await bench.settle(open, accepted)).ended, [added.message.id])
      }),
    )
  })

  describe(`${subject.name}: notices`, () => {
    it(
      'mail added by somebody else is announced to the owner, once, summed up by queue',
      with_(async ({ store, owner }) => {
        await store.add(sampleMessage(['a@x.test']), undefined, owner)
        assert.deepEqual(await store.notices(owner), [])
        await store.add(
          sampleMessage(['a@x.test', 'b@y.test'], { delivery: { dueAt: T0 + 7 } }),
          undefined,
          0,
        )
        await store.add(sampleMessage(['c@x.test'], { delivery: { dueAt: T0 + 5 } }), undefined, 0)
        const notices = [...(await store.notices(owner))].sort((a, b) => show(a).localeCompare(show(b)))
        const queue = { kind: 'due', sender: 'sender.test', priority: 1 } as const
        assert.deepEqual(notices, [
          { ...queue, lane: 'x.test', dueAt: T0 + 5, count: 2 },
          { ...queue, lane: 'y.test', dueAt: T0 + 7, count: 1 },
        ])
        assert.deepEqual(await store.notices(owner), [])
      }),
    )

    it(
      'holds, releases and cancellations reach the owner in order',
      with_(async ({ store, owner }) => {
        const left: Notice[] = [
          { kind: 'hold', lane: 'x.test', until: T0 + 1, reason: 'maintenance' },
          { kind: 'release', lane: 'x.test' },
          { kind: 'cancel', ticket: 't1' },
        ]
        for (const notice of left) await store.notify(notice)
        assert.deepEqual(await store.notices(owner), left)
        assert.deepEqual(await store.notices(owner), [])
      }),
    )

    it(
      'they wait for the next owner, who has the mail itself from the heads',
      with_(async ({ store, owner }) => {
        await store.add(sampleMessage(['a@x.test']), undefined, 0)
        await store.notify({ kind: 'release', lane: 'x.test' })
        await store.disown(owner)
        const next = await store.own('second', T0, NEVER)
        assert.ok(next)
        assert.deepEqual(await store.notices(owner), [])
        assert.deepEqual(await store.notices(next), [{ kind: 'release', lane: 'x.test' }])
      }),
    )
  })

  describe(`${subject.name}: asking and amending`, () => {
    it(
      'list pages in the order of creation, by state and by moment of settling',
      with_(async (bench) => {
        const tickets: string[] = []
        for (let at = 0; at < 4; at++)
          tickets.push(await bench.finish(sampleMessage(['a@x.test']), accepted, T0 + at))
        const open = sampleMessage(['a@x.test', 'b@y.test'])
        await bench.add(open)
        const ids = async (filter: Parameters<Store['list']>[0]) =>
          (await bench.store.list(filter)).map(({ message }) => message.id)
        assert.deepEqual(await ids({ limit: 3 }), tickets.slice(0, 3))
        assert.deepEqual(await ids({ limit: 3, after: tickets[2] as string }), [tickets[3], open.message.id])
        assert.deepEqual(await ids({ limit: 9, settledSince: T0 + 2 }), tickets.slice(2))
        assert.deepEqual(await ids({ limit: 9, settledSince: T0 + 2, after: tickets[2] as string }), [
          tickets[3],
        ])
        assert.deepEqual(await ids({ limit: 9, state: 'waiting' }), [open.message.id])
        assert.deepEqual(await ids({ limit: 2, state: 'accepted' }), tickets.slice(0, 2))
        assert.deepEqual(await ids({ limit: 9, state: 'parked' }), [])
        const [first] = await bench.store.list({ limit: 1, state: 'waiting' })
        assert.equal(first?.deliveries.length, 2)
      }),
    )

    it(
      'amending writes unclaimed deliveries and can end a message',
      with_(async (bench) => {
        const { store, owner } = bench
        const added = sampleMessage(['a@x.test', 'b@y.test'])
        await bench.add(added)
        const claim = await bench.claimed({ lane: 'x.test' })
        const cancel = (one: Delivery): Delivery => ({
          ...one,
          state: 'failed',
          reason: 'cancelled',
          settledAt: T0,
        })
        let offered: readonly Delivery[] = []
        const amended = await store.amend(
          added.message.id,
          (found) => {
            offered = found.deliveries
            return found.deliveries.map(cancel)
          },
          T0,
          owner,
          true,
        )
        assert.deepEqual(
          offered.map(({ address }) => address),
          ['b@y.test'],
        )
        assert.deepEqual(amended?.deliveries, [claim.deliveries[0], ...offered.map(cancel)])
        assert.deepEqual(await bench.claim({ lane: 'y.test' }), {})
        assert.deepEqual(await store.outcomes(9), [])
        await bench.settle(claim, waitingAgain(T0))
        const last = await store.amend(
          added.message.id,
          (f) => f.deliveries.filter(isWaiting).map(cancel),
          T0,
          owner,
          true,
        )
        assert.equal(last?.settledAt, T0)
        assert.deepEqual(await store.outcomes(9), [added.message.id])
        assert.equal(await store.bytes(added.message.id), undefined)
        assert.equal(await store.amend('nobody', () => [], T0, owner, true), undefined)
      }),
    )

    it(
      'a failed delivery can be opened again; one whose bytes are gone cannot',
      with_(async (bench) => {
        const { store, owner } = bench
        const reopen = (found: { readonly deliveries: readonly Delivery[] }) =>
          found.deliveries.map(
            ({ settledAt: _, reason: __, ...one }): Delivery => ({ ...one, state: 'waiting', dueAt: T0 }),
          )
        const dead = await bench.finish(
          sampleMessage(['a@x.test'], { message: { key: 'k' } }),
          failed,
          T0,
          true,
        )
        const again = await store.amend(dead, reopen, T0, owner, true)
        assert.equal(again?.settledAt, undefined)
        assert.deepEqual(await store.outcomes(9), [])
        assert.equal((await store.counts()).openMessages, 1)
        assert.equal(
          await store.purge({ settledBefore: NEVER, failedBefore: NEVER, keysBefore: NEVER }, 9),
          0,
        )
        assert.ok(await store.byKey('k'))
        const claim = await bench.claimed({ lane: 'x.test' })
        assert.deepEqual((await bench.settle(claim, accepted, { keepOutcomes: true })).ended, [dead])
        assert.deepEqual(await store.outcomes(9), [dead])
        assert.equal((await store.history(claim.deliveries[0]?.id ?? 0)).length, 2)

        const done = await bench.finish(sampleMessage(['b@x.test']))
        await assert.rejects(store.amend(done, reopen, T0, owner, true), code('BAD_STATE'))
        assert.equal((await store.counts()).waiting, 0)
      }),
    )

    it(
      'mail opened again by somebody else is announced to the owner',
      with_(async (bench) => {
        const ticket = await bench.finish(sampleMessage(['a@x.test']), failed)
        const reopen = ({ settledAt: _, reason: __, ...one }: Delivery): Delivery => ({
          ...one,
          state: 'waiting',
        })
        await bench.store.amend(ticket, (found) => found.deliveries.map(reopen), T0, 0, false)
        const [notice] = await bench.store.notices(bench.owner)
        assert.equal(notice?.kind, 'due')
      }),
    )
  })

  describe(`${subject.name}: outcomes, purging, erasing`, () => {
    it(
      'outcomes wait, oldest first, until acknowledged, where they are kept at all',
      with_(async (bench) => {
        await bench.finish(sampleMessage(['a@x.test']))
        const kept: string[] = []
        for (const at of [3, 1, 2])
          kept.push(await bench.finish(sampleMessage(['a@x.test']), accepted, T0 + at, true))
        const [three, one, two] = kept as [string, string, string]
        const waiting = await bench.store.outcomes(9)
        assert.deepEqual([...waiting].sort(), [one, two, three].sort())
        assert.equal((await bench.store.outcomes(2)).length, 2)
        await bench.store.acknowledge([one, 'nobody'])
        assert.deepEqual([...(await bench.store.outcomes(9))].sort(), [two, three].sort())
      }),
    )

    it(
      'purging forgets what settled long ago: accepted and failed by their own ages, open and unacknowledged never',
      with_(async (bench) => {
        const { store } = bench
        const old = await bench.finish(sampleMessage(['a@x.test']), accepted, T0)
        const dead = await bench.finish(sampleMessage(['a@x.test']), failed, T0)
        const fresh = await bench.finish(sampleMessage(['a@x.test']), accepted, T0 + HOUR)
        const unheard = await bench.finish(sampleMessage(['a@x.test']), accepted, T0, true)
        await bench.add(sampleMessage(['a@x.test']))
        assert.equal(await store.purge({ settledBefore: T0 + 1, failedBefore: T0, keysBefore: T0 }, 9), 1)
        assert.equal(await store.get(old), undefined)
        assert.ok(await store.get(dead))
        assert.equal(await store.purge({ settledBefore: T0 + 1, failedBefore: T0 + 1, keysBefore: T0 }, 9), 1)
        assert.equal(await store.get(dead), undefined)
        assert.equal(await store.bytes(dead), undefined)
        assert.ok(await store.get(fresh))
        assert.ok(await store.get(unheard))
        assert.equal(await store.purge({ settledBefore: T0 + 1, failedBefore: T0 + 1, keysBefore: T0 }, 9), 0)
        assert.deepEqual(
          { ...(await store.counts()), openBytes: 0 },
          { waiting: 1, claimed: 0, parked: 0, accepted: 2, failed: 0, openMessages: 1, openBytes: 0 },
        )
      }),
    )

    it(
      'purging takes at most as many as asked',
      with_(async (bench) => {
        for (let at = 0; at < 5; at++) await bench.finish(sampleMessage(['a@x.test']))
        const before = { settledBefore: NEVER, failedBefore: NEVER, keysBefore: NEVER }
        assert.deepEqual(
          [
            await bench.store.purge(before, 3),
            await bench.store.purge(before, 3),
            await bench.store.purge(before, 3),
          ],
          [3, 2, 0],
        )
      }),
    )

    it(
      'a key outlives its message until its own time, and may be used again after it',
      with_(async (bench) => {
        const keyed = () => sampleMessage(['a@x.test'], { message: { key: 'k' } })
        const ticket = await bench.finish(keyed())
        assert.equal(
          await bench.store.purge({ settledBefore: NEVER, failedBefore: NEVER, keysBefore: T0 }, 9),
          1,
        )
        assert.deepEqual(await bench.add(keyed()), { kind: 'duplicate', ticket })
        assert.equal(await bench.store.byKey('k'), undefined)
        await bench.store.purge({ settledBefore: T0, failedBefore: T0, keysBefore: T0 + 1 }, 9)
        assert.equal((await bench.add(keyed())).kind, 'added')
        await bench.store.purge({ settledBefore: NEVER, failedBefore: NEVER, keysBefore: NEVER }, 9)
        assert.equal(
          (await bench.add(keyed())).kind,
          'duplicate',
          'the key of an open message is never purged',
        )
      }),
    )

    it(
      'an erased address is forgotten everywhere: waiting mail to it ends, settled mail loses it, replies too',
      with_(async (bench) => {
        const { store, owner } = bench
        const done = sampleMessage(['Anna@x.test'])
        await bench.finish(done, (one, now) => ({
          ...accepted(one, now),
          last: record('250 Ok <anna@X.test> queued', now),
        }))
        const waiting = sampleMessage(['anna@x.test', 'bob@x.test'], { message: { key: 'k' } })
        await bench.add(waiting)
        const touched = await store.erase('anna@x.test', T0, owner, true)
        assert.deepEqual([...touched].sort(), [done.message.id, waiting.message.id].sort())
        assert.equal(
          show(await store.list({ limit: 9 }))
            .toLowerCase()
            .includes('anna'),
          false,
        )
        const [first] = (await store.get(done.message.id))?.deliveries ?? []
        assert.equal(
          show(await store.history(first?.id ?? 0))
            .toLowerCase()
            .includes('anna'),
          false,
        )
        const now = await store.get(waiting.message.id)
        assert.deepEqual(
          now?.deliveries.map(({ state, reason, address }) => [state, reason, address]),
          [
            ['failed', 'cancelled', ''],
            ['waiting', undefined, 'bob@x.test'],
          ],
        )
        const key = await bench.add(sampleMessage(['anna@x.test', 'bob@x.test'], { message: { key: 'k' } }))
        assert.equal(key.kind, 'duplicate')
        assert.deepEqual(await store.erase('anna@x.test', T0, owner, true), [])
        await store.erase('bob@x.test', T0, owner, true)
        assert.deepEqual(await store.outcomes(9), [waiting.message.id])
        assert.equal(await store.bytes(waiting.message.id), undefined)
      }),
    )

    it(
      'an address erased while it is being tried is forgotten when the try ends, and not tried again',
      with_(async (bench) => {
        const { store, owner } = bench
        const [one, two] = [sampleMessage(['anna@x.test']), sampleMessage(['anna@y.test', 'bob@y.test'])]
        await bench.add(one)
        await bench.add(two)
        const claims = [
          await bench.claimed({ lane: 'x.test' }),
          await bench.claimed({ lane: 'y.test', limit: 1 }),
        ]
        await store.erase('anna@x.test', T0, owner, false)
        await store.erase('anna@y.test', T0, owner, false)
        const first = await bench.settle(
          claims[0] as Claim,
          waitingAgain(T0, record('451 <anna@x.test> later')),
        )
        assert.deepEqual(first.ended, [one.message.id])
        await bench.settle(claims[1] as Claim, accepted)
        const deliveries = [one, two].map(({ message }) => store.get(message.id))
        const all = (await Promise.all(deliveries)).flatMap((stored) => stored?.deliveries ?? [])
        assert.deepEqual(
          all.map(({ state, address }) => [state, address]),
          [
            ['failed', ''],
            ['accepted', ''],
            ['waiting', 'bob@y.test'],
          ],
        )
        assert.equal(show(all).includes('anna'), false)
      }),
    )
  })

  const { reopen } = subject
  if (!reopen) return
  const twice = (body: (bench: Bench, other: Store) => Promise<void>) =>
    with_(async (bench) => {
      const other = await reopen()
      await other.open()
      try {
        await body(bench, other)
      } finally {
        await other.close()
      }
    })

  describe(`${subject.name}: two on one store`, () => {
    it(
      'what one stores the other has',
      twice(async (bench, other) => {
        const added = sampleMessage(['a@x.test'], { message: { key: 'k' } })
        await bench.add(added)
        assert.deepEqual(await other.get(added.message.id), await bench.store.get(added.message.id))
        assert.deepEqual([...((await other.bytes(added.message.id)) ?? [])], [...added.bytes])
        const again = sampleMessage(['a@x.test'], { message: { key: 'k' } })
        assert.deepEqual(await other.add(again, undefined, 0), {
          kind: 'duplicate',
          ticket: added.message.id,
        })
      }),
    )

    it(
      'the owner hears of what the other adds',
      twice(async (bench, other) => {
        assert.deepEqual(await bench.store.notices(bench.owner), [])
        await other.add(sampleMessage(['a@x.test']), undefined, 0)
        const [notice] = await bench.store.notices(bench.owner)
        assert.equal(notice?.kind, 'due')
        await bench.claimed({ lane: 'x.test' })
      }),
    )

    it(
      'a successor takes over open claims, and its predecessor can no longer settle',
      twice(async (bench, other) => {
        await bench.add(sampleMessage(['a@x.test']))
        const claim = await bench.claimed({ lane: 'x.test' })
        assert.equal(await other.own('second', T0, NEVER), undefined)
        const next = await other.own('second', NEVER, NEVER + HOUR)
        assert.ok(next)
        const heir = new Bench(other, next)
        await assert.rejects(bench.settle(claim, accepted), code('OWNER_LOST'))
        assert.deepEqual(await other.openClaims(), [claim])
        await heir.settle(claim, waitingAgain(T0))
        assert.ok(await heir.claimed({ lane: 'x.test' }))
      }),
    )

    it(
      'room is counted over both',
      twice(async (bench, other) => {
        const room = { messages: 1, bytes: 1000 }
        await bench.store.add(sampleMessage(['a@x.test']), room, bench.owner)
        await assert.rejects(other.add(sampleMessage(['a@x.test']), room, 0), code('OUTBOX_FULL'))
      }),
    )

    it(
      'adds from both at once all arrive, under ids of their own',
      twice(async (bench, other) => {
        const adds = Array.from({ length: 40 }, (_, at) =>
          at % 2
            ? bench.add(sampleMessage(['a@x.test']))
            : other.add(sampleMessage(['a@x.test']), undefined, 0),
        )
        const ids = (await Promise.all(adds)).flatMap((answer) => (answer.kind === 'added' ? answer.ids : []))
        assert.equal(new Set(ids).size, 40)
        assert.equal((await bench.heads())[0]?.waiting, 40)
      }),
    )
  })
}

const show = (value: unknown): string => JSON.stringify(value)
const isWaiting = (delivery: Delivery): boolean => delivery.state === 'waiting'
