// The file over time: it shrinks after a peak, its log stays small, and wiped bytes are really gone.

import { readFileSync, statSync } from 'node:fs'
import { expect, it } from 'vitest'
import { type Clock, systemClock } from '../../src/clock.ts'
import { sqliteStore } from '../../src/stores/sqlite/store.ts'
import type { Store } from '../../src/stores/store.ts'
import { sampleMessage } from '../../src/testing/store-contract.ts'
import { accept, audit, files, fromLane, NOW, openRaw, own, Saboteur, turn } from './fixtures/files.ts'

const fresh = files()
/** Timers at once: upkeep takes its steps without the waits between. */
const hurried: Clock = {
  ...systemClock,
  after: (_, callback) => {
    let cancelled = false
    setImmediate(() => {
      if (!cancelled) callback()
    })
    return {
      cancel: () => {
        cancelled = true
      },
      keep: () => {},
    }
  },
}

async function fill(store: Store, owner: number, count: number, size: number): Promise<void> {
  for (let added = 0; added < count; added += 50)
    await Promise.all(
      Array.from({ length: 50 }, () =>
        store.add(sampleMessage(['a@x.test'], { bytes: new Uint8Array(size).fill(88) }), undefined, owner),
      ),
    )
}

async function drain(store: Store, owner: number): Promise<void> {
  for (;;) {
    const { claims } = await turn(store, owner, {
      claims: Array.from({ length: 50 }, () => fromLane('x.test')),
    })
    const settle = claims.flatMap(({ claim }) => (claim ? accept(claim) : []))
    if (settle.length === 0) return
    await (await turn(store, owner, { settle })).durable
  }
}

const freePages = (file: string): { readonly free: number; readonly pages: number } => {
  const db = openRaw(file)
  try {
    const { freelist_count } = db.prepare('PRAGMA freelist_count').get() as { freelist_count: number }
    const { page_count } = db.prepare('PRAGMA page_count').get() as { page_count: number }
    return { free: freelist_count, pages: page_count }
  } finally {
    db.close()
  }
}

it('the file shrinks after a peak, a little at a time', async () => {
  const file = fresh()
  const store = sqliteStore(file, { clock: hurried })
  await store.open()
  const owner = await own(store)
  await fill(store, owner, 2000, 12_000)
  await drain(store, owner)
  const purged = await store.purge({ settledBefore: NOW + 1, failedBefore: NOW, keysBefore: NOW }, 5000)
  expect(purged).toBe(2000)
  while (freePages(file).free > 1100) await new Promise((resolve) => setImmediate(resolve))
  await store.close()
  expect(statSync(file).size).toBeLessThan(6 << 20) // of 30 MiB
  audit(file)
})

it('the log does not grow with the mail that passes', async () => {
  const file = fresh()
  const store = sqliteStore(file)
  await store.open()
  const owner = await own(store)
  let largest = 0
  for (let round = 0; round < 40; round++) {
    await fill(store, owner, 100, 20_000)
    await drain(store, owner)
    largest = Math.max(largest, statSync(`${file}-wal`).size)
  }
  // on a busy disk 32 MiB before it is copied, and 24 meanwhile; some 200 MiB went through it
  expect(largest).toBeLessThan(60 << 20)
  await store.close()
})

it('closing leaves one file, with no log beside it that could be forgotten in a copy', async () => {
  const file = fresh()
  const store = sqliteStore(file)
  await store.open()
  await store.add(sampleMessage(['a@x.test']), undefined, 0)
  await store.close()
  expect(() => statSync(`${file}-wal`)).toThrow('ENOENT')
  expect(audit(file).tickets).toHaveLength(1)
})

it('bytes that were wiped and addresses that were erased are not in the file any more', async () => {
  const file = fresh()
  const store = sqliteStore(file)
  await store.open()
  const owner = await own(store)
  const secret = new TextEncoder().encode('the launch code is 00000000 '.repeat(400))
  await store.add(sampleMessage(['whistleblower@x.test'], { bytes: secret }), undefined, owner)
  await drain(store, owner)
  await store.erase('whistleblower@x.test', NOW, owner, false)
  await store.close()
  const bytes = readFileSync(file)
  expect(bytes.includes('launch code')).toBe(false)
  expect(bytes.includes('whistleblower')).toBe(false)
})

it('a long queue is announced in pages, whole', async () => {
  const file = fresh()
  const store = sqliteStore(file)
  await store.open()
  const owner = await own(store)
  // one lane of three pages between two small ones
  const lanes = ['a.test', ...Array.from({ length: 9000 }, () => 'b.test'), 'c.test']
  await Promise.all(
    lanes.map((lane, at) =>
      store.add(
        sampleMessage([`u@${lane}`], { bytes: new Uint8Array(1), delivery: { dueAt: NOW - (at % 2) } }),
        undefined,
        owner,
      ),
    ),
  )
  const heads = []
  for await (const page of store.heads()) heads.push(...page)
  expect(heads.map(({ lane, waiting }) => [lane, waiting])).toEqual([
    ['a.test', 1],
    ['b.test', 9000],
    ['c.test', 1],
  ])
  expect(heads[1]?.dueAt).toBe(NOW - 1)
  const all = []
  for (let after: string | undefined; ; ) {
    const page = await store.list({ limit: 4000, state: 'waiting', ...(after !== undefined && { after }) })
    all.push(...page.map(({ message }) => message.id))
    after = page.at(-1)?.message.id
    if (page.length < 4000) break
  }
  expect(new Set(all).size).toBe(lanes.length)
  await store.close()
})

it('room on a disk that was full goes to the file first, so that the log can start anew', async () => {
  const file = fresh()
  const full = new Saboteur('SQLITE_FULL')
  const store = sqliteStore(file, { clock: hurried, driver: full.driver })
  await store.open()
  const owner = await own(store)
  await fill(store, owner, 300, 4_000)
  full.broken = /INSERT INTO fresh|wal_checkpoint/
  await expect(fill(store, owner, 50, 4_000)).rejects.toMatchObject({ code: 'STORE_FAILED' })
  full.broken = undefined
  const { size } = statSync(`${file}-wal`)
  for (let times = 0; times < 8; times++) await fill(store, owner, 50, 4_000)
  expect(statSync(`${file}-wal`).size).toBeLessThan(1.5 * size)
  await store.close()
  audit(file)
})
