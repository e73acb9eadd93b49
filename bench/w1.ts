// W1: distinct messages of 4 KiB over 100 domains into a fast sink in another process, over 5 connections,
// from the first call to the last 250. Each way of sending is a ratio to nodemailer's own pool in the same round.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createTransport } from 'nodemailer'
import type { Store } from '../src/index.ts'

// what is measured is what is published: the built package
const built = (name: string) => import(new URL(`../dist/${name}.js`, import.meta.url).href)
const { memoryStore, wrapTransport } = (await built('index')) as typeof import('../src/index.ts')
const { sqliteStore } = (await built('sqlite')) as typeof import('../src/sqlite.ts')

const CONNECTIONS = 5
const DOMAINS = 100
const SIZE = 4096

export interface Sink {
  readonly port: number
  close(): void
}

/** @param distanceMs between what is said to it and its answer */
export async function startSink(distanceMs = 0): Promise<Sink> {
  const child: ChildProcess = spawn(
    process.execPath,
    ['--import', 'tsx', fileURLToPath(new URL('./sink.ts', import.meta.url)), String(distanceMs)],
    {
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  )
  const port = await new Promise<number>((resolve) =>
    child.stdout?.once('data', (line) => resolve(Number(String(line)))),
  )
  return { port, close: () => child.kill() }
}

const filler = 'The quick brown fox jumps over the lazy dog, and the mail goes out. \r\n'
const body = filler.repeat(Math.ceil(SIZE / filler.length)).slice(0, SIZE)

export const mimeMail = (n: number) => ({
  from: 'shop@sender.test',
  to: `user${n}@domain${n % DOMAINS}.test`,
  subject: `Message ${n}`,
  text: `${n} ${body}`,
})

export const rawMail = (n: number) => {
  const to = `user${n}@domain${n % DOMAINS}.test`
  const head = `From: shop@sender.test\r\nTo: ${to}\r\nSubject: Message ${n}\r\nMessage-ID: <${n}.${process.pid}@sender.test>\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n`
  return { envelope: { from: 'shop@sender.test', to: [to] }, raw: Buffer.from(`${head}${n} ${body}`) }
}

export const pool = (port: number) =>
  createTransport({
    host: '127.0.0.1',
    port,
    pool: true,
    maxConnections: CONNECTIONS,
    maxMessages: 1_000_000,
    ignoreTLS: true,
  } as never)

export interface Figures {
  /** Messages per second, from the first call to the last 250. */
  readonly rate: number
  /** Messages per second until the last was stored. */
  readonly enqueue: number
  /** Microseconds of this process's CPU a message. */
  readonly cpu: number
}

/** Messages per second of nodemailer's own sendMail over its pool. */
export async function baseline(
  port: number,
  n: number,
  mail: (n: number) => object = mimeMail,
): Promise<Figures> {
  const transporter = pool(port)
  await transporter.sendMail(mail(0) as never)
  const mails = Array.from({ length: n }, (_, i) => mail(i))
  const cpu = process.cpuUsage()
  const began = performance.now()
  await Promise.all(mails.map((one) => transporter.sendMail(one as never)))
  const rate = (n / (performance.now() - began)) * 1000
  const used = process.cpuUsage(cpu)
  transporter.close()
  return { rate, enqueue: rate, cpu: (used.user + used.system) / n }
}

/** Messages per second through steadymail, everything on. */
export async function steady(
  port: number,
  n: number,
  store: Store,
  mail: (n: number) => object,
  watch: { readonly began?: () => void; readonly ended?: () => void } = {},
): Promise<Figures> {
  const transporter = pool(port)
  await transporter.sendMail(mail(0) as never)
  const mailer = wrapTransport(transporter, {
    store,
    // limits as high as the sink's: the machinery is measured, not the waiting
    policies: [{ name: 'bench', domains: ['*'], rate: '100000/s', burst: 100_000, concurrency: CONNECTIONS }],
  })
  await mailer.start()
  const mails = Array.from({ length: n }, (_, i) => mail(i))
  watch.began?.()
  const cpu = process.cpuUsage()
  const began = performance.now()
  let stored = 0
  await Promise.all(
    mails.map((one) =>
      mailer.sendWithRetry(one).then(() => {
        stored = performance.now()
      }),
    ),
  )
  await mailer.idle()
  const ended = performance.now()
  watch.ended?.()
  const used = process.cpuUsage(cpu)
  const { accepted } = await mailer.health()
  if (accepted !== n) throw new Error(`accepted ${accepted} of ${n}`)
  await mailer.close()
  transporter.close()
  return {
    rate: (n / (ended - began)) * 1000,
    enqueue: (n / (stored - began)) * 1000,
    cpu: (used.user + used.system) / n,
  }
}

/** Messages stored per second by a process that only enqueues. */
export async function enqueueAlone(n: number, store: Store, mail: (n: number) => object): Promise<number> {
  const mailer = wrapTransport(pool(9), { store, deliver: false })
  await mailer.start()
  const mails = Array.from({ length: n }, (_, i) => mail(i))
  const began = performance.now()
  await Promise.all(mails.map((one) => mailer.sendWithRetry(one)))
  const rate = (n / (performance.now() - began)) * 1000
  await mailer.close()
  return rate
}

const folder = mkdtempSync(join(tmpdir(), 'steadymail-bench-'))
let files = 0

export const ways: Record<string, (port: number, n: number) => Promise<Figures>> = {
  'sqlite, MIME': (port, n) => steady(port, n, sqliteStore(join(folder, `${files++}.db`)), mimeMail),
  'sqlite, raw': (port, n) => steady(port, n, sqliteStore(join(folder, `${files++}.db`)), rawMail),
  'memory, MIME': (port, n) => steady(port, n, memoryStore(), mimeMail),
  'memory, raw': (port, n) => steady(port, n, memoryStore(), rawMail),
}

export const enqueueing: Record<string, (n: number) => Promise<number>> = {
  'sqlite, MIME': (n) => enqueueAlone(n, sqliteStore(join(folder, `${files++}.db`)), mimeMail),
  'sqlite, raw': (n) => enqueueAlone(n, sqliteStore(join(folder, `${files++}.db`)), rawMail),
}

export function cleanUp(): void {
  rmSync(folder, { recursive: true, force: true })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const n = Number(process.argv[2] ?? 5000)
  const rounds = Number(process.argv[3] ?? 1)
  const only = process.argv[4]
  const sink = await startSink()
  for (let round = 0; round < rounds; round++) {
    const base = await baseline(sink.port, n)
    console.log(`nodemailer pool  ${base.rate.toFixed(0)} msg/s = 1.00, ${base.cpu.toFixed(0)} µs`)
    for (const [name, way] of Object.entries(ways)) {
      if (only !== undefined && !name.includes(only)) continue
      const { rate, enqueue, cpu } = await way(sink.port, n)
      console.log(
        `${name.padEnd(16)} ${rate.toFixed(0)} msg/s = ${(rate / base.rate).toFixed(2)}, ${cpu.toFixed(0)} µs (${(base.cpu / cpu).toFixed(2)}; stored ${enqueue.toFixed(0)}/s)`,
      )
    }
  }
  sink.close()
  cleanUp()
}
