// An outbox of every schema version that was released, as its code wrote it (fixtures/schema-<n>.sql), given to the
// code of today; also while that is killed at random moments of its first start. All that waited is delivered.

import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { smtpServer } from 'steadymail/testing'
import { MIGRATIONS } from '../../src/stores/sqlite/schema.ts'
import { openRaw } from '../stores/fixtures/files.ts'
import { audit, type Counts } from './fixtures/audit.ts'
import { start } from './fixtures/child.ts'
import { type ChaosPlan, chance } from './fixtures/plan.ts'

const FIXTURES = fileURLToPath(new URL('./fixtures', import.meta.url))
const LONGEST_MS = 400
/** In every fixture (fill.ts); one of the operator's holds and one parked message are a person's to end. */
const HELD = 'shop5.test'
const OUTSTANDING = [
  ...['later@shop1.test', 'perhaps@shop3.test', 'held@shop5.test', 'claimed@shop9.test'],
  ...['one@shop6.test', 'two@shop6.test', 'three@shop7.test'],
  ...Array.from({ length: 20 }, (_, n) => `user${n}@shop${n % 8}.test`),
]
const ENDED_BEFORE = ['gone@shop4.test', 'kept@shop4.test', 'nobody@shop2.test']
/** By a row of the journal, which version 1 had not. */
const JOURNALED = ['ended@shop9.test']

/** Versions older than today's, each with a file of its time. Throws when one has none. */
export function earlierVersions(): number[] {
  const there = readdirSync(FIXTURES).flatMap((name) => /^schema-(\d+)\.sql$/.exec(name)?.[1] ?? [])
  const earlier = Array.from({ length: MIGRATIONS.length - 1 }, (_, n) => n + 1)
  for (const version of earlier) {
    if (!there.includes(String(version)))
      throw new Error(`no test/chaos/fixtures/schema-${version}.sql: dump one with the code of its time`)
  }
  // with one version only, its own file still has to be understood
  return earlier.length > 0 ? earlier : [1]
}

/** The file as it was made, moved to today: what was to be tried next week is. */
function restore(version: number, file: string): void {
  const db = openRaw(file)
  db.exec('PRAGMA journal_mode = WAL')
  db.exec(readFileSync(join(FIXTURES, `schema-${version}.sql`), 'utf8'))
  const { madeAt } = db.prepare('SELECT max(created_at) AS madeAt FROM message').get() as { madeAt: number }
  const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table'").all() as { name: string }[]
  for (const { name } of tables) {
    const columns = db.prepare(`PRAGMA table_info(${name})`).all() as { name: string }[]
    for (const column of columns) {
      if (/_(at|until)$/.test(column.name))
        db.exec(`UPDATE ${name} SET ${column.name} = ${column.name} + ${Date.now() - madeAt}`)
    }
    if (name === 'fresh') moveFresh(db, Date.now() - madeAt)
  }
  db.close()
}

/** What version 3 kept as a list: `createdAt` and `expiresAt` of the message, `dueAt`, `expiresAt` and `createdAt` of its delivery. */
function moveFresh(db: ReturnType<typeof openRaw>, by: number): void {
  for (const { id, mail } of db.prepare('SELECT id, mail FROM fresh').all() as {
    id: number
    mail: string
  }[]) {
    const mails = JSON.parse(mail) as unknown[][]
    for (const fields of mails) for (const at of [9, 10, 17, 18, 21]) fields[at] = Number(fields[at]) + by
    db.prepare('UPDATE fresh SET mail = ? WHERE id = ?').run(JSON.stringify(mails), id)
  }
}

/** @param kills at random moments of the first starts on the old file */
export async function upgrade(version: number, kills: number, seed: number): Promise<Counts> {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-upgrade-'))
  const file = join(folder, 'outbox.db')
  const server = await smtpServer()
  const random = chance(seed)
  const plan: ChaosPlan = {
    file,
    port: server.port,
    factor: 300,
    epoch: Date.now(),
    name: 'the only one',
    release: [HELD],
    person: 'deliver',
  }
  try {
    restore(version, file)
    for (let n = 0; n < kills; n++) {
      const child = await start({ ...plan, serve: true })
      const timer = setTimeout(() => child.kill(), LONGEST_MS * random())
      await child.ended
      clearTimeout(timer)
    }
    const last = await start({ ...plan, messages: 5, from: 1_000 })
    await last.ended
    const stored = [...OUTSTANDING, ...last.said('stored')]
    const counts = await audit(file, stored, server, {
      before: version === 1 ? ENDED_BEFORE : [...ENDED_BEFORE, ...JOURNALED],
    })
    return { ...counts, parked: last.said('parked').length }
  } finally {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  }
}
