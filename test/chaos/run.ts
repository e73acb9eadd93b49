// npm run chaos: kills, stops and pauses real processes, and counts what became of their mail against the
// receiving server's own log. Prints a table; fails when anything was lost or came twice unmarked.
//   npm run chaos             everything, with 200 random moments
//   npm run chaos -- 50       everything, with 50

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { backlog } from './backlog.ts'
import { type Counts, none, sum } from './fixtures/audit.ts'
import { runMoments } from './moments.ts'
import { POINTS, runPoint } from './points.ts'
import { PAUSES, paused, poison, rolling, sameKeys, takeOver } from './processes.ts'

const moments = Number(process.argv[2] ?? 200)
const OUTCOMES = 100_000
const wrong: string[] = []

const COLUMNS = ['stored', 'accepted', 'parked', 'delivered', 'lost', 'duplicates', 'unmarked'] as const
const line = (cells: readonly (string | number)[]) => console.log(`| ${cells.join(' | ')} |`)

async function row(
  name: string,
  run: () => Promise<Counts>,
  note: (counts: never) => string = () => '',
): Promise<void> {
  const counts = await run().catch((error): Counts => ({ ...none(), wrong: [String(error)] }))
  const ends = (['cancelled', 'expired'] as const)
    .filter((end) => counts[end] > 0)
    .map((end) => `${counts[end]} ${end}`)
  line([
    name,
    ...COLUMNS.map((column) => counts[column]),
    [...ends, note(counts as never)].filter((text) => text !== '').join(', '),
  ])
  wrong.push(...counts.wrong.map((what) => `${name}: ${what}`))
  if (counts.lost > 0) wrong.push(`${name}: ${counts.lost} lost`)
  if (counts.unmarked > 0) wrong.push(`${name}: ${counts.unmarked} came twice unmarked`)
}

/** Several points in one row. */
async function points(name: string, ofServer: 'server' | 'store'): Promise<void> {
  const chosen = POINTS.filter((point) => point[ofServer] !== undefined)
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
await row('the same 60 keys from four processes, one killed', sameKeys)

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
process.exitCode = wrong.length > 0 ? 1 : 0
