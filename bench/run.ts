// npm run bench: what sending costs, as ratios to nodemailer's own pool in the same run. Rounds are interleaved,
// because machines are noisy; min, median and max are printed. Needs a built package (npm run build).

import { spawnSync } from 'node:child_process'
import { closeSync, fdatasyncSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Backlog } from './backlog.ts'
import { benchClassify } from './classify.ts'
import { baseline, cleanUp, type Figures, startSink, ways } from './w1.ts'

const sizes = (process.env.BENCH_N ?? '5000,20000').split(',').map(Number)
const rounds = Number(process.env.BENCH_ROUNDS ?? 3)
const backlog = Number(process.env.BENCH_BACKLOG ?? 1_000_000)

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b)
const spread = (values: readonly number[], digits = 2) => {
  const all = sorted(values)
  const at = (share: number) => (all[Math.round((all.length - 1) * share)] ?? 0).toFixed(digits)
  return `${at(0).padStart(7)} ${at(0.5).padStart(7)} ${at(1).padStart(7)}`
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

console.log(
  `Node ${process.version}, ${availableParallelism()} cores, a 4 KiB write with fdatasync: ${diskSync().toFixed(2)} ms`,
)

const sink = await startSink()
for (const n of sizes) {
  const rates = new Map<string, Figures[]>()
  const bases: Figures[] = []
  for (let round = 0; round < rounds; round++) {
    bases.push(await baseline(sink.port, n))
    for (const [name, way] of Object.entries(ways)) {
      rates.set(name, [...(rates.get(name) ?? []), await way(sink.port, n)])
    }
  }
  const base = sorted(bases.map((b) => b.rate))[Math.floor(rounds / 2)] ?? 1
  const cpu = sorted(bases.map((b) => b.cpu))[Math.floor(rounds / 2)] ?? 1
  console.log(
    `\nW1, ${n} messages of 4 KiB over 100 domains, 5 connections; nodemailer's pool ${base.toFixed(0)} msg/s, ${cpu.toFixed(0)} µs of CPU a message = 1.00`,
  )
  console.log('                        msg/s, as a ratio         CPU, as a ratio        stored/s (median)')
  console.log('                       min  median     max      min  median     max')
  for (const [name, figures] of rates) {
    const byRound = figures.map((f, i) => f.rate / (bases[i]?.rate ?? base))
    const byCpu = figures.map((f, i) => (bases[i]?.cpu ?? cpu) / f.cpu)
    const stored = sorted(figures.map((f) => f.enqueue))[Math.floor(rounds / 2)] ?? 0
    console.log(`${name.padEnd(18)} ${spread(byRound)}  ${spread(byCpu)}   ${stored.toFixed(0).padStart(8)}`)
  }
}
sink.close()
cleanUp()

console.log(
  '\nA backlog on SQLite, in a process of its own; then 5,000 more messages through an in-process transport',
)
console.log('   waiting   lanes  file MiB  start ms  rss MiB  µs a message  loop p99 ms  loop max ms')
for (const [waiting, lanes] of [
  [1_000, 1_000],
  [backlog, 50_000],
] as const) {
  const script = fileURLToPath(new URL('./backlog.ts', import.meta.url))
  const child = spawnSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', script, String(waiting), String(lanes)],
    {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  const r = JSON.parse(child.stdout) as Backlog
  const cells = [r.waiting, r.lanes, r.fileMiB, r.startMs, r.rssMiB, r.perMessage, r.loopP99, r.loopMax]
  const widths = [10, 7, 9, 9, 8, 13, 12, 12]
  console.log(cells.map((cell, i) => cell.toFixed(i > 5 ? 1 : 0).padStart(widths[i] ?? 8)).join(' '))
}

const verdicts = benchClassify()
console.log(
  `\nClassifier: ${verdicts.verdictsPerSecond.toFixed(0)} verdicts/s on one core; the slowest hostile 64 KiB text ${verdicts.hostileMs.toFixed(2)} ms`,
)
