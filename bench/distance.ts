// W1 raw over a pool to a server that is further away than this machine: what round trips a message takes, as ratios
// to nodemailer's pool over the same distance. The distance is made by the sink, which answers so much later.
//   npm run build && npx tsx bench/distance.ts [rounds]

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { baseline, rawMail, startSink, steady } from './w1.ts'

const DISTANCES_MS = [1, 5, 20, 80]
/** Of each connection of the pool in a round, or as many as 8 s allow. */
const MESSAGES = 400
const ROUND_MS = 8_000
const rounds = Number(process.argv[2] ?? 3)

const { sqliteStore } = (await import(
  new URL('../dist/sqlite.js', import.meta.url).href
)) as typeof import('../src/sqlite.ts')
const folder = mkdtempSync(join(tmpdir(), 'steadymail-bench-'))

for (const distance of DISTANCES_MS) {
  const sink = await startSink(distance)
  const n = 5 * Math.min(MESSAGES, ROUND_MS / distance)
  const found: { readonly pool: number; readonly ratio: number }[] = []
  for (let round = 0; round < rounds; round++) {
    const before = await baseline(sink.port, n, rawMail)
    const store = sqliteStore(join(folder, `${distance}-${round}.db`))
    const { rate } = await steady(sink.port, n, store, rawMail)
    const after = await baseline(sink.port, n, rawMail)
    const pool = (before.rate + after.rate) / 2
    found.push({ pool, ratio: rate / pool })
  }
  found.sort((a, b) => a.ratio - b.ratio)
  const { pool } = found[Math.floor(rounds / 2)] as (typeof found)[number]
  const ratios = found.map(({ ratio }) => ratio.toFixed(2)).join(' ')
  console.log(`${distance} ms: nodemailer's pool ${pool.toFixed(0)} msg/s; SQLite ${ratios}`)
  sink.close()
}
rmSync(folder, { recursive: true, force: true })
