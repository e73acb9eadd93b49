// npm run bench:lanes — steadymail and four other ways to send, against modelled receivers, on the same backlog.
// The rivals are sent in an event queue (lanes/world.ts); steadymail is the real engine under `simulate`.
// Every sender has five connections. `--json` prints the numbers, `--seed 2` rolls other dice; the exit code is 1
// when a target is missed.

import { simulate } from '../src/testing/simulate.ts'
import { MEETINGS, type Meeting } from './lanes/scenarios.ts'
import { omniscient, type Ran, rivals, sendIn } from './lanes/world.ts'

const DOMAIN = 'receiver.example'
/** How much longer than the omniscient sender one may take, told the limit or not. */
const TOLD = 1.15
const UNTOLD = 1.6
/** Share of the refusals that exponential retry provokes. */
const REFUSALS = 0.1

const seed = process.argv.includes('--seed') ? Number(process.argv[process.argv.indexOf('--seed') + 1]) : 1

interface Row extends Ran {
  readonly name: string
  readonly ratio: number
}

async function steadymail(meeting: Meeting, told: 'told' | 'not told'): Promise<Ran> {
  const { lanes } = await simulate({
    policies: told === 'told' ? [{ name: 'receiver', domains: [DOMAIN], ...meeting.policy }] : [],
    providers: [{ name: 'receiver', domains: [DOMAIN], receiver: meeting.receiver, took: meeting.tookMs }],
    traffic: [{ to: DOMAIN, messages: meeting.messages }],
    seed,
  })
  const [lane] = lanes
  if (lane === undefined) throw new Error('nothing was sent')
  const { delivered, attempts, violations } = lane
  return {
    delivered,
    attempts,
    violations,
    drainMs: lane.waiting + lane.failed > 0 ? Infinity : lane.drainMs,
  }
}

async function meet(
  meeting: Meeting,
): Promise<{ best: Ran; rows: readonly Row[]; missed: readonly string[] }> {
  const best = omniscient(meeting)
  const row = (name: string, ran: Ran): Row => ({ name, ratio: ran.drainMs / best.drainMs, ...ran })
  const others = Object.entries(rivals(meeting.perMs, meeting.connections)).map(([name, way]) =>
    row(name, sendIn(way, meeting, seed)),
  )
  const told = row('steadymail, limit configured', await steadymail(meeting, 'told'))
  const untold = row('steadymail, limit not known', await steadymail(meeting, 'not told'))
  const exponential = others.find((one) => one.name.startsWith('exponential'))?.violations ?? 0
  const missed: string[] = []
  if (told.ratio > TOLD)
    missed.push(`configured: ${told.ratio.toFixed(2)} of the omniscient time, wanted ${TOLD}`)
  if (untold.ratio > UNTOLD)
    missed.push(`not known: ${untold.ratio.toFixed(2)} of the omniscient time, wanted ${UNTOLD}`)
  for (const { name, violations } of [told, untold])
    if (violations > exponential * REFUSALS) missed.push(`${name}: ${violations} refusals to ${exponential}`)
  return { best, rows: [...others, told, untold], missed }
}

const json = process.argv.includes('--json')
const results: unknown[] = []
let failures = 0
for (const meeting of MEETINGS) {
  const { best, rows, missed } = await meet(meeting)
  failures += missed.length
  results.push({
    meeting: meeting.name,
    messages: meeting.messages,
    omniscientMs: best.drainMs,
    rows,
    missed,
  })
  if (json) continue
  console.log(
    `\n${meeting.name}: ${meeting.messages} messages, omniscient ${(best.drainMs / 60_000).toFixed(0)} min`,
  )
  console.log(`  ${'drain time, of the omniscient'.padEnd(46)} attempts/delivery   limit passed`)
  for (const { name, ratio, attempts, delivered, violations } of rows) {
    const time = ratio === Infinity ? `never (${delivered} in 5 days)` : ratio.toFixed(2)
    const each = (attempts / Math.max(1, delivered)).toFixed(2)
    console.log(
      `  ${name.padEnd(29)} ${time.padEnd(22)} ${each.padStart(11)} ${String(violations).padStart(14)}`,
    )
  }
  for (const miss of missed) console.log(`  MISSED ${miss}`)
}
if (json) console.log(JSON.stringify(results, null, 2))
else console.log(failures === 0 ? '\nall targets met' : `\n${failures} targets missed`)
process.exitCode = failures === 0 ? 0 : 1
