// The thread that copies the log back into the file.

import { existsSync, fstatSync, readdirSync, readFileSync, statSync, unlinkSync } from 'node:fs'
import { expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Copier } from '../../src/stores/sqlite/copier.ts'
import { findDriver } from '../../src/stores/sqlite/driver.ts'
import { sqliteStore } from '../../src/stores/sqlite/store.ts'
import { Upkeep } from '../../src/stores/sqlite/upkeep.ts'
import type { Store } from '../../src/stores/store.ts'
import { sampleMessage } from '../../src/testing/store-contract.ts'
import { audit, driverWith, files, openRaw } from './fixtures/files.ts'
import { work } from './fixtures/processes.ts'

const fresh = files()
/** Where the log's index keeps how many frames there are and were copied (sqlite.org/walformat.html). */
const frames = (file: string) => {
  const index = readFileSync(`${file}-shm`)
  return { written: index.readUInt32LE(16), copied: index.readUInt32LE(96) }
}

async function filled(file: string): Promise<Store> {
  const store = sqliteStore(file)
  await store.open()
  await store.add(sampleMessage(['a@x.test'], { bytes: new Uint8Array(50_000) }), undefined, 0)
  return store
}

it('copies what the log has, and nobody waits for it', async () => {
  const file = fresh()
  const store = await filled(file)
  const copier = new Copier(file, findDriver(), false)
  expect(copier.there).toBe(true)
  expect(frames(file).copied).toBeLessThan(frames(file).written)
  const copied = copier.copy()
  await store.add(sampleMessage(['b@x.test']), undefined, 0)
  await copied
  expect(frames(file).copied).toBeGreaterThan(10)
  await copier.copy()
  expect(frames(file).copied).toBe(frames(file).written)
  await copier.close()
  expect(copier.there).toBe(false)
  await store.close()
  audit(file)
})

it("a user's own driver stays in this thread", () => {
  expect(new Copier(fresh(), driverWith(''), true).there).toBe(false)
})

it('a thread that cannot open the file is given up, and makes no file', async () => {
  const file = fresh()
  const store = await filled(file)
  unlinkSync(file)
  const copier = new Copier(file, findDriver(), false)
  await copier.copy()
  expect(copier.there).toBe(false)
  await copier.copy()
  await copier.close()
  expect(existsSync(file)).toBe(false)
  await store.close()
})

it.each([
  ['in a thread', undefined],
  ['here', driverWith('')],
])(
  'the log starts anew again and again while mail comes in, when it is copied %s',
  {
    timeout: 60_000, // 170 MiB
  },
  async (_, driver) => {
    const file = fresh()
    const store = sqliteStore(file, driver && { driver })
    await store.open()
    let largest = 0
    for (let added = 0; added < 7000; added += 50) {
      await Promise.all(
        Array.from({ length: 50 }, () =>
          store.add(sampleMessage(['a@x.test'], { bytes: new Uint8Array(20_000) }), undefined, 0),
        ),
      )
      largest = Math.max(largest, statSync(`${file}-wal`).size)
    }
    // on a busy disk 32 MiB before it is copied, and 24 meanwhile; of some 170 MiB
    expect(largest).toBeLessThan(60 << 20)
    await store.close()
    expect(existsSync(`${file}-wal`)).toBe(false)
    audit(file)
  },
)

it('a process that does not close ends, and not before everything it awaits is stored', {
  timeout: 30_000,
}, async () => {
  const file = fresh()
  const worker = work(file, 'leave', 'w', 100)
  expect(await worker.ended).toBe(0)
  expect(worker.lines.at(-1)).toBe('left')
  audit(file)
})

it('when the disk refuses what was copied, the log is neither copied further nor emptied', async () => {
  const file = fresh()
  const store = await filled(file)
  const db = openRaw(file)
  const copier = new Copier(file, findDriver(), false)
  const upkeep = new Upkeep(db, systemClock, copier, () => () => undefined)
  const told: string[] = []
  upkeep.onLost = ({ message }) => told.push(message)
  await copier.copy()
  expect(told, 'a disk that is well').toEqual([])
  const before = frames(file)
  copier.onRefused(new Error('EIO: i/o error, fdatasync'))
  expect(told).toEqual(['EIO: i/o error, fdatasync'])
  upkeep.wrote(1_000_000)
  upkeep.quiet()
  await upkeep.truncate()
  expect(frames(file)).toEqual(before)
  await upkeep.close()
  db.close()
  await store.close()
  audit(file)
})

it('opens the file in SQLite only: a further descriptor would take the locks with it when it is closed', async () => {
  const file = fresh()
  const store = await filled(file)
  const copier = new Copier(file, findDriver(), false)
  await copier.copy()
  const there = descriptors(file)
  for (let times = 0; times < 3; times++) await copier.copy()
  expect(descriptors(file)).toEqual(there)
  expect(there, "SQLite's: the store's, and the thread's").toHaveLength(2)
  await copier.close()
  await store.close()
  expect(descriptors(file)).toEqual([])
})

/** The descriptors of this process that are of a file. */
function descriptors(file: string): string[] {
  const folder = process.platform === 'linux' ? '/proc/self/fd' : '/dev/fd'
  const { ino } = statSync(file)
  return readdirSync(folder).filter((name) => {
    try {
      return fstatSync(Number(name)).ino === ino
    } catch {
      return false
    }
  })
}
