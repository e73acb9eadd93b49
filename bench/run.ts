// npm run bench: what sending costs, as ratios to nodemailer's own pool in the same run. Rounds are interleaved,
// because machines are noisy; min, median and max are printed, and at the end which targets were met. Needs a built
// package (npm run build). Takes some fifteen minutes; BENCH_N, BENCH_ROUNDS, BENCH_BACKLOG make it shorter, and
// BENCH_RIVALS=0 leaves the other queues out.

import { spawnSync } from 'node:child_process'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backlog } from './backlog.ts'
import { benchClassify } from './classify.ts'
import { findRivals } from './rivals.ts'
import { baseline, cleanUp, enqueueing, type Figures, startSink, ways } from './w1.ts'

const sizes = (process.env.BENCH_N ?? '5000,20000').split(',').map(Number)
const rounds = Number(process.env.BENCH_ROUNDS ?? 5)
const backlog = Number(process.env.BENCH_BACKLOG ?? 1_000_000)
/** Rivals are slower: this many messages say enough. */
const rivalSize = Math.min(...sizes)

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b)
const median = (values: readonly number[]) => sorted(values)[Math.floor(values.length / 2)] ?? 0
const spread = (values: readonly number[], digits = 2) => {
  const all = sorted(values)
  const at = (share: number) => (all[Math.round((all.length - 1) * share)] ?? 0).toFixed(digits)
  return `${at(0).padStart(7)} ${at(0.5).padStart(7)} ${at(1).padStart(7)}`
}

const targets: string[] = []
/** A target of ours, and what was measured. */
function target(what: string, wanted: string, measured: string, met: boolean): void {
  targets.push(
    `${met ? 'met   ' : 'MISSED'} ${what.padEnd(56)} ${wanted.padStart(10)} ${measured.padStart(10)}`,
  )
}

/** What one small write and its fdatasync take on the disk that the outbox files are on, ms. */
function diskSync(): number {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-fsync-'))
  const file = openSync(join(folder, 'probe'), 'w')
  const began = performance.now()
  for (let i = 0; i < 200; i++) {
    writeSync(file, 'x'.repeat(4096))
    fdatasyncSync(file)
  }
  const each = (performance.now() - began) / 200
  closeSync(file)
  rmSync(folder, { recursive: true })
  return each
}

const load = () => `load ${loadavg()[0]?.toFixed(1)}`
console.log(
  `Node ${process.version}, ${availableParallelism()} cores, ${load()} before it began; a 4 KiB write with fdatasync: ${diskSync().toFixed(2)} ms`,
)

type Way = (port: number, n: number) => Promise<Figures>

/**
 * Interleaved rounds of every way, with nodemailer's pool between them, since a machine's speed moves within seconds: each
 * is held against the pool before and after it. Prints a line for each, gives the median ratios.
 */
async function compare(port: number, n: number, all: Record<string, Way>): Promise<Map<string, number>> {
  const found = new Map<string, { ratio: number; cpu: number; stored: number }[]>()
  const between = (one: number, other: number) => Math.sqrt(one * other)
  let before = await baseline(port, n)
  const bases = [before]
  for (let round = 0; round < rounds; round++) {
    for (const [name, way] of Object.entries(all)) {
      const { rate, cpu, enqueue: stored } = await way(port, n)
      const after = await baseline(port, n)
      bases.push(after)
      const ratio = rate / between(before.rate, after.rate)
      found.set(name, [
        ...(found.get(name) ?? []),
        { ratio, cpu: between(before.cpu, after.cpu) / cpu, stored },
      ])
      before = after
    }
  }
  const base = median(bases.map((b) => b.rate))
  const cpu = median(bases.map((b) => b.cpu))
  console.log(
    `\nW1, ${n} messages of 4 KiB over 100 domains, 5 connections, ${rounds} rounds, ${load()}; nodemailer's pool ${base.toFixed(0)} msg/s, ${cpu.toFixed(0)} µs of CPU a message = 1.00`,
  )
  console.log('                        msg/s, as a ratio         CPU, as a ratio        stored/s (median)')
  console.log('                       min  median     max      min  median     max')
  const ratios = new Map<string, number>()
  for (const [name, figures] of found) {
    const byRate = figures.map(({ ratio }) => ratio)
    const stored = median(figures.map((f) => f.stored))
    console.log(
      `${name.padEnd(18)} ${spread(byRate)}  ${spread(figures.map((f) => f.cpu))}   ${stored.toFixed(0).padStart(8)}`,
    )
    ratios.set(name, median(byRate))
  }
  return ratios
}

const WANTED: Record<string, number> = {
  'sqlite, MIME': 1.2,
  'sqlite, raw': 2.5,
  'memory, MIME': 1.3,
  'memory, raw': 3,
}
const sink = await startSink()
for (const n of sizes) {
  const ratios = await compare(sink.port, n, ways)
  if (n !== Math.max(...sizes)) continue
  for (const [name, wanted] of Object.entries(WANTED)) {
    const ratio = ratios.get(name) ?? 0
    target(
      `W1, ${n} messages, ${name}, to nodemailer's pool`,
      `≥ ${wanted}`,
      ratio.toFixed(2),
      ratio >= wanted,
    )
  }
}

console.log(
  `\nEnqueue alone, ${Math.max(...sizes)} messages at once into SQLite, nobody delivers (${load()})`,
)
console.log('                  messages stored/s: min  median     max')
for (const [name, wanted] of [
  ['sqlite, MIME', 3_000],
  ['sqlite, raw', 15_000],
] as const) {
  const rates: number[] = []
  for (let round = 0; round < rounds; round++) rates.push((await enqueueing[name]?.(Math.max(...sizes))) ?? 0)
  console.log(`${name.padEnd(30)} ${spread(rates, 0)}`)
  const rate = median(rates)
  target(`enqueue alone, ${name}, messages/s`, `≥ ${wanted}`, rate.toFixed(0), rate >= wanted)
}

console.log(
  `\nA backlog on SQLite, in a process of its own; then 5,000 more messages at once through an in-process transport (${load()})`,
)
console.log(
  '   waiting   lanes  file MiB  start ms  rss MiB  µs a message  loop p99 ms  loop max ms  of it CPU ms',
)
const backlogs: Backlog[] = []
for (const [waiting, lanes] of [
  [1_000, 1_000],
  [backlog, 50_000],
] as const) {
  const script = fileURLToPath(new URL('./backlog.ts', import.meta.url))
  const args = ['--expose-gc', '--import', 'tsx', script, String(waiting), String(lanes)]
  const child = spawnSync(process.execPath, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  const r = JSON.parse(child.stdout) as Backlog
  backlogs.push(r)
  const cells = [r.waiting, r.lanes, r.fileMiB, r.startMs, r.rssMiB, r.perMessage, r.loopP99, r.loopMax]
  const widths = [10, 7, 9, 9, 8, 13, 12, 12]
  const line = cells.map((cell, i) => cell.toFixed(i > 5 ? 1 : 0).padStart(widths[i] ?? 8))
  console.log(`${line.join(' ')} ${(r.loopMaxCpu?.toFixed(1) ?? '-').padStart(13)}`)
}
const [few, many] = backlogs
if (few !== undefined && many !== undefined) {
  const what = `${backlog} waiting:`
  const below = (name: string, unit: string, limit: number, value: number) =>
    target(
      `${what} ${name}`,
      `< ${limit} ${unit}`,
      `${value.toFixed(value < 100 ? 1 : 0)} ${unit}`,
      value < limit,
    )
  below('resident memory', 'MiB', 300, many.rssMiB)
  below('start-up', 'ms', 2_000, many.startMs)
  const times = many.perMessage / few.perMessage
  target(`${what} a message, to that with 1,000 waiting`, '≤ 2 ×', `${times.toFixed(2)} ×`, times <= 2)
  below('event-loop delay, p99', 'ms', 20, many.loopP99)
  below('event-loop delay, longest', 'ms', 100, many.loopMax)
}

if (process.env.BENCH_RIVALS === '0') console.log('\nOther queues: left out, BENCH_RIVALS is 0')
else {
  const { rivals, absent } = await findRivals()
  const { 'sqlite, MIME': ours } = ways
  if (rivals.length > 0) {
    const others = rivals.map((rival): [string, Way] => [rival.name, (port, n) => rival.run(port, n)])
    await compare(sink.port, rivalSize, {
      ...Object.fromEntries(others),
      ...(ours === undefined ? {} : { 'sqlite, MIME': ours }),
    })
    console.log("CPU is this process's; their servers take some more.")
    for (const { name, settings } of rivals) console.log(`  ${name}: ${settings}`)
  }
  for (const rival of rivals) await rival.close()
  for (const why of absent) console.log(`\nLeft out ${why}`)
}
sink.close()
cleanUp()

const verdicts = benchClassify()
console.log(
  `\nClassifier: ${verdicts.verdictsPerSecond.toFixed(0)} verdicts/s on one core; the slowest hostile 64 KiB text ${verdicts.hostileMs.toFixed(2)} ms`,
)
console.log(`\n       ${'target'.padEnd(56)} ${'wanted'.padStart(10)} ${'measured'.padStart(10)}`)
for (const line of targets) console.log(line)
