// The log is torn or garbled at random, as no power cut could: also where an fsync had confirmed it. What is claimed
// then: the file opens, what is in it is a whole prefix of what was done, with every message whose transaction was
// in the log before the tear; what lay behind it is gone. What no checkpoint has copied is torn only, since a
// checkpoint syncs the log before it copies from it.

import { copyFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sqliteStore } from 'steadymail/sqlite'
import { smtpServer } from 'steadymail/testing'
import { audit as auditFile } from '../stores/fixtures/files.ts'
import { audit, type Counts, none, sum } from './fixtures/audit.ts'
import { start } from './fixtures/child.ts'
import { type ChaosPlan, chance } from './fixtures/plan.ts'

const MESSAGES = 150
const TEARS_OF_A_FILE = 20
/** One in so many torn files is delivered to its end. */
const DELIVERED = 10
/** Where the log's index says how many frames were copied; a frame's length (sqlite.org/walformat.html). */
const NBACKFILL = 96
const HEADER = 32
const FRAME = 24 + 4096

export interface Tears extends Counts {
  readonly tears: number
  /** Confirmed messages that were in the log before the tear, over all tears: all of them are there. */
  readonly before: number
  /** Confirmed messages that were not there, having lain behind it. */
  readonly behind: number
}

interface Filled {
  readonly file: string
  /** Confirmed addresses, with the length of the log when they were. */
  readonly confirmed: ReadonlyMap<string, number>
  /** Up to here the log was copied into the file. */
  readonly copied: number
  readonly end: number
  /** Ids of the messages in the file, in their order. */
  readonly ids: readonly string[]
}

/** @param tears how many, 20 of each file */
export async function tornLogs(tears: number, seed: number): Promise<Tears> {
  const random = chance(seed)
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-torn-'))
  let total: Tears = { ...none(), tears: 0, before: 0, behind: 0 }
  try {
    let filled: Filled | undefined
    while (total.tears < tears) {
      if (filled === undefined || total.tears % TEARS_OF_A_FILE === 0)
        filled = await fill(folder, total.tears, random)
      const run = (total.tears + 1) % DELIVERED === 0 || tears < DELIVERED
      const one = await tear(filled, join(folder, 'torn.db'), random, run)
      total = { ...total, ...sum(total, one.counts) }
      total = {
        ...total,
        tears: total.tears + 1,
        before: total.before + one.before,
        behind: total.behind + one.behind,
      }
    }
    return total
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function fill(folder: string, n: number, random: () => number): Promise<Filled> {
  const file = join(folder, `filled-${n}.db`)
  const plan: ChaosPlan = { file, port: 9, factor: 1, epoch: Date.now(), deliver: false, exact: true }
  const child = await start({ ...plan, messages: 100_000, atOnce: 1 + Math.floor(4 * random()) })
  await child.hears('stored', 20 + Math.floor(MESSAGES * random()))
  child.kill()
  await child.ended
  const confirmed = new Map<string, number>()
  for (const text of child.said('stored')) {
    const [to = '', , log = ''] = text.split(' ')
    confirmed.set(to, Number(log))
  }
  const copied = HEADER + readFileSync(`${file}-shm`).readUInt32LE(NBACKFILL) * FRAME
  const end = readFileSync(`${file}-wal`).length
  const whole = join(folder, 'whole.db')
  copy(file, whole)
  const { ids } = await contents(whole)
  return { file, confirmed, copied, end, ids }
}

function copy(file: string, to: string): void {
  for (const suffix of ['-shm', '-wal', '']) rmSync(`${to}${suffix}`, { force: true })
  copyFileSync(file, to)
  copyFileSync(`${file}-wal`, `${to}-wal`)
}

async function contents(
  file: string,
): Promise<{ readonly ids: readonly string[]; readonly addresses: string[] }> {
  const store = sqliteStore(file)
  await store.open()
  const all = await store.list({ limit: 1_000_000 })
  await store.close()
  auditFile(file)
  return {
    ids: all.map(({ message }) => message.id).sort(),
    addresses: all.flatMap(({ deliveries }) => deliveries.map(({ address }) => address)),
  }
}

async function tear(filled: Filled, torn: string, random: () => number, run: boolean) {
  copy(filled.file, torn)
  const at = filled.copied + Math.floor(random() * Math.max(1, filled.end - filled.copied))
  const what = harm(`${torn}-wal`, at, random)
  const counts = none()
  let before = 0
  let behind = 0
  const { ids, addresses } = await contents(torn)
  const there = new Set(addresses)
  for (const [to, log] of filled.confirmed) {
    if (log <= at) before++
    if (there.has(to)) continue
    if (log <= at) {
      counts.lost++
      counts.wrong.push(`${to} was in the log up to ${log}, which was ${what} at ${at}`)
    } else behind++
  }
  if (ids.some((id, n) => id !== filled.ids[n])) counts.wrong.push(`${what} at ${at}: not a prefix`)
  if (!run) return { counts, before, behind }
  const server = await smtpServer()
  try {
    const child = await start({ file: torn, port: server.port, factor: 20, epoch: Date.now() })
    await child.ended
    return { counts: sum(counts, await audit(torn, addresses, server)), before, behind }
  } finally {
    await server.close()
  }
}

function harm(wal: string, at: number, random: () => number): string {
  const kind = Math.floor(4 * random())
  if (kind === 0) {
    truncateSync(wal, at)
    return 'truncated'
  }
  const bytes = readFileSync(wal)
  const length = kind === 1 ? 1 : Math.min(bytes.length - at, 1 + Math.floor(random() * 8_192))
  for (let n = at; n < at + length; n++) {
    const was = bytes[n] ?? 0
    bytes[n] =
      kind === 1 ? was ^ (1 << Math.floor(8 * random())) : kind === 2 ? 0 : Math.floor(256 * random())
  }
  writeFileSync(wal, bytes)
  return kind === 1 ? 'flipped in one bit' : kind === 2 ? `zeroed for ${length}` : `garbled for ${length}`
}
