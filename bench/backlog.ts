// A million messages waiting over 50,000 lanes: start-up, memory, what one more message costs, and how long
// the event loop is held up. Run as a child: `node --expose-gc --import tsx bench/backlog.ts <waiting> <lanes>`.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { NewMessage } from '../src/stores/store.ts'

const built = (name: string) => import(new URL(`../dist/${name}.js`, import.meta.url).href)

export interface Backlog {
  readonly waiting: number
  readonly lanes: number
  readonly fileMiB: number
  readonly startMs: number
  /** Resident memory after start, and its growth by the start, MiB. */
  readonly rssMiB: number
  readonly grownMiB: number
  /** CPU of one message from call to outcome, µs, with everything on, through an in-process transport. */
  readonly perMessage: number
  readonly loopP99: number
  readonly loopMax: number
  /** CPU of this process's main thread in its longest turn of over 20 ms; the rest is other processes'. Linux only. */
  readonly loopMaxCpu: number | undefined
}

const SENT = 5_000
const HOUR = 3_600_000
const MiB = 1024 * 1024

async function measure(waiting: number, lanes: number): Promise<Backlog> {
  const { wrapTransport } = (await built('index')) as typeof import('../src/index.ts')
  const { sqliteStore } = (await built('sqlite')) as typeof import('../src/sqlite.ts')
  const { scriptedTransport } = (await built('testing')) as typeof import('../src/testing.ts')
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-backlog-'))
  const file = join(folder, 'outbox.db')
  try {
    const filling = sqliteStore(file)
    await filling.open()
    for (let n = 0; n < waiting; ) {
      const group: Promise<unknown>[] = []
      for (; n < waiting && group.length < 1_000; n++)
        group.push(filling.add(backlogMessage(n, lanes), undefined, 0))
      await Promise.all(group)
    }
    await filling.close()

    const before = process.memoryUsage().rss
    const mailer = wrapTransport(scriptedTransport([], { record: false }), {
      store: sqliteStore(file),
      egress: { concurrency: 10 },
      policies: [{ name: 'bench', domains: ['*'], rate: '100000/s', burst: 100_000 }],
    })
    const starting = await watchLoop()
    const began = performance.now()
    await mailer.start()
    const startMs = performance.now() - began
    const start = await starting()
    globalThis.gc?.() // a turn of this bench's own
    const { rss } = process.memoryUsage()

    const sending = await watchLoop()
    const cpu = process.cpuUsage()
    const tickets = await Promise.all(
      Array.from({ length: SENT }, (_, n) => mailer.sendWithRetry(freshMail(n, lanes))),
    )
    await Promise.all(tickets.map((ticket) => ticket.settled()))
    const used = process.cpuUsage(cpu)
    const loop = await sending()
    await mailer.close()
    return {
      waiting,
      lanes,
      fileMiB: statSync(file).size / MiB,
      startMs,
      rssMiB: rss / MiB,
      grownMiB: (rss - before) / MiB,
      perMessage: (used.user + used.system) / SENT,
      loopP99: loop.p99,
      loopMax: Math.max(start.max, loop.max),
      loopMaxCpu:
        loop.maxCpu === undefined || start.maxCpu === undefined
          ? undefined
          : Math.max(start.maxCpu, loop.maxCpu),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

interface LoopDelay {
  readonly p99: number
  readonly max: number
  readonly maxCpu: number | undefined
}

/** Measures turns of the event loop, the first one included: a histogram without a turn before it does not see that. */
async function watchLoop(): Promise<() => Promise<LoopDelay>> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const longest = longestTurn()
  await setTimeout(20)
  delay.reset()
  return async () => {
    await setTimeout(5)
    delay.disable()
    return { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6, maxCpu: longest() }
  }
}

/** Looks every 5 ms what CPU the main thread has taken, if the last look is longer ago than it should be. */
function longestTurn(): () => number | undefined {
  const file = `/proc/self/task/${process.pid}/schedstat`
  if (!existsSync(file)) return () => undefined
  const cpu = () => Number(readFileSync(file, 'latin1').split(' ')[0]) / 1e6
  let longest = 0
  let lookedAt = performance.now()
  let before = cpu()
  const timer = setInterval(() => {
    const now = performance.now()
    const used = cpu()
    if (now - lookedAt > 20) longest = Math.max(longest, used - before)
    lookedAt = now
    before = used
  }, 5)
  return () => {
    clearInterval(timer)
    return longest
  }
}

function freshMail(n: number, lanes: number) {
  const to = `new${n}@domain${(n * 7919) % lanes}.test`
  const raw = `From: shop@sender.test\r\nTo: ${to}\r\nMessage-ID: <new${n}@sender.test>\r\nDate: Fri, 20 Nov 2026 12:00:00 +0000\r\n\r\nHello.\r\n`
  return { envelope: { from: 'shop@sender.test', to: [to] }, raw }
}

/** Waiting, and not due within the measurement. */
function backlogMessage(n: number, lanes: number): NewMessage {
  const now = Date.now()
  const domain = `domain${n % lanes}.test`
  const id = `backlog-${String(n).padStart(9, '0')}`
  const bytes = Buffer.from(`Message-ID: <${n}@sender.test>\r\n\r\n${n}\r\n`)
  const common = { priority: 1 as const, createdAt: now, expiresAt: now + 120 * HOUR }
  return {
    message: {
      ...common,
      id,
      messageId: `<${n}@sender.test>`,
      from: 'shop@sender.test',
      fromDomain: 'sender.test',
      size: bytes.byteLength,
      recipients: 1,
      wire: {},
    },
    bytes,
    deliveries: [
      {
        ...common,
        ticket: id,
        address: `user${n}@${domain}`,
        domain,
        lane: domain,
        sender: 'sender.test',
        state: 'waiting',
        attempts: 1,
        tries: 1,
        uncounted: 0,
        uncertain: 0,
        crashes: 0,
        dueAt: now + HOUR + (n % HOUR),
      },
    ],
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const result = await measure(Number(process.argv[2] ?? 1_000), Number(process.argv[3] ?? 1_000))
  process.stdout.write(`${JSON.stringify(result)}\n`)
}
