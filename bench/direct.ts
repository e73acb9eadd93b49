// W1 through mxTransport instead of a pool to one relay: the same messages, sink and 5 connections, as ratios
// to nodemailer's pool in the same round; then 1,000 domains with MX hosts of their own, with bounded sockets.
// Needs a built package (npm run build).

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Store } from '../src/index.ts'
import { baseline, startSink } from './w1.ts'

const built = (name: string) => import(new URL(`../dist/${name}.js`, import.meta.url).href)
const { memoryStore, wrapTransport } = (await built('index')) as typeof import('../src/index.ts')
const { sqliteStore } = (await built('sqlite')) as typeof import('../src/sqlite.ts')
const { mxTransport } = (await built('mx')) as typeof import('../src/mx.ts')

const CONNECTIONS = 5
const filler = 'The quick brown fox jumps over the lazy dog, and the mail goes out. \r\n'
const body = filler.repeat(59).slice(0, 4096)

const rawMail = (n: number, domains: number) => {
  const to = `user${n}@domain${n % domains}.test`
  const head = `From: shop@sender.test\r\nTo: ${to}\r\nSubject: Message ${n}\r\nMessage-ID: <${n}.${process.pid}@sender.test>\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\r\n`
  return { envelope: { from: 'shop@sender.test', to: [to] }, raw: Buffer.from(`${head}${n} ${body}`) }
}

interface Course {
  readonly port: number
  readonly n: number
  readonly domains: number
  readonly connections: number
  /** The MX host of a domain. */
  readonly mx: (domain: string) => string
  readonly store: Store
}

/** Messages per second, µs of CPU a message, and the most sockets open at a time. */
async function direct({ port, n, domains, connections, mx, store }: Course) {
  const transport = mxTransport({
    name: 'mail.sender.test',
    port,
    allowLocal: true,
    maxConnections: connections,
    messagesPerConnection: 1_000_000,
    dns: {
      query: async (name, type) => {
        const records = { MX: [{ exchange: mx(name), priority: 10 }], A: ['127.0.0.1'] } as Record<
          string,
          unknown[]
        >
        return {
          status: 'NOERROR',
          records: (records[type] ?? []) as never[],
          ttlMs: 3_600_000,
          authentic: false,
        }
      },
    },
  })
  const mailer = wrapTransport(transport, {
    store,
    policies: [{ name: 'bench', domains: ['*'], rate: '100000/s', burst: 100_000, concurrency: CONNECTIONS }],
    egress: { concurrency: connections },
  })
  await mailer.start()
  const mails = Array.from({ length: n }, (_, i) => rawMail(i, domains))
  let peak = 0
  mailer.on('accepted', () => {
    peak = Math.max(peak, transport.steadymail.connections)
  })
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  await Promise.all(mails.map((mail) => mailer.sendWithRetry(mail)))
  await mailer.idle()
  const rate = (n / (performance.now() - began)) * 1000
  const used = process.cpuUsage(cpuBefore)
  const cpu = (used.user + used.system) / n
  const { accepted } = await mailer.health()
  if (accepted !== n) throw new Error(`accepted ${accepted} of ${n}`)
  await mailer.close()
  transport.close()
  return { rate, cpu, peak }
}

const n = Number(process.argv[2] ?? 20_000)
const rounds = Number(process.argv[3] ?? 3)
const folder = mkdtempSync(join(tmpdir(), 'steadymail-bench-'))
const sink = await startSink()
const one = { port: sink.port, n, domains: 100, connections: CONNECTIONS, mx: () => 'mx.sink.test' }
for (let round = 0; round < rounds; round++) {
  const base = await baseline(sink.port, n)
  const memory = await direct({ ...one, store: memoryStore() })
  const sqlite = await direct({ ...one, store: sqliteStore(join(folder, `${round}.db`)) })
  const many = await direct({
    ...one,
    domains: 1000,
    connections: 100,
    mx: (domain) => `mx.${domain}`,
    store: memoryStore(),
  })
  const told = ({ rate, cpu }: { rate: number; cpu: number }) =>
    `${rate.toFixed(0)} msg/s = ${(rate / base.rate).toFixed(2)} (${cpu.toFixed(0)} µs, ${(base.cpu / cpu).toFixed(2)})`
  console.log(
    `pool ${base.rate.toFixed(0)} msg/s (${base.cpu.toFixed(0)} µs of CPU); direct, raw: memory ${told(memory)}, sqlite ${told(sqlite)}; 1,000 domains on 1,000 MX ${told(many)}, ${many.peak} sockets at most`,
  )
}
sink.close()
rmSync(folder, { recursive: true, force: true })
