// New mail that no table has yet: it is one row a commit, everybody finds it, and neither a kill nor anybody's
// question loses it or keeps its bytes for longer than they are wanted.

import { readFileSync } from 'node:fs'
import { manualClock } from 'steadymail/testing'
import { expect, it } from 'vitest'
import type { Delivery } from '../../src/core/delivery.ts'
import { Fresh } from '../../src/stores/sqlite/fresh.ts'
import { MIGRATIONS, migrate } from '../../src/stores/sqlite/schema.ts'
import { type SqliteOptions, sqliteStore } from '../../src/stores/sqlite/store.ts'
import { queueKey } from '../../src/stores/sqlite/windows.ts'
import type { Claim, NewDelivery, NewMessage, Settlement, Store } from '../../src/stores/store.ts'
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

const fresh = files()

async function opened(file: string, options: SqliteOptions = {}) {
  const clock = manualClock({ start: NOW })
  const store = sqliteStore(file, { clock, ...options })
  await store.open()
  return { store, clock }
}

const mail = (id: string, more: Parameters<typeof sampleMessage>[1] = {}): NewMessage =>
  sampleMessage([`${id}@x.test`], { ...more, message: { id, key: `k-${id}`, ...more.message } })

/** In one commit. */
const add = (store: Store, owner: number, ...mails: NewMessage[]) =>
  Promise.all(mails.map((one) => store.add(one, undefined, owner)))

async function claim(store: Store, owner: number, count: number, avoid: string[] = []): Promise<Claim[]> {
  const claims = Array.from({ length: count }, () => ({ ...fromLane('x.test'), avoid }))
  return (await turn(store, owner, { claims })).claims.flatMap((one) => (one.claim ? [one.claim] : []))
}

function rows(file: string): { fresh: number; messages: number; turns: number } {
  const db = openRaw(file)
  try {
    return db
      .prepare(
        `SELECT (SELECT count(*) FROM fresh_mail) AS fresh, (SELECT count(*) FROM message) AS messages,
           (SELECT count(*) FROM turns) AS turns`,
      )
      .get() as { fresh: number; messages: number; turns: number }
  } finally {
    db.close()
  }
}

const killed = (file: string) => leftOf(file, fresh())

const stateOf = async (store: Store, ticket: string) => (await store.get(ticket))?.deliveries[0]?.state

it('is one row a commit, and is found as if it were in the tables, by other processes too', async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  const { store: other } = await opened(file)
  const two = mail('two', { bytes: new TextEncoder().encode('of the second') })
  await add(store, owner, mail('one'), two, mail('three', { message: { meta: '{"a":"ü\\"\\u0000"}' } }))
  expect(rows(file)).toEqual({ fresh: 1, messages: 0, turns: 0 })
  const [one] = await claim(store, owner, 1)
  if (!one) throw new Error('a claim')
  await turn(store, owner, { settle: accept(one), keepOutcomes: true })
  for (const either of [store, other]) {
    expect(await stateOf(either, 'one')).toBe('accepted')
    expect(await either.bytes('one')).toBeUndefined()
    expect(await either.history(one.deliveries[0]?.id ?? 0)).toHaveLength(1)
    expect(await either.outcomes(5)).toEqual(['one'])
    expect(await either.get('two')).toEqual({
      message: two.message,
      deliveries: [{ ...two.deliveries[0], id: 2 }],
    })
    expect((await either.byKey('k-two'))?.message.id).toBe('two')
    expect(Buffer.from((await either.bytes('two')) ?? []).toString()).toBe('of the second')
    expect((await either.get('three'))?.message.meta).toBe('{"a":"ü\\"\\u0000"}')
    expect(await either.get('thr')).toBeUndefined()
    expect(await either.counts()).toMatchObject({ waiting: 2, accepted: 1, openMessages: 2 })
  }
  expect(rows(file), 'nobody needed the tables').toMatchObject({ fresh: 1, messages: 0 })
  expect(await other.list({ limit: 9 })).toHaveLength(3)
  expect(rows(file)).toEqual({ fresh: 0, messages: 3, turns: 0 })
  expect((await claim(store, owner, 3)).map(({ message }) => message)).toEqual([
    two.message,
    (await other.get('three'))?.message,
  ])
  await other.close()
  await store.close()
  audit(file)
})

it("goes to the tables at once when it is large, has several recipients or is another's", async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  await add(
    store,
    owner,
    mail('large', { bytes: new Uint8Array(65_537) }),
    sampleMessage(['a@x.test', 'b@x.test']),
  )
  await add(store, owner, mail('told', { message: { meta: `"${'x'.repeat(3000)}"` } }))
  await add(store, 0, mail("another's"))
  expect(rows(file)).toEqual({ fresh: 0, messages: 4, turns: 0 })
  await store.close()
  audit(file)
})

it('what has ended is in the tables a moment later, and after a second nothing is left of its row', async () => {
  const file = fresh()
  const { store, clock } = await opened(file)
  const owner = await own(store)
  const secret = (n: number) => new TextEncoder().encode(`launch code ${n} `.repeat(300))
  await add(store, owner, ...[1, 2, 3].map((n) => mail(`m${n}`, { bytes: secret(n) })))
  const [one, two] = await claim(store, owner, 2)
  if (!one || !two) throw new Error('two claims')
  await turn(store, owner, { settle: accept(one) })
  await clock.advance(250)
  expect(rows(file)).toEqual({ fresh: 1, messages: 1, turns: 1 })
  const copy = killed(file)

  await clock.advance(749)
  expect(rows(file).fresh).toBe(1)
  await clock.advance(1)
  expect(rows(file)).toMatchObject({ fresh: 0, messages: 3 })
  expect(Buffer.from((await store.bytes('m3')) ?? []).toString()).toContain('launch code 3')
  await turn(store, owner, { settle: accept(two) })
  await store.close()
  const left = readFileSync(file)
  expect([1, 2, 3].map((n) => left.includes(`launch code ${n}`))).toEqual([false, false, true])
  expect(audit(file).accepted).toHaveLength(2)

  // killed while part of the row was in the tables
  const { store: next } = await opened(copy)
  expect(await Promise.all(['m1', 'm2', 'm3'].map((ticket) => stateOf(next, ticket)))).toEqual([
    'accepted',
    'claimed',
    'waiting',
  ])
  const successor = await own(next)
  expect((await next.openClaims()).map(({ fence, message }) => [fence, message.id])).toEqual([
    [two.fence, 'm2'],
  ])
  await turn(next, successor, { settle: accept(two) })
  expect((await claim(next, successor, 3)).map(({ message }) => message.id)).toEqual(['m3'])
  await next.close()
  audit(copy)
})

it('what is put off, given back or failed goes to the tables alone, and once', async () => {
  const file = fresh()
  const { store, clock } = await opened(file)
  const owner = await own(store)
  await add(store, owner, ...['put-off', 'back', 'failed', 'rest'].map((id) => mail(id)))
  const [putOff, back, failed] = await claim(store, owner, 3)
  if (!putOff || !back || !failed) throw new Error('three claims')
  const as = (one: Claim, changes: Partial<Delivery>, said = true): Settlement[] =>
    accept(one).map(({ record, ...rest }) => ({
      ...rest,
      delivery: { ...rest.delivery, settledAt: undefined, ...changes } as Delivery,
      ...(said && record && { record }),
    }))
  await turn(store, owner, {
    settle: [
      ...as(putOff, { state: 'waiting', dueAt: NOW + 9 }),
      ...as(back, { state: 'waiting' }, false),
      ...as(failed, { state: 'failed', reason: 'rejected', settledAt: NOW }),
    ],
  })
  expect(rows(file)).toMatchObject({ fresh: 1, messages: 3 })
  const { stale } = await turn(store, owner, { settle: accept(putOff) })
  expect(stale).toEqual([0])
  await clock.advance(250)
  for (const look of [file, killed(file)]) {
    const { store: other } = await opened(look)
    expect(await stateOf(other, 'failed')).toBe('failed')
    expect(await other.history(putOff.deliveries[0]?.id ?? 0)).toHaveLength(1)
    expect(await other.bytes('failed'), 'a dead letter').toBeDefined()
    await other.close()
  }
  expect((await claim(store, owner, 4)).map(({ message }) => message.id)).toEqual(['back', 'rest'])
  await store.close()
  audit(file)
})

it('is claimed in the order of what is due, whether it is here or in the tables, and around what is to be avoided', async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  const due = (id: string, dueAt: number) => mail(id, { delivery: { dueAt } })
  await add(store, 0, due('b', NOW - 8), due('d', NOW - 6))
  await add(store, owner, due('c', NOW - 7), due('a', NOW - 9), due('later', NOW + 5), due('e', NOW - 5))
  const [avoiding] = await claim(store, owner, 1, ['a', 'b'])
  expect(avoiding?.message.id).toBe('c')
  const names = (await claim(store, owner, 9)).map(({ message }) => message.id)
  expect(names).toEqual(['a', 'b', 'd', 'e'])
  const { claims } = await turn(store, owner, { claims: [fromLane('x.test')] })
  expect(claims).toEqual([{ nextDueAt: NOW + 5 }])
  await store.close()
  audit(file)
})

it('a thousand of one queue come in order, while others of it are in the tables', async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  const names = Array.from({ length: 1000 }, (_, n) => `m${String(n).padStart(4, '0')}`)
  for (let n = 0; n < 1000; n += 50)
    await add(
      store,
      owner,
      ...names
        .slice(n, n + 50)
        .map((id, at) => (at % 7 === 0 ? mail(id, { bytes: new Uint8Array(66_000) }) : mail(id))),
    )
  const got: string[] = []
  while (got.length < 1000) {
    const claims = await claim(store, owner, 30)
    got.push(...claims.map(({ message }) => message.id))
    await turn(store, owner, { settle: claims.flatMap(accept) })
  }
  expect(got).toEqual(names)
  expect(await store.counts()).toMatchObject({ accepted: 1000, waiting: 0, claimed: 0 })
  await store.close()
  audit(file)
})

it('what has expired is found', async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  await add(store, owner, mail('one', { delivery: { expiresAt: NOW + 5 } }), mail('two'))
  expect(await store.claimExpired(owner, NOW, NOW, 9)).toEqual([])
  expect(rows(file), 'nothing was moved for it').toMatchObject({ fresh: 1, messages: 0 })
  expect((await store.claimExpired(owner, NOW + 5, NOW, 9)).map(({ message }) => message.id)).toEqual(['one'])
  await store.close()
  audit(file)
})

it('a successor brings what a killed process left to the tables a part at a time', async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  for (let n = 0; n < 1700; n += 100)
    await add(store, owner, ...Array.from({ length: 100 }, (_, at) => mail(`m${n + at}`)))
  expect(rows(file)).toMatchObject({ fresh: 17, messages: 0 })
  const copy = killed(file)
  await store.close()

  const counter = new Saboteur('none')
  const { store: next } = await opened(copy, { driver: counter.driver })
  const successor = await own(next)
  counter.ran.clear()
  let waiting = 0
  const answers: (string | undefined)[] = []
  for await (const page of next.heads()) {
    for (const head of page) waiting += head.waiting
    answers.push(await stateOf(next, 'm1699'))
  }
  expect(waiting).toBe(1700)
  expect(answers).toContain('waiting')
  expect(counter.ran.get('COMMIT'), '250 messages each').toBeGreaterThanOrEqual(7)
  expect(await claim(next, successor, 3)).toHaveLength(3)
  await next.close()
  audit(copy)
})

it('while somebody reads the tables, new mail goes there', async () => {
  const file = fresh()
  const { store } = await opened(file)
  const owner = await own(store)
  await add(store, owner, mail('before'))
  const pages = store.heads()[Symbol.asyncIterator]()
  expect((await pages.next()).value).toEqual([expect.objectContaining({ lane: 'x.test', waiting: 1 })])
  await add(store, owner, mail('meanwhile'))
  expect(rows(file)).toMatchObject({ fresh: 0, messages: 2 })
  await pages.return?.()
  await add(store, owner, mail('after'))
  expect(rows(file)).toMatchObject({ fresh: 1, messages: 2 })
  await store.close()
  audit(file)
})

it('after a write that failed it is read from the file again, and goes on', async () => {
  const file = fresh()
  const saboteur = new Saboteur('SQLITE_IOERR_WRITE')
  const { store } = await opened(file, { driver: saboteur.driver })
  const owner = await own(store)
  await add(store, owner, mail('one'), mail('two'), mail('three'))
  const [one, two] = await claim(store, owner, 2)
  if (!one || !two) throw new Error('two claims')
  saboteur.broken = /^COMMIT/
  await expect(turn(store, owner, { settle: accept(one) })).rejects.toMatchObject({ code: 'STORE_FAILED' })
  saboteur.broken = undefined
  expect(await stateOf(store, 'one')).toBe('claimed')
  expect(await store.bytes('three')).toBeDefined()
  const { ended } = await turn(store, owner, {
    settle: [...accept(one), ...accept(two)],
    claims: [fromLane('x.test')],
  })
  expect(ended).toEqual(['one', 'two'])
  expect(await store.counts()).toMatchObject({ accepted: 2, claimed: 1, waiting: 0 })
  await store.close()
  audit(file)
})

it('the owner hears of what others bring to the tables, though it learned it anew meanwhile', async () => {
  const file = fresh()
  const saboteur = new Saboteur('SQLITE_IOERR_WRITE')
  const { store } = await opened(file, { driver: saboteur.driver })
  const owner = await own(store)
  await add(store, owner, mail('one'), mail('two'))
  saboteur.broken = /^COMMIT/
  await expect(claim(store, owner, 1)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  saboteur.broken = undefined
  await turn(store, owner)
  await add(store, owner, mail('three'))
  const { store: other } = await opened(file)
  await other.list({ limit: 1 })
  await other.close()
  expect((await claim(store, owner, 5)).map(({ message }) => message.id)).toEqual(['one', 'two', 'three'])
  expect(await store.counts()).toMatchObject({ waiting: 0, claimed: 3 })
  await store.close()
  audit(file)
})

it('is left alone by who only enqueues and closes, and by who delivered before', async () => {
  const file = fresh()
  const { store, clock } = await opened(file)
  const saboteur = new Saboteur('none')
  const { store: before, clock: beforeClock } = await opened(file, { driver: saboteur.driver })
  const first = await own(before)
  await add(before, first, mail('first'))
  await before.disown(first)
  const owner = await own(store)
  for await (const _ of store.heads());
  await add(store, owner, mail('one'))
  await add(before, 0, mail('enqueued'))
  saboteur.ran.clear()
  for (let seconds = 0; seconds < 100; seconds++) await beforeClock.advance(1000)
  expect([...saboteur.ran.keys()].filter((sql) => / FROM fresh_mail/.test(sql))).toEqual([])
  await before.close()
  expect(rows(file)).toMatchObject({ fresh: 1 })
  await clock.advance(30_000)
  expect(rows(file), 'by its own in time').toMatchObject({ fresh: 0 })
  await store.close()
  audit(file)
})

it('is looked after in time, not all the time', async () => {
  const file = fresh()
  const saboteur = new Saboteur('none')
  const { store, clock } = await opened(file, { driver: saboteur.driver })
  const owner = await own(store)
  await add(store, owner, mail('one'), mail('two'))
  await clock.advance(29_500)
  const [one] = await claim(store, owner, 1)
  await turn(store, owner, { settle: accept(one as Claim) })
  saboteur.ran.clear()
  for (let times = 0; times < 200; times++) await clock.advance(10)
  expect(rows(file)).toMatchObject({ fresh: 0, messages: 2 })
  expect(saboteur.ran.get('BEGIN IMMEDIATE')).toBeLessThan(8)
  await store.close()
  audit(file)
})

it('its bytes are nowhere in the file as they are, and their key is overwritten when they go', async () => {
  const file = fresh()
  const { store, clock } = await opened(file)
  const owner = await own(store)
  const secret = { bytes: new TextEncoder().encode('the launch code is 00000000 '.repeat(400)) }
  await add(store, owner, mail('one', secret), mail('two', secret))
  const db = openRaw(file)
  const { key } = db.prepare('SELECT key FROM fresh_mail').get() as { key: Buffer }
  db.close()
  const holds = (what: Buffer | string, ...where: string[]) =>
    where.some((name) => readFileSync(name).includes(what))
  expect(holds('launch code', file, `${file}-wal`)).toBe(false)
  expect(holds(key, `${file}-wal`)).toBe(true)
  for (const one of await claim(store, owner, 2)) await turn(store, owner, { settle: accept(one) })
  await clock.advance(1_000)
  expect(rows(file)).toEqual({ fresh: 0, messages: 2, turns: 0 })
  await store.close()
  expect(holds(key, file)).toBe(false)
  expect(holds(key.subarray(0, 8), file)).toBe(false)
  audit(file)
})

it('bytes that have no key, as version 3 left them, are overwritten themselves', async () => {
  const file = fresh()
  const raw = openRaw(file)
  migrate(raw, file, MIGRATIONS.slice(0, 3))
  raw.close()
  const left = leftBy3(file, 'the launch code is 00000000 '.repeat(400))
  const { store, clock } = await opened(file)
  const owner = await own(store)
  const [one] = await claim(store, owner, 1)
  expect(new TextDecoder().decode(await store.bytes('of-3'))).toBe(left)
  await turn(store, owner, { settle: accept(one as Claim) })
  await clock.advance(1_000)
  expect(rows(file)).toEqual({ fresh: 0, messages: 1, turns: 0 })
  await store.close()
  expect(readFileSync(file).includes('launch code')).toBe(false)
  audit(file)
})

/** A row of fresh mail in the form that version 3 gave it. */
function leftBy3(file: string, text: string): string {
  const db = openRaw(file)
  const bytes = new TextEncoder().encode(text)
  const size = bytes.length
  // biome-ignore format: as it is in the file
  const fields = [
    'of-3', 1, size, null, '<of-3@sender.test>', 'app@sender.test', 'sender.test', size, 1, NOW, NOW + 1e9,
    null, null, null, 'x.test', 'sender.test', 1, NOW, NOW + 1e9, 'of-3@x.test', 'x.test', NOW, 0, 0, 0, 0, 0,
  ]
  db.prepare('INSERT INTO fresh VALUES (1, ?, ?)').run(JSON.stringify([fields]), bytes)
  db.exec(`UPDATE ledger SET last_id = 1, waiting = 1, open_messages = 1, open_bytes = ${size}`)
  db.close()
  return text
}

it('what has waited in a queue leaves no trace in memory, however long the queue is never empty', () => {
  const db = openRaw(fresh())
  db.exec('PRAGMA synchronous = OFF')
  migrate(db, 'outbox.db')
  const known = new Fresh(db, manualClock({ start: NOW }))
  known.load(new Set())
  const tx = { ledger: {} as never, pages: 0 }
  for (let id = 1; id <= 3000; id++) {
    known.put(tx, id, mail(`m${id}`))
    const sent = known.take(id - 8)
    if (sent) known.gone(sent)
    known.write()
    known.sweepOut(tx)
  }
  const queue = queueKey(mail('any').deliveries[0] as NewDelivery)
  expect(known.heads(queue, 9).map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((n) => 2992 + n))
  expect(known.length(queue)).toBeLessThan(300)
  db.close()
})
