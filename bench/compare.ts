// Two builds, W1 in turn in one process: for changes of a few per cent, which the machine's own speed hides between runs.
// A build is a copy of dist/ inside the project, where it finds its packages:
//   npm run build && cp -r dist node_modules/.build-a    (and again as .build-b after the change)
//   node --expose-gc --import tsx bench/compare.ts node_modules/.build-a node_modules/.build-b 'sqlite, raw' 3000 40
// Prints how much faster the second is, by wall and by CPU, with the standard error of the mean. Code of both is hot in
// one process, which makes both slower: a change behind a switch, in one build, shows up to a third more.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { mimeMail, pool, rawMail, startSink } from './w1.ts'

const [, , first, second, way = 'sqlite, raw', messages = '3000', times = '40'] = process.argv
if (first === undefined || second === undefined) throw new Error('two builds: folders with an index.js')
const n = Number(messages)
const rounds = Number(times)
const mail = way.endsWith('MIME') ? mimeMail : rawMail

interface Build {
  readonly wrapTransport: typeof import('../src/index.ts').wrapTransport
  readonly memoryStore: typeof import('../src/index.ts').memoryStore
  readonly sqliteStore: typeof import('../src/sqlite.ts').sqliteStore
}

interface Cost {
  readonly wall: number
  readonly cpu: number
}

async function load(folder: string): Promise<Build> {
  const parts = ['index', 'sqlite'].map((name) => import(pathToFileURL(resolve(folder, `${name}.js`)).href))
  const [index, sqlite] = await Promise.all(parts)
  return { ...index, ...sqlite }
}

const folder = mkdtempSync(join(tmpdir(), 'steadymail-bench-'))
const sink = await startSink()
let files = 0

/** Microseconds a message. */
async function once({ wrapTransport, memoryStore, sqliteStore }: Build): Promise<Cost> {
  const transporter = pool(sink.port)
  await transporter.sendMail(mail(0) as never)
  const store = way.startsWith('memory') ? memoryStore() : sqliteStore(join(folder, `${files++}.db`))
  const mailer = wrapTransport(transporter, {
    store,
    policies: [{ name: 'bench', domains: ['*'], rate: '100000/s', burst: 100_000, concurrency: 5 }],
  })
  await mailer.start()
  const mails = Array.from({ length: n }, (_, i) => mail(i))
  globalThis.gc?.()
  const before = process.cpuUsage()
  const began = performance.now()
  await Promise.all(mails.map((one) => mailer.sendWithRetry(one)))
  await mailer.idle()
  const wall = ((performance.now() - began) * 1000) / n
  const { user, system } = process.cpuUsage(before)
  await mailer.close()
  transporter.close()
  return { wall, cpu: (user + system) / n }
}

const builds = await Promise.all([load(first), load(second)])
const [one, other] = builds as [Build, Build]
for (let warmUp = 0; warmUp < 3; warmUp++) for (const build of builds) await once(build)
const pairs: (readonly [Cost, Cost])[] = []
for (let round = 0; round < rounds; round++) {
  if (round % 2 === 0) {
    const before = await once(one)
    pairs.push([before, await once(other)])
  } else {
    const after = await once(other)
    pairs.push([await once(one), after])
  }
}
sink.close()
rmSync(folder, { recursive: true })

function gain(of: (cost: Cost) => number): string {
  const logs = pairs.map(([a, b]) => Math.log(of(a) / of(b)))
  const mean = logs.reduce((sum, log) => sum + log, 0) / logs.length
  const spread = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (logs.length - 1)
  return `${(100 * (Math.exp(mean) - 1)).toFixed(1)} % (± ${(100 * Math.sqrt(spread / logs.length)).toFixed(1)})`
}

const middle = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]?.toFixed(0)
console.log(
  `${way}, ${rounds} rounds of ${n}: ${middle(pairs.map(([a]) => a.wall))} and ${middle(pairs.map(([, b]) => b.wall))} µs a message (medians)`,
)
console.log(`the second is faster by ${gain(({ wall }) => wall)} of time, ${gain(({ cpu }) => cpu)} of CPU`)
