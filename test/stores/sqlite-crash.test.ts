// Kills, torn logs, several processes: what was confirmed is there, and nothing is half there.

import { spawn } from 'node:child_process'
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { expect, it } from 'vitest'
import { sqliteStore } from '../../src/stores/sqlite/store.ts'
import { program } from '../program.ts'
import { audit, files, openRaw } from './fixtures/files.ts'
import { named, work } from './fixtures/processes.ts'

const fresh = files()

/** Where the log's index keeps how many frames there are and were copied; a frame's length (sqlite.org/walformat.html). */
const MXFRAME = 16
const NBACKFILL = 96
const FRAME = 24 + 4096

it('after a SIGKILL at any moment, everything that was confirmed is in the file', {
  timeout: 60_000,
}, async () => {
  for (const moment of [1, 40, 333, 1500]) {
    const file = fresh()
    const worker = work(file, 'deliver', 'w')
    await worker.said('added', moment)
    await worker.kill()
    const store = sqliteStore(file)
    await store.open()
    const found = new Map((await store.list({ limit: 1e6 })).map((stored) => [stored.message.id, stored]))
    for (const ticket of named(worker.lines, 'added')) {
      const stored = found.get(ticket)
      expect(stored, `${ticket} was confirmed`).toBeDefined()
      if (stored?.settledAt !== undefined) continue
      expect(await store.bytes(ticket)).toHaveLength(stored?.message.size ?? -1)
    }
    for (const ticket of named(worker.lines, 'accepted'))
      expect(found.get(ticket)?.deliveries[0]?.state).toBe('accepted')
    await store.close()
    audit(file)
  }
})

it('a log torn or garbled anywhere leaves a whole prefix of what was done', { timeout: 60_000 }, async () => {
  let file = ''
  let copied = 0
  let end = 0
  // it may be killed just when all was copied; then there is nothing to tear
  for (let moment = 60; end - copied < 50 * FRAME; moment++) {
    file = fresh()
    const worker = work(file, 'deliver', 'w')
    await worker.said('added', moment)
    await worker.kill()
    // a checkpoint syncs the log before it copies from it: what was copied cannot be torn by a power cut
    const index = readFileSync(`${file}-shm`)
    copied = 32 + index.readUInt32LE(NBACKFILL) * FRAME
    end = 32 + index.readUInt32LE(MXFRAME) * FRAME
  }
  const whole = openCopy(file, () => {})
  let shorter = 0
  for (let at = 0; at < 16; at++) {
    // spread over the log, at odd offsets
    const offset = Math.min(end - 1, copied + Math.floor(((end - copied) * at) / 16) + ((at * 7919) % 4096))
    const torn = openCopy(file, (wal) => truncateSync(wal, offset))
    const garbled = openCopy(file, (wal) => {
      const bytes = readFileSync(wal)
      bytes[offset] = (bytes[offset] ?? 0) ^ 0xff
      writeFileSync(wal, bytes)
    })
    for (const { tickets, accepted } of [torn, garbled]) {
      expect(tickets).toEqual(whole.tickets.slice(0, tickets.length))
      expect(accepted.every((ticket) => tickets.includes(ticket))).toBe(true)
      if (tickets.length < whole.tickets.length) shorter++
    }
  }
  expect(shorter).toBeGreaterThan(5)
  expect(whole.tickets.length).toBeGreaterThanOrEqual(60)
})

it('several processes make and fill one file at once; each mail is there once', {
  timeout: 60_000,
}, async () => {
  const file = fresh()
  const workers = ['a', 'b', 'c', 'd'].map((name) => work(file, 'enqueue', name, 150))
  await Promise.all(workers.map((worker) => worker.said('closed')))
  const { tickets } = audit(file)
  expect(tickets).toEqual(workers.flatMap((worker) => named(worker.lines, 'added')).sort())
  expect(tickets).toHaveLength(600)
})

it('several processes that open a file which is not there yet all open it', { timeout: 60_000 }, async () => {
  const opener = program(new URL('./fixtures/opener.ts', import.meta.url))
  const openers = Array.from({ length: 4 }, () => {
    const child = spawn(process.execPath, [opener], { stdio: ['pipe', 'pipe', 'inherit'] })
    return { child, answers: createInterface(child.stdout)[Symbol.asyncIterator]() }
  })
  // a race that only meets every tenth time
  for (let round = 0; round < 60; round++) {
    const file = fresh()
    for (const { child } of openers) child.stdin.write(`${file}\n`)
    for (const { answers } of openers) expect((await answers.next()).value).toBe('opened')
  }
  for (const { child } of openers) child.stdin.end()
})

it('when the owner is killed a successor takes over within its lease, and when it only slept it may not go on', {
  timeout: 60_000,
}, async () => {
  const file = fresh()
  const first = work(file, 'deliver', 'one')
  await first.said('accepted', 20)
  const second = work(file, 'deliver', 'two')
  await second.said('open')
  await first.kill('SIGUSR2')
  await second.said('owner')
  await second.said('accepted', 20)
  first.child.kill('SIGCONT')
  // it wakes, and its next turn is refused, which ends it
  expect(await first.ended).toBe(1)
  await second.kill()
  const third = work(file, 'deliver', 'three')
  await third.said('owner')
  await third.kill()
  const { tickets, accepted } = audit(file)
  for (const { lines } of [first, second]) {
    for (const ticket of named(lines, 'added')) expect(tickets).toContain(ticket)
    for (const ticket of named(lines, 'accepted')) expect(accepted).toContain(ticket)
  }
  expect(new Set(accepted).size).toBe(accepted.length)
})

/** What a copy of the file holds after harm was done to its log. */
function openCopy(file: string, harm: (wal: string) => void): ReturnType<typeof audit> {
  const copy = fresh()
  copyFileSync(file, copy)
  copyFileSync(`${file}-wal`, `${copy}-wal`)
  harm(`${copy}-wal`)
  const { n } = openRawCount(copy)
  return n === 0 ? { tickets: [], accepted: [] } : audit(copy)
}

/** Torn before the tables were made, the file is empty. */
function openRawCount(file: string): { readonly n: number } {
  const db = openRaw(file)
  try {
    return db.prepare('SELECT count(*) AS n FROM sqlite_master').get() as { n: number }
  } finally {
    db.close()
  }
}
