// npm run chaos: kills, stops and pauses real processes, cuts their power, fills, locks, deletes and tears their
// files, and counts what became of their mail against the receiving server's own log. Prints a table; fails when
// anything was lost or came twice unmarked.
//   npm run chaos             everything, with 200 random moments, 200 torn logs, 100 power cuts of each kind
//   npm run chaos -- 50       everything, with 50, 50 and 25

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { backlog } from './backlog.ts'
import {
  deletedFile,
  diskFull,
  ioErrors,
  lockedFile,
  type Refusals,
  readOnlyFile,
  stoppedInTransaction,
} from './disk.ts'
import { type Counts, none, sum } from './fixtures/audit.ts'
import { handOver } from './handover.ts'
import { runMoments } from './moments.ts'
import { POINTS, runPoint } from './points.ts'
import { type Cuts, powerCuts } from './powercut.ts'
import { PAUSES, paused, poison, rolling, sameKeys, takeOver } from './processes.ts'
import { type Slow, slowDisk } from './slow.ts'
import { type Tears, tornLogs } from './torn.ts'
import { earlierVersions, upgrade } from './upgrade.ts'

const moments = Number(process.argv[2] ?? 200)
const OUTCOMES = 100_000
const LONGEST_MS = 15 * 60_000
const wrong: string[] = []

const COLUMNS = ['stored', 'accepted', 'parked', 'delivered', 'lost', 'duplicates', 'unmarked'] as const
const line = (cells: readonly (string | number)[]) => console.log(`| ${cells.join(' | ')} |`)

async function row(
  name: string,
  run: () => Promise<Counts>,
  note: (counts: never) => string = () => '',
): Promise<void> {
  const counts = await withinTime(run).catch((error): Counts => ({ ...none(), wrong: [String(error)] }))
  const ends = Object.entries({ cancelled: 'cancelled', expired: 'expired', givenUp: 'failed as uncertain' })
    .map(([end, words]) => [counts[end as 'cancelled' | 'expired' | 'givenUp'], words] as const)
    .filter(([count]) => count > 0)
    .map(([count, words]) => `${count} ${words}`)
  line([
    name,
    ...COLUMNS.map((column) => counts[column]),
    [...ends, note(counts as never)].filter((text) => text !== '').join(', '),
  ])
  wrong.push(...counts.wrong.map((what) => `${name}: ${what}`))
  if (counts.lost > 0) wrong.push(`${name}: ${counts.lost} lost`)
  if (counts.unmarked > 0) wrong.push(`${name}: ${counts.unmarked} came twice unmarked`)
}

/** A trial that waits for ever is a finding too. */
async function withinTime(run: () => Promise<Counts>): Promise<Counts> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${LONGEST_MS / 60_000} minutes`)), LONGEST_MS)
  })
  return Promise.race([run(), late]).finally(() => clearTimeout(timer))
}

/** Several runs in one row. */
async function several(runs: number, run: (seed: number) => Promise<Refusals>): Promise<Refusals> {
  let total: Refusals | undefined
  for (let seed = 1; seed <= runs; seed++) {
    const one = await run(seed)
    total = { ...one, ...sum(total ?? none(), one), refused: (total?.refused ?? 0) + one.refused }
  }
  return total ?? { ...none(), refused: 0, how: '' }
}

/** Several points in one row. */
async function points(name: string, where: 'server' | 'store' | 'statement'): Promise<void> {
  const chosen = POINTS.filter((point) => point[where] !== undefined)
  await row(`${name} (${chosen.length} points)`, async () => {
    let total = none()
    for (const point of chosen) {
      const counts = await runPoint(point).catch((error): Counts => ({ ...none(), wrong: [String(error)] }))
      total = sum(total, { ...counts, wrong: counts.wrong.map((what) => `${point.name}: ${what}`) })
    }
    return total
  })
}

console.log(`steadymail chaos, ${new Date().toISOString().slice(0, 10)}, Node ${process.versions.node}\n`)
line(['what happens', ...COLUMNS, ''])
line(['---', ...COLUMNS.map(() => '---:'), '---'])
await points('SIGKILL before and after a call of the store', 'store')
await points('SIGKILL before, in and after a fold of the journal', 'statement')
await points('SIGKILL at a point of the dialogue', 'server')
await row(
  `SIGKILL at ${moments} random moments under load`,
  () => runMoments(moments, 1),
  ({ kills }: { kills: number }) => `${kills} kills`,
)
await row(
  'a message that kills whoever sends it',
  poison,
  ({ deaths }: { deaths: number }) => `parked after ${deaths} kills`,
)
for (const pause of PAUSES) await row(`paused ${pause.name}, wakes behind its successor`, () => paused(pause))
const took = ({ ms }: { ms: number }) => `taken over in ${(ms / 1_000).toFixed(1)} s`
await row('the one that delivers is stopped', () => takeOver('SIGTERM'), took)
await row('the one that delivers is killed', () => takeOver('SIGKILL'), took)
await row('rolling deploy, 6 generations of 2', rolling)
await row(
  `three that hand over to each other, ${moments} lives of 1.5 s at most`,
  () => handOver(moments, 1),
  ({ kills, owners }: { kills: number; owners: number }) => `${kills} kills, ${owners} times taken over`,
)
await row('the same 60 keys from four processes, one killed', sameKeys)

const refused = ({ refused, how }: Refusals) => `${how}; ${refused} calls refused`
await row('the disk is full, three times', diskFull, refused)
await row(
  'a disk that is slow with every fsync',
  () => slowDisk(100, 2_500),
  ({ how, waitedFor }: Slow) => `${how}; the event loop waited for ${waitedFor.length}`,
)
await row('read-only at the start, and twice under way', readOnlyFile, refused)
await row('locked by another process, three times', lockedFile, refused)
for (const end of ['SIGCONT', 'SIGKILL'] as const)
  await row('another process is stopped inside a transaction', () => stoppedInTransaction(end), refused)
await row(
  'the file is deleted, and put back',
  deletedFile,
  (counts: Awaited<ReturnType<typeof deletedFile>>) =>
    `${counts.into} confirmed in the 0.1 s before it is noticed`,
)
for (const where of ['statements', 'store'] as const)
  await row(
    where === 'store'
      ? 'a store that fails, a third of all calls, on and off'
      : 'I/O errors, a third of all statements, on and off',
    () => several(10, (seed) => ioErrors(where, seed)),
    ({ refused }: Refusals) => `10 runs, ${refused} calls refused`,
  )
for (const choice of ['retry', 'park', 'fail'] as const)
  await row(
    `power cut, onUncertain: '${choice}'`,
    () => powerCuts(Math.ceil(moments / 2), 1, choice),
    ({ cuts, how, lastMoments, earliestMs }: Cuts) =>
      `${cuts} cuts, by ${how}${lastMoments === 0 ? '' : `; ${lastMoments} sent again unmarked, first sent at most ${earliestMs} ms before the cut`}`,
  )
await row(
  'the log is torn or garbled at random',
  () => tornLogs(moments, 1),
  ({ tears, before, behind }: Tears) =>
    `${tears} tears; all ${before} confirmed before the tear there, ${behind} behind it gone`,
)
for (const version of earlierVersions())
  await row(`upgrade from schema ${version}, killed 20 times at its start`, () => upgrade(version, 20, 1))

const folder = mkdtempSync(join(tmpdir(), 'steadymail-chaos-'))
const { calls, rejected, otherCalls, left, ms } = await backlog(join(folder, 'outbox.db'), OUTCOMES)
rmSync(folder, { recursive: true, force: true })
console.log(
  `\nonSettled, a backlog of ${OUTCOMES}: ${otherCalls} handled once each, ${rejected} always rejected (${left} left), ${calls} calls, ${(ms / 1_000).toFixed(1)} s`,
)
if (otherCalls !== OUTCOMES - rejected || left !== rejected)
  wrong.push('onSettled: outcomes were missed or repeated')

const intake = spawnSync(process.execPath, [
  '--import',
  'tsx',
  fileURLToPath(new URL('./intake.ts', import.meta.url)),
])
console.log(`intake, 100,000 calls at once with a 4 KiB attachment: ${String(intake.stdout).trim()}`)
if (intake.status !== 0) wrong.push(`intake: ${String(intake.stderr)}`)

for (const what of wrong) console.log(`WRONG ${what}`)
process.exit(wrong.length > 0 ? 1 : 0) // also when a trial still waits
