// W1 through mxTransport instead of a pool to one relay: the same messages, sink and 5 connections, as ratios
// to nodemailer's pool in the same round, for the transport alone and with the engine above it; then 1,000
// domains with MX hosts of their own over 100 sockets, in a process of their own, with its peak of memory.
// Needs a built package (npm run build).

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
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
  /** Sockets there may be; one set of hosts has five at most. */
  readonly connections: number
  /** The MX host of a domain. */
  readonly mx: (domain: string) => string
  readonly store: Store
}

function directTo(port: number, connections: number, mx: (domain: string) => string) {
  return mxTransport({
    name: 'mail.sender.test',
    port,
    allowLocal: true,
    maxConnections: connections,
    maxConnectionsPerHost: CONNECTIONS,
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
}

/** Messages per second, µs of CPU a message, the most sockets open at a time, and the most memory in use. */
async function direct({ port, n, domains, connections, mx, store }: Course) {
  const transport = directTo(port, connections, mx)
  const mailer = wrapTransport(transport, {
    store,
    policies: [{ name: 'bench', domains: ['*'], rate: '100000/s', burst: 100_000, concurrency: CONNECTIONS }],
  })
  await mailer.start()
  const mails = Array.from({ length: n }, (_, i) => rawMail(i, domains))
  let peak = 0
  const watching = setInterval(() => {
    peak = Math.max(peak, transport.steadymail.connections)
  }, 5)
  const rssBefore = process.memoryUsage.rss()
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  await Promise.all(mails.map((mail) => mailer.sendWithRetry(mail)))
  await mailer.idle()
  clearInterval(watching)
  const rate = (n / (performance.now() - began)) * 1000
  const used = process.cpuUsage(cpuBefore)
  const cpu = (used.user + used.system) / n
  const rss = process.resourceUsage().maxRSS * 1024
  const { accepted } = await mailer.health()
  if (accepted !== n) throw new Error(`accepted ${accepted} of ${n}`)
  await mailer.close()
  transport.close()
  return { rate, cpu, peak, rss, rssBefore }
}

/** The transport alone, without the engine above it: what steadymail's own share of the rest is, can be seen from it. */
async function bare({ port, n, domains, connections, mx }: Omit<Course, 'store'>) {
  const transport = directTo(port, connections, mx)
  const mails = Array.from({ length: n }, (_, i) => {
    const { envelope, raw } = rawMail(i, domains)
    return {
      data: {},
      message: {
        getEnvelope: () => envelope,
        messageId: () => `<${i}@sender.test>`,
        bodyFacts: () => ({ size: raw.length, eightBit: false }),
        takeBody: () => raw,
      },
    }
  })
  const cpuBefore = process.cpuUsage()
  const began = performance.now()
  await new Promise<void>((resolve, reject) => {
    let next = 0
    let left = n
    const go = () => {
      const mail = mails[next++]
      if (!mail) return
      transport.send(mail as never, (error) => {
        if (error) reject(error)
        else if (--left === 0) resolve()
        else go()
      })
    }
    // one on each connection and two that wait for it, as the engine hands them over
    for (let i = 0; i < 3 * CONNECTIONS; i++) go()
  })
  const rate = (n / (performance.now() - began)) * 1000
  const used = process.cpuUsage(cpuBefore)
  transport.close()
  return { rate, cpu: (used.user + used.system) / n }
}

const n = Number(process.argv[2] ?? 20_000)
const rounds = Number(process.argv[3] ?? 3)
const folder = mkdtempSync(join(tmpdir(), 'steadymail-bench-'))
const sink = await startSink()
// no lane takes the last socket of all: with more than five it has its five
const one = { port: sink.port, n, domains: 100, connections: 2 * CONNECTIONS, mx: () => 'mx.sink.test' }
const many = { ...one, domains: 1000, connections: 100, mx: (domain: string) => `mx.${domain}` }

/** Its own process, so that the peak is its own. */
async function apart(store: 'memory' | 'sqlite'): Promise<Awaited<ReturnType<typeof direct>>> {
  const child = spawn(
    process.execPath,
    ['--import', 'tsx', fileURLToPath(import.meta.url), String(n), store, String(sink.port)],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  let said = ''
  for await (const piece of child.stdout) said += piece
  return JSON.parse(said)
}

const store = process.argv[3]
if (store === 'memory' || store === 'sqlite') {
  sink.close()
  const kept = store === 'memory' ? memoryStore() : sqliteStore(join(folder, 'many.db'))
  process.stdout.write(JSON.stringify(await direct({ ...many, port: Number(process.argv[4]), store: kept })))
} else {
  for (let round = 0; round < rounds; round++) {
    const base = await baseline(sink.port, n)
    const told = ({ rate, cpu, peak }: { rate: number; cpu: number; peak?: number }) =>
      `${rate.toFixed(0)} msg/s = ${(rate / base.rate).toFixed(2)} (${cpu.toFixed(0)} µs, ${(base.cpu / cpu).toFixed(2)}${peak === undefined ? '' : `, ${peak} sockets`})`
    console.log(`pool ${base.rate.toFixed(0)} msg/s (${base.cpu.toFixed(0)} µs of CPU a message)`)
    console.log(`direct, raw: transport alone ${told(await bare(one))}`)
    console.log(`  memory ${told(await direct({ ...one, store: memoryStore() }))}`)
    console.log(`  sqlite ${told(await direct({ ...one, store: sqliteStore(join(folder, `${round}.db`)) }))}`)
    for (const kept of ['memory', 'sqlite'] as const) {
      const crowd = await apart(kept)
      console.log(
        `  1,000 domains on 1,000 MX, ${kept} ${told(crowd)}; ${mib(crowd.rss)} at most, of it ${mib(crowd.rssBefore)} before the first was sent`,
      )
    }
  }
  sink.close()
}
rmSync(folder, { recursive: true, force: true })

function mib(bytes: number): string {
  return `${(bytes / 1_048_576).toFixed(0)} MiB`
}
