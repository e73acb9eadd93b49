// W1 raw with SQLite on disks whose every fsync takes longer, as ratios to nodemailer's pool, which has no disk:
// how many messages share an fsync, and whether the event loop waits for it. Each disk in a process of its own,
// under the library of the chaos runs that slows fsyncs down. Needs Linux, a C compiler and a built package.
//   npx tsx bench/slow-disk.ts [messages]

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { preloadable } from '../test/chaos/fixtures/preload.ts'
import { baseline, rawMail, startSink, steady } from './w1.ts'

const FSYNCS_MS = [0, 5, 20, 100]
const n = Number(process.argv[2] ?? 10_000)

async function onThisDisk(): Promise<void> {
  const { sqliteStore } = (await import(
    new URL('../dist/sqlite.js', import.meta.url).href
  )) as typeof import('../src/sqlite.ts')
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-bench-'))
  const sink = await startSink()
  const base = await baseline(sink.port, n)
  const delay = monitorEventLoopDelay({ resolution: 5 })
  const { rate, enqueue } = await steady(sink.port, n, sqliteStore(join(folder, 'outbox.db')), rawMail, {
    began: () => delay.enable(),
    ended: () => delay.disable(),
  })
  const ms = (ns: number) => `${(ns / 1e6).toFixed(0)} ms`
  console.log(
    `fsync + ${process.env.SLOW_MS} ms: ${rate.toFixed(0)} msg/s = ${(rate / base.rate).toFixed(2)}, stored ${enqueue.toFixed(0)}/s; event-loop delay p99 ${ms(delay.percentile(99))}, max ${ms(delay.max)}`,
  )
  sink.close()
  rmSync(folder, { recursive: true, force: true })
}

if (process.env.SLOW_MS !== undefined) await onThisDisk()
else {
  const library = preloadable('slow')
  if (library === undefined) throw new Error('fsyncs can be slowed down on Linux, with a C compiler')
  for (const ms of FSYNCS_MS) {
    const env = { ...process.env, LD_PRELOAD: library, SLOW_MS: String(ms), UV_USE_IO_URING: '0' }
    const args = ['--import', 'tsx', fileURLToPath(import.meta.url), String(n)]
    spawnSync(process.execPath, args, { env, stdio: 'inherit' })
  }
}
