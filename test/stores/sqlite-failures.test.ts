// The disk, the lock and the file fail; nothing is half done, and the event loop goes on.

import { renameSync, unlinkSync } from 'node:fs'
import { expect, it, vi } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { type SqliteOptions, sqliteStore } from '../../src/stores/sqlite/store.ts'
import type { Store } from '../../src/stores/store.ts'
import { sampleMessage } from '../../src/testing/store-contract.ts'
import { accept, audit, driverWith, files, fromLane, openRaw, own, Saboteur, turn } from './fixtures/files.ts'

const fresh = files()

async function opened(file: string, options: SqliteOptions = {}): Promise<{ store: Store; owner: number }> {
  const store = sqliteStore(file, options)
  await store.open()
  return { store, owner: await own(store) }
}

const refusal = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error) => `${error.code} ${error.message}`,
  )

it('a full disk refuses what does not fit, keeps what was there, and takes mail again when it has room', async () => {
  const file = fresh()
  const { store, owner } = await opened(file, { driver: driverWith('PRAGMA max_page_count = 60') })
  const big = () => sampleMessage(['a@x.test'], { bytes: new Uint8Array(20_000) })
  const stored: string[] = []
  let refused = 'none'
  while (refused === 'none') {
    const added = big()
    refused = await refusal(store.add(added, undefined, owner))
    if (refused === 'none') stored.push(added.message.id)
  }
  expect(refused).toBe(`STORE_FAILED ${file}: the disk is full (SQLITE_FULL)`)
  expect(stored.length).toBeGreaterThan(2)
  expect((await store.counts()).openMessages).toBe(stored.length)
  // what waits can still be sent, which makes room
  const { claims } = await turn(store, owner, { claims: [fromLane('x.test')] })
  await turn(store, owner, { settle: claims.flatMap(({ claim }) => (claim ? accept(claim) : [])) })
  const next = big()
  expect(await refusal(store.add(next, undefined, owner))).toBe('none')
  await store.close()
  expect(audit(file).tickets).toEqual([...stored, next.message.id])
})

it('while little is left on the disk, new mail is refused and what waits is sent', async () => {
  const file = fresh()
  const before = await opened(file)
  await before.store.add(sampleMessage(['a@x.test'], { message: { key: 'k' } }), undefined, before.owner)
  await before.store.close()
  const { store, owner } = await opened(file, { minFreeBytes: 1e18 })
  expect(await refusal(store.add(sampleMessage(['a@x.test']), undefined, owner))).toMatch(
    /^STORE_FAILED .*: the disk is nearly full \(\d+ MiB left, 953674316406 are kept for sending\)$/,
  )
  const again = sampleMessage(['a@x.test'], { message: { key: 'k' } })
  expect(await store.add(again, undefined, owner)).toMatchObject({ kind: 'duplicate' })
  const { claims } = await turn(store, owner, { claims: [fromLane('x.test')] })
  const { ended } = await turn(store, owner, {
    settle: claims.flatMap(({ claim }) => (claim ? accept(claim) : [])),
  })
  expect(ended).toHaveLength(1)
  await store.close()
})

it.each([
  ['COMMIT', /^COMMIT/, 1],
  ['fresh mail', /INSERT INTO fresh_mail /, 1],
  ['its bytes', /INSERT INTO fresh_bytes /, 1],
  ['the message', /INSERT INTO message /, 2],
  ['the bytes', /INSERT INTO body/, 2],
  ['the delivery', /INSERT INTO delivery /, 2],
  ['the journal', /INSERT INTO turns/, 1],
  ['the counts', /UPDATE ledger/, 1],
])(
  'an I/O error at %s undoes the whole turn, and the same turn works later',
  async (_, broken, recipients) => {
    const file = fresh()
    const saboteur = new Saboteur('SQLITE_IOERR_WRITE')
    const { store, owner } = await opened(file, { driver: saboteur.driver })
    const [one, two] = ['a@x.test', 'b@x.test'].map((to) => sampleMessage([to]))
    const three = sampleMessage(['c@x.test', 'd@x.test'].slice(0, recipients)) // several go to the tables at once
    if (!one || !two) throw new Error('two messages')
    await store.add(one, undefined, owner)
    await store.add(two, undefined, owner)
    const [{ claim } = {}] = (await turn(store, owner, { claims: [fromLane('x.test')] })).claims
    if (!claim) throw new Error('nothing claimed')
    const before = [await store.counts(), await store.get(one.message.id), await store.openClaims()]

    const both = () => {
      const adding = store.add(three, undefined, owner)
      const turning = turn(store, owner, {
        settle: accept(claim),
        claims: [fromLane('x.test')],
        lanes: () => [{ key: 'x.test', state: '{}' }],
      })
      return Promise.all([refusal(adding), refusal(turning)])
    }
    saboteur.broken = broken
    const message = `STORE_FAILED ${file}: the disk cannot be read or written (SQLITE_IOERR)`
    expect(await both()).toEqual([message, message])
    saboteur.broken = undefined
    expect([await store.counts(), await store.get(one.message.id), await store.openClaims()]).toEqual(before)

    expect(await both()).toEqual(['none', 'none'])
    expect(await store.counts()).toMatchObject({ accepted: 1, claimed: 1, waiting: recipients })
    await store.close()
    audit(file)
  },
)

it("another process's lock makes a write wait, not the event loop, and not for ever", async () => {
  const file = fresh()
  const { store, owner } = await opened(file)
  const other = openRaw(file)
  other.exec('BEGIN IMMEDIATE')
  let stored = false
  const adding = store.add(sampleMessage(['a@x.test']), undefined, owner).then(() => {
    stored = true
  })
  for (let turns = 0; turns < 20; turns++) await new Promise((resolve) => setImmediate(resolve))
  expect(stored).toBe(false)
  other.exec('COMMIT')
  await adding
  await store.close()

  const hasty = await opened(file, { lockWaitMs: 0 })
  other.exec('BEGIN IMMEDIATE')
  const message = `STORE_FAILED ${file}: locked by another process (SQLITE_BUSY)`
  expect(await refusal(hasty.store.add(sampleMessage(['a@x.test']), undefined, hasty.owner))).toBe(message)
  expect(await refusal(turn(hasty.store, hasty.owner))).toBe(message)
  expect((await hasty.store.counts()).waiting).toBe(1)
  other.exec('ROLLBACK')
  expect(await refusal(hasty.store.add(sampleMessage(['a@x.test']), undefined, hasty.owner))).toBe('none')
  await hasty.store.close()
  other.close()
})

it.each([
  ['deleted', (file: string) => unlinkSync(file)],
  ['replaced', (file: string) => renameSync(`${file}.new`, file)],
  ['robbed of its log', (file: string) => unlinkSync(`${file}-wal`)],
])('a file that is %s under the store is noticed: no mail is confirmed into the void', async (_, harm) => {
  const file = fresh()
  let monotonic = 0
  // each look at the clock is a second later, so that the file is looked at with each fsync
  const clock = { ...systemClock, monotonic: () => (monotonic += 1000) }
  const { store, owner } = await opened(file, { clock })
  const spare = sqliteStore(`${file}.new`)
  await spare.open()
  await spare.close()
  await store.add(sampleMessage(['a@x.test']), undefined, owner)
  harm(file)
  const message = `STORE_FAILED ${file}: deleted or replaced while it was in use; nothing more is stored until it is opened again`
  expect(await refusal(store.add(sampleMessage(['a@x.test']), undefined, owner))).toBe(message)
  expect(await refusal(turn(store, owner))).toBe(message)
  await store.close()
})

it('a failure that nobody listens to does not end the process', async () => {
  const rejected = vi.fn()
  process.on('unhandledRejection', rejected)
  const file = fresh()
  const clock = { ...systemClock, monotonic: () => performance.now() * 1e6 }
  const { store, owner } = await opened(file, { clock })
  unlinkSync(file)
  const added = store.add(sampleMessage(['a@x.test']), undefined, owner)
  // its `durable` is left alone
  await turn(store, owner, { lanes: () => [{ key: 'x.test', state: '{}' }] })
  await refusal(added)
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', rejected)
  expect(rejected).not.toHaveBeenCalled()
  await store.close()
})
