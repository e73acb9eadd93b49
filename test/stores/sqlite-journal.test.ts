// What turns said and the tables do not say yet: whoever asks gets the newest, in this process and in others,
// and no kill, lock or full disk between a turn and its fold makes a difference.

import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { manualClock } from 'steadymail/testing'
import { expect, it } from 'vitest'
import type { Delivery } from '../../src/core/delivery.ts'
import { FOLD_AT } from '../../src/stores/sqlite/journal.ts'
import { type SqliteOptions, sqliteStore } from '../../src/stores/sqlite/store.ts'
import type { Claim, Settlement, Store } from '../../src/stores/store.ts'
import { sampleMessage } from '../../src/testing/store-contract.ts'
import {
  accept,
  audit,
  files,
  fromLane,
  leftOf,
  NOW,
  openRaw,
  own,
  Saboteur,
  turn,
} from './fixtures/files.ts'
import { named, work } from './fixtures/processes.ts'

const fresh = files()
/** Nothing is folded by time. */
const still = () => manualClock({ start: NOW })

async function opened(file: string, options: SqliteOptions = {}): Promise<Store> {
  const store = sqliteStore(file, { clock: still(), ...options })
  await store.open()
  return store
}

/** By `owner` it is fresh mail; by nobody, 0, it goes to the tables at once. */
async function add(store: Store, owner: number, ...tickets: string[]): Promise<void> {
  for (const id of tickets)
    await store.add(sampleMessage([`${id}@x.test`], { message: { id, key: `k-${id}` } }), undefined, owner)
}

async function claim(store: Store, owner: number, count = 1): Promise<Claim[]> {
  const { claims } = await turn(store, owner, {
    claims: Array.from({ length: count }, () => fromLane('x.test')),
  })
  return claims.flatMap((one) => (one.claim ? [one.claim] : []))
}

/** Rows of the journal, as the file has them. */
function journal(file: string): number {
  const db = openRaw(file)
  try {
    return (db.prepare('SELECT count(*) AS n FROM turns').get() as { n: number }).n
  } finally {
    db.close()
  }
}

const killed = (file: string) => leftOf(file, fresh())

const only = async (store: Store, ticket: string) => (await store.get(ticket))?.deliveries[0]
const stateOf = async (store: Store, ticket: string) => (await only(store, ticket))?.state

it('a turn is one row until it is folded, and everybody sees what it said', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  await add(store, owner, 'one', 'two', 'three')
  const [first, second] = await claim(store, owner, 2)
  if (!first || !second) throw new Error('two claims')
  const { ended } = await turn(store, owner, { settle: accept(first), keepOutcomes: true })
  expect(ended).toEqual(['one'])
  expect(journal(file)).toBe(2)

  const { last, ...accepted } = (await only(store, 'one')) as Delivery
  expect(accepted).toMatchObject({ state: 'accepted', tries: 1, settledAt: NOW })
  expect(last?.reply.text).toBe('250 Ok')
  expect((await store.get('one'))?.settledAt).toBe(NOW)
  expect((await store.byKey('k-one'))?.settledAt).toBe(NOW)
  expect(await store.history(accepted.id)).toEqual([last])
  expect(await store.outcomes(10)).toEqual(['one'])
  expect(await stateOf(store, 'two')).toBe('claimed')
  expect(await store.counts()).toMatchObject({ accepted: 1, claimed: 1, waiting: 1, openMessages: 2 })
  expect(await store.bytes('one')).toBeUndefined()
  expect(await store.bytes('two')).toBeDefined()
  expect(journal(file), 'none of these needs the tables').toBe(2)

  expect((await store.list({ limit: 10, state: 'accepted' })).map(({ message }) => message.id)).toEqual([
    'one',
  ])
  expect(journal(file)).toBe(0)
  expect(await stateOf(store, 'one')).toBe('accepted')
  expect((await store.openClaims()).map(({ fence }) => fence)).toEqual([second.fence])
  await store.close()
  audit(file)
})

it('it is folded by itself: a moment later, and at once when there is much of it', async () => {
  const file = fresh()
  const clock = still()
  const store = await opened(file, { clock })
  const owner = await own(store)
  await add(store, 0, 'one')
  await claim(store, owner)
  expect(journal(file)).toBe(1)
  await clock.advance(249)
  expect(journal(file)).toBe(1)
  await clock.advance(1)
  expect(journal(file)).toBe(0)

  await add(store, 0, ...Array.from({ length: FOLD_AT }, (_, at) => `m${String(at).padStart(4, '0')}`))
  await claim(store, owner, FOLD_AT - 1)
  await clock.advance(0)
  expect(journal(file)).toBe(1)
  await claim(store, owner)
  await clock.advance(0)
  expect(journal(file)).toBe(0)
  await store.close()
  audit(file)
})

it('a process that is killed between turns and fold leaves everything it said', {
  timeout: 60_000,
}, async () => {
  const file = fresh()
  const worker = work(file, 'deliver', 'w')
  // whenever it is killed, some of what it said may just have been folded
  await worker.said('accepted', 30)
  await worker.kill()
  const left = journal(file)
  const store = await opened(file)
  for (const ticket of named(worker.lines, 'accepted')) {
    expect(await stateOf(store, ticket)).toBe('accepted')
    expect(await store.bytes(ticket)).toBeUndefined()
  }
  // its lease was of the machine's clock
  const owner = (await store.own('next', Date.now() + 1e4, Date.now() + 1e5)) ?? 0
  const claims = await store.openClaims()
  expect(journal(file)).toBe(0)
  expect(claims.length).toBe((await store.counts()).claimed)
  await turn(store, owner, { settle: claims.flatMap((one) => accept(one)) })
  await store.close()
  expect(left + claims.length).toBeGreaterThan(0)
  audit(file)
})

it('what was claimed, accepted, deferred and acknowledged before a kill is so after it', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  await add(store, owner, 'accepted', 'acknowledged', 'deferred', 'claimed', 'again', 'waiting')
  const [one, two, three, four, five] = await claim(store, owner, 5)
  if (!one || !two || !three || !four || !five) throw new Error('five claims')
  const deferred: Settlement[] = accept(three).map((settlement) => ({
    ...settlement,
    delivery: { ...settlement.delivery, state: 'waiting', dueAt: NOW + 5 },
  }))
  const back: Settlement[] = five.deliveries.map((delivery) => ({
    fence: five.fence,
    delivery: { ...delivery, state: 'waiting' },
  }))
  await turn(store, owner, {
    settle: [...accept(one), ...accept(two), ...deferred, ...back],
    lanes: () => [{ key: 'x.test', state: '"held"' }],
    keepOutcomes: true,
  })
  const [again] = await claim(store, owner)
  expect(again?.message.id).toBe('again')
  expect(await store.outcomes(10)).toEqual(['accepted', 'acknowledged'])
  await store.acknowledge(['acknowledged'])
  expect(await store.outcomes(10)).toEqual(['accepted'])
  expect(journal(file)).toBeGreaterThan(2)

  const copy = killed(file)
  const next = await opened(copy)
  expect(await next.outcomes(10)).toEqual(['accepted'])
  await own(next)
  expect((await next.openClaims()).map(({ fence, message }) => [fence, message.id])).toEqual([
    [four.fence, 'claimed'],
    [again?.fence, 'again'],
  ])
  for await (const page of next.lanes()) expect(page).toEqual([{ key: 'x.test', state: '"held"' }])
  expect(await stateOf(next, 'deferred')).toBe('waiting')
  expect((await next.get('deferred'))?.deliveries[0]?.last?.reply.text).toBe('250 Ok')
  await next.acknowledge(['accepted'])
  expect(await next.outcomes(10)).toEqual([])
  expect(await next.purge({ settledBefore: NOW + 1, failedBefore: NOW, keysBefore: NOW }, 10)).toBe(2)
  await next.close()
  audit(copy)
  await store.close()
  audit(file)
})

it('another process folds what the owner said, and neither is confused by it', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  const other = await opened(file)
  await add(store, owner, 'one', 'two', 'three')
  const [one, two] = await claim(store, owner, 2)
  if (!one || !two) throw new Error('two claims')
  expect(await stateOf(other, 'one')).toBe('claimed')
  expect(journal(file), 'it only read').toBe(1)
  expect((await other.openClaims()).length).toBe(2)
  expect(journal(file)).toBe(0)
  await turn(store, owner, { settle: accept(one), keepOutcomes: true })
  expect(await stateOf(other, 'one')).toBe('accepted')
  expect(await other.bytes('one')).toBeUndefined()
  expect(await other.outcomes(10)).toEqual(['one'])
  await other.acknowledge(['one'])
  for (const either of [store, other]) expect(await either.outcomes(10)).toEqual([])
  expect((await claim(store, owner)).map(({ message }) => message.id)).toEqual(['three'])
  const { ended, stale } = await turn(store, owner, { settle: [...accept(two), ...accept(two)] })
  expect([ended, stale]).toEqual([['two'], [1]])
  expect(await other.counts()).toEqual(await store.counts())
  expect((await other.list({ limit: 10 })).map(({ deliveries }) => deliveries[0]?.state)).toEqual([
    'accepted', // one
    'claimed', // three
    'accepted', // two
  ])
  await other.close()
  await store.close()
  audit(file)
})

it('outcomes that are acknowledged after another process has folded them hide none behind them', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  const other = await opened(file)
  const tickets = Array.from({ length: 6 }, (_, at) => `t${at}`)
  await add(store, owner, ...tickets)
  const claims = await claim(store, owner, 6)
  await turn(store, owner, { settle: claims.flatMap(accept), keepOutcomes: true })
  expect(await other.list({ limit: 1 })).toHaveLength(1)
  expect(journal(file)).toBe(0)
  for (let at = 0; at < 6; at += 2) {
    const next = tickets.slice(at, at + 2)
    expect(await store.outcomes(2)).toEqual(next)
    await store.acknowledge(next)
  }
  expect(await store.outcomes(2)).toEqual([])
  await other.close()
  await store.close()
  audit(file)
})

it('what another process cancelled is not claimed, however well it is remembered', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  const other = await opened(file)
  await add(store, owner, 'claimed', 'cancelled', 'kept')
  const [claimed] = await claim(store, owner)
  const cancel = (ticket: string) =>
    other.amend(
      ticket,
      ({ deliveries }) =>
        deliveries.map((one) => ({ ...one, state: 'failed', reason: 'cancelled', settledAt: NOW })),
      NOW,
      0,
      false,
    )
  expect((await cancel('claimed'))?.deliveries[0]?.state, 'it is under way').toBe('claimed')
  expect((await cancel('cancelled'))?.deliveries[0]?.state).toBe('failed')
  expect((await claim(store, owner, 2)).map(({ message }) => message.id)).toEqual(['kept'])
  const { ended } = await turn(store, owner, { settle: accept(claimed as Claim) })
  expect(ended).toEqual(['claimed'])
  expect(await store.counts()).toMatchObject({ accepted: 1, failed: 1, claimed: 1, waiting: 0 })
  await other.close()
  await store.close()
  audit(file)
})

it('an address that is erased while its claim is only in the journal is forgotten when it is settled', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  const other = await opened(file)
  await add(store, owner, 'whistleblower', 'gone')
  const [claimed, settled] = await claim(store, owner, 2)
  if (!claimed || !settled) throw new Error('two claims')
  const echo = (one: Claim) =>
    accept(one).map((settlement) => ({
      ...settlement,
      record: {
        at: NOW,
        durationMs: 1,
        counted: true,
        reply: { code: 250, text: `250 <${settlement.delivery.address}> Ok`, phase: 'dot' as const },
      },
    }))
  await turn(store, owner, { settle: echo(settled) })
  expect(await other.erase('gone@x.test', NOW, 0, false)).toEqual(['gone'])
  expect(await other.erase('Whistleblower@x.test', NOW, 0, false)).toEqual(['whistleblower'])
  const { ended } = await turn(store, owner, { settle: echo(claimed) })
  expect(ended).toEqual(['whistleblower'])
  for (const ticket of ['whistleblower', 'gone'])
    expect((await store.get(ticket))?.deliveries[0]).toMatchObject({
      state: 'accepted',
      address: '',
      last: { reply: { text: '250 <erased> Ok' } },
    })
  await other.close()
  await store.close()
  const bytes = readFileSync(file)
  expect(bytes.includes('whistleblower@x.test')).toBe(false)
  expect(bytes.includes('gone@x.test')).toBe(false)
  audit(file)
})

it('accepted bytes are out of the file with the fold', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  const bytes = new TextEncoder().encode('the launch code is 00000000 '.repeat(400))
  await store.add(sampleMessage(['a@x.test'], { bytes }), undefined, owner)
  const [one] = await claim(store, owner)
  await turn(store, owner, { settle: accept(one as Claim) })
  await store.list({ limit: 1 })
  await store.close()
  expect(readFileSync(file).includes('launch code')).toBe(false)
})

it('a fold waits for the lock of another process as a write does, and answers that need none do not wait', async () => {
  const file = fresh()
  const store = await opened(file, { lockWaitMs: 0 })
  const owner = await own(store)
  await add(store, owner, 'one', 'two')
  const [one] = await claim(store, owner)
  await turn(store, owner, { settle: accept(one as Claim) })
  const lock = openRaw(file)
  lock.exec('BEGIN IMMEDIATE')
  await expect(store.list({ limit: 10 })).rejects.toMatchObject({ code: 'STORE_FAILED' })
  expect(await stateOf(store, 'one')).toBe('accepted')
  expect(await store.counts()).toMatchObject({ accepted: 1, waiting: 1 })
  lock.exec('ROLLBACK')
  lock.close()
  expect((await store.list({ limit: 10, state: 'accepted' })).length).toBe(1)
  await store.close()
  audit(file)
})

it.each([
  ['the rows', /SELECT body FROM turns/, 0],
  ['a body', /DELETE FROM body/, 0],
  ['a delivery', /SET state = 3/, 0],
  ['a message', /SET open = 0/, 0],
  ['a claim', /SET state = 1/, 0],
  ['a lane', /INSERT INTO lane/, 0],
  ['the journal', /DELETE FROM turns/, 0],
  ['a fresh delivery', /INSERT INTO delivery/, 1],
  ['a fresh message', /INSERT INTO message/, 1],
  ['a row of fresh mail', /DELETE FROM fresh/, 1],
  ['what is said again', /INSERT INTO turns/, 1],
])(
  'a disk that fails at %s of a fold stops nobody, and the fold is made when it works again',
  async (_, broken, isFresh) => {
    const file = fresh()
    const saboteur = new Saboteur('SQLITE_FULL')
    const clock = still()
    const store = await opened(file, { driver: saboteur.driver, clock })
    const owner = await own(store)
    await add(store, isFresh && owner, 'one', 'two', 'three')
    const [one, two] = await claim(store, owner, 2)
    await turn(store, owner, { settle: accept(one as Claim), lanes: () => [{ key: 'x.test', state: '{}' }] })
    saboteur.broken = broken
    await clock.advance(250)
    expect(journal(file)).toBe(2)
    saboteur.broken = undefined
    // what was remembered is not trusted any more, and nothing is lost by it
    const { ended } = await turn(store, owner, { settle: accept(two as Claim), claims: [fromLane('x.test')] })
    expect(ended).toEqual(['two'])
    expect(await store.counts()).toMatchObject({ accepted: 2, claimed: 1 })
    expect((await store.list({ limit: 10, state: 'accepted' })).length).toBe(2)
    await store.close()
    audit(file)
  },
)

it.each([
  { version: 1, journaled: [] },
  { version: 2, journaled: ['ended@shop9.test'] },
  { version: 3, journaled: ['ended@shop9.test'] },
])(
  'a file of version $version with mail in every state is brought forward, and goes on where it was',
  async ({ version, journaled }) => {
    const file = fresh()
    const db = openRaw(file)
    const dump = new URL(`../chaos/fixtures/schema-${version}.sql`, import.meta.url)
    db.exec(readFileSync(fileURLToPath(dump), 'utf8'))
    db.close()
    const store = await opened(file)
    expect(await store.counts()).toEqual({
      waiting: 25,
      claimed: 1,
      parked: 1,
      accepted: 2 + journaled.length,
      failed: 1,
      openMessages: 25,
      openBytes: 6885,
    })
    const deliveries = (await store.list({ limit: 100 })).flatMap((stored) => stored.deliveries)
    const byState = (state: string) => deliveries.filter((one) => one.state === state)
    expect(byState('waiting')).toHaveLength(25)
    expect(byState('accepted').map(({ address }) => address)).toEqual([
      'gone@shop4.test',
      'kept@shop4.test',
      ...journaled,
    ])
    expect(byState('failed').map(({ address }) => address)).toEqual(['nobody@shop2.test'])
    expect(byState('parked').map(({ address }) => address)).toEqual(['perhaps@shop3.test'])
    const deferred = await store.byKey('later@shop1.test')
    const now = deferred?.deliveries[0]?.dueAt ?? 0
    const owner = (await store.own('of an earlier version', now, now + 1e9)) ?? 0
    const claims = await store.openClaims()
    expect(claims.flatMap((claim) => claim.deliveries.map(({ address }) => address))).toEqual([
      'claimed@shop9.test',
    ])
    const lanes = ['shop1.test', 'shop6.test', 'shop7.test'].map(fromLane)
    const { claims: more } = await turn(store, owner, { claims: lanes, now })
    const settle = [...claims, ...more.flatMap(({ claim }) => (claim ? [claim] : []))].flatMap(accept)
    // the message to three ends with its last recipient
    expect(settle).toHaveLength(5)
    const { ended } = await turn(store, owner, { settle, keepOutcomes: true })
    expect(ended).toHaveLength(3)
    expect(ended).toContain(deferred?.message.id)
    const replies = await store.history(deferred?.deliveries[0]?.id ?? 0)
    expect(replies.map(({ reply }) => reply.code)).toEqual([450, 250])
    expect((await store.byKey('later@shop1.test'))?.settledAt).toBe(NOW)
    expect(await store.outcomes(10)).toHaveLength(4) // and the one that nobody had acknowledged
    await store.close()
    audit(file)
  },
)

it('a process of version 1 that cancels what the journal says is under way is believed, and counted once', async () => {
  const file = fresh()
  const store = await opened(file)
  const owner = await own(store)
  await add(store, 0, 'settled', 'claimed')
  const [settled] = await claim(store, owner, 2)
  await turn(store, owner, { settle: accept(settled as Claim) })
  // as version 1 writes it: it knows the tables only
  const old = openRaw(file)
  old.exec(`BEGIN IMMEDIATE;
    UPDATE delivery SET state = 4, sweep_at = NULL, settled_at = 1, reason = 'cancelled';
    UPDATE message SET open = 0, failed = 1, settled_at = 1; DELETE FROM body;
    UPDATE ledger SET waiting = waiting - 2, failed = failed + 2, open_messages = open_messages - 2,
      open_bytes = open_bytes - (SELECT sum(size) FROM message);
    COMMIT`)
  old.close()
  expect((await store.list({ limit: 10 })).map(({ deliveries }) => deliveries[0]?.state)).toEqual([
    'failed',
    'failed',
  ])
  expect(await store.counts()).toMatchObject({
    waiting: 0,
    claimed: 0,
    accepted: 0,
    failed: 2,
    openMessages: 0,
  })
  await store.close()
  audit(file)
})
