// What a burst of calls costs: the turn of the event loop in which 5,000 are made, in a process that has just begun and
// once its code is compiled, and the heap that each of 100,000 takes while it waits. Needs a built package.
//   node --expose-gc --import tsx bench/burst.ts

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const built = (name: string) => import(new URL(`../dist/${name}.js`, import.meta.url).href)
const { wrapTransport } = (await built('index')) as typeof import('../src/index.ts')
const { sqliteStore } = (await built('sqlite')) as typeof import('../src/sqlite.ts')
const { scriptedTransport } = (await built('testing')) as typeof import('../src/testing.ts')

const CALLS = 5_000
const BURSTS = 8
const WAITING = 100_000
const gc = globalThis.gc
if (gc === undefined) throw new Error('to be run with --expose-gc')

const folder = mkdtempSync(join(tmpdir(), 'steadymail-burst-'))
const mailer = wrapTransport(scriptedTransport([], { record: false }), {
  store: sqliteStore(join(folder, 'outbox.db')),
  egress: { concurrency: 10 },
  policies: [{ name: 'bench', domains: ['*'], rate: '100000/s', burst: 100_000 }],
})
await mailer.start()

const mail = (n: number) => ({
  envelope: { from: 'shop@sender.test', to: `user${n}@domain${n % 100}.test` },
  raw: `Message-ID: <${n}@sender.test>\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\r\nHello ${n}.\r\n`,
})

/** Ms of this thread until the event loop goes on. */
async function turnOf(calls: number): Promise<number> {
  const mails = Array.from({ length: calls }, (_, n) => mail(n))
  gc?.()
  const began = performance.now()
  const sent = mails.map((one) => mailer.sendWithRetry(one))
  await new Promise((resolve) => setImmediate(resolve))
  const ms = performance.now() - began
  await Promise.all(sent)
  await mailer.idle()
  return ms
}

const turns: number[] = []
for (let burst = 0; burst < BURSTS; burst++) turns.push(await turnOf(CALLS))
const [cold = 0, ...rest] = turns
const warm = rest.slice(rest.length >> 1).sort((a, b) => a - b)
console.log(
  `${CALLS} calls in one turn: ${cold.toFixed(1)} ms in a process that has just begun, then ${warm[0]?.toFixed(1)} to ${warm.at(-1)?.toFixed(1)} ms`,
)

const one = mail(0)
gc()
const before = process.memoryUsage().heapUsed
const waiting = Array.from({ length: WAITING }, () => mailer.sendWithRetry(one))
gc()
const taken = (process.memoryUsage().heapUsed - before) / WAITING
console.log(`a call that waits: ${taken.toFixed(0)} bytes of heap`)
await Promise.all(waiting)
await mailer.close()
rmSync(folder, { recursive: true })
