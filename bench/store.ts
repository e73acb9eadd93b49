// What the stores cost, alone: main-thread time per message of a whole cycle (add, claim, settle), enqueueing,
// and whether either grows with what waits. `npx tsx bench/store.ts [cycles] [waiting]`.

import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import type { AttemptRecord, Delivery } from '../src/core/delivery.ts'
import { memoryStore } from '../src/stores/memory.ts'
import { sqliteStore } from '../src/stores/sqlite/store.ts'
import type { Claim, NewMessage, Settlement, Store } from '../src/stores/store.ts'

const CYCLES = Number(process.argv[2] ?? 20_000)
const WAITING = Number(process.argv[3] ?? 1_000_000)
const NOW = Date.now()
const BYTES = new Uint8Array(4096).fill(65)
const LANES = Array.from({ length: 50_000 }, (_, at) => `mail-${at}.example.com`)

const folder = mkdtempSync(join(process.env.BENCH_DIR ?? tmpdir(), 'steadymail-bench-'))
const rows: Record<string, string | number>[] = []

let made = 0
function message(lane: string, bytes: Uint8Array = BYTES): NewMessage {
  const id = `m${String(++made).padStart(16, '0')}`
  return {
    message: {
      id,
      messageId: `<${id}@app.example.org>`,
      from: 'bounces@app.example.org',
      fromDomain: 'app.example.org',
      size: bytes.length,
      priority: 1,
      createdAt: NOW,
      expiresAt: NOW + 432e6,
      recipients: 1,
      wire: {},
      meta: '{"order":42,"tenant":"acme"}',
    },
    bytes,
    deliveries: [
      {
        ticket: id,
        address: `user.${made}@${lane}`,
        domain: lane,
        lane,
        sender: 'app.example.org',
        priority: 1,
        state: 'waiting',
        attempts: 0,
        tries: 0,
        uncounted: 0,
        uncertain: 0,
        crashes: 0,
        dueAt: NOW,
        expiresAt: NOW + 432e6,
        createdAt: NOW,
      },
    ],
  }
}

function accept(claim: Claim): Settlement[] {
  const record: AttemptRecord = {
    at: NOW,
    durationMs: 31,
    counted: true,
    reply: {
      code: 250,
      enhanced: '2.0.0',
      text: '250 2.0.0 Ok: queued as 4XyZ12abcdz9',
      phase: 'dot',
      host: 'mx.example.com',
    },
  }
  return claim.deliveries.map(
    (delivery): Settlement => ({
      fence: claim.fence,
      delivery: {
        ...delivery,
        state: 'accepted',
        attempts: 1,
        tries: 1,
        settledAt: NOW,
        last: record,
      } satisfies Delivery,
      record,
    }),
  )
}

const cpu = () => {
  const { user, system } = process.cpuUsage()
  return user + system
}
/** What the main thread computed between two readings, µs: its own CPU time on Linux, whatever else the machine does. */
function busy(): () => number {
  const file = `/proc/self/task/${process.pid}/schedstat`
  if (existsSync(file)) {
    const onCpu = () => Number(readFileSync(file, 'utf8').split(' ')[0]) / 1000
    const before = onCpu()
    return () => onCpu() - before
  }
  const before = performance.eventLoopUtilization()
  return () => performance.eventLoopUtilization(before).active * 1000
}
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

async function owned(store: Store): Promise<number> {
  await store.open()
  const owner = await store.own('bench', NOW, NOW + 1e12)
  if (!owner) throw new Error('not owned')
  return owner
}

/** A steady stream: every turn adds `group` messages, settles what the last turn claimed and claims the next. */
async function cycle(name: string, store: Store, group: number, count: number, lanes: number): Promise<void> {
  const owner = await owned(store)
  const adding: Promise<unknown>[] = []
  let settle: Settlement[] = []
  let added = 0
  let settled = 0
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const worked = busy()
  const cpuBefore = cpu()
  const start = performance.now()
  while (settled < count) {
    const names: string[] = []
    for (let at = 0; at < group && added < count; at++) {
      const lane = LANES[added++ % lanes] as string
      names.push(lane)
      adding.push(store.add(message(lane), { messages: 1e9, bytes: 1e15 }, owner))
    }
    const result = await store.turn({
      owner,
      now: NOW,
      until: NOW + 1e6,
      settle,
      claims: names.map((lane) => ({ lane, sender: 'app.example.org', priority: 1, limit: 50 })),
      lanes: () =>
        names.slice(0, 5).map((key) => ({ key, state: '{"tokens":12.5,"at":1700000000000,"factor":1}' })),
      keepOutcomes: false,
    })
    settled += settle.length
    settle = result.claims.flatMap(({ claim }) => (claim ? accept(claim) : []))
    for (const { delivery } of settle) await store.bytes(delivery.ticket)
    // as the engine would: nothing is sent before its claim is safe
    await result.durable
    await nextTurn()
  }
  await Promise.all(adding)
  const ms = performance.now() - start
  delay.disable()
  rows.push({
    what: `${name}: add, claim, settle, ${group} a turn`,
    'µs/message': ((worked() / count) | 0) + Math.round(((worked() / count) % 1) * 10) / 10,
    'cpu µs': Math.round((cpu() - cpuBefore) / count),
    'per s': Math.round((count / ms) * 1000),
    'delay p99 ms': Math.round(delay.percentile(99) / 1e5) / 10,
    'max ms': Math.round(delay.max / 1e5) / 10,
  })
  await store.close()
}

async function enqueue(name: string, store: Store, group: number, count: number): Promise<void> {
  const owner = await owned(store)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const worked = busy()
  const start = performance.now()
  for (let added = 0; added < count; added += group) {
    const adds: Promise<unknown>[] = []
    for (let at = 0; at < group; at++)
      adds.push(store.add(message(LANES[(added + at) % 100] as string), undefined, owner))
    await Promise.all(adds)
  }
  const ms = performance.now() - start
  delay.disable()
  rows.push({
    what: `${name}: enqueue, ${group} a turn`,
    'µs/message': Math.round((worked() / count) * 10) / 10,
    'per s': Math.round((count / ms) * 1000),
    'delay p99 ms': Math.round(delay.percentile(99) / 1e5) / 10,
    'max ms': Math.round(delay.max / 1e5) / 10,
  })
  await store.close()
}

async function backlog(name: string, store: Store, waiting: number, file?: string): Promise<void> {
  const owner = await owned(store)
  const small = new Uint8Array(64)
  const filled = performance.now()
  for (let added = 0; added < waiting; ) {
    const adds: Promise<unknown>[] = []
    for (let at = 0; at < 500 && added < waiting; at++)
      adds.push(store.add(message(LANES[added++ % LANES.length] as string, small), undefined, owner))
    await Promise.all(adds)
  }
  const fillMs = performance.now() - filled
  globalThis.gc?.()
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await nextTurn()
  const start = performance.now()
  let queues = 0
  let total = 0
  for await (const page of store.heads()) {
    queues += page.length
    for (const head of page) total += head.waiting
  }
  const headsMs = performance.now() - start
  delay.disable()
  if (total !== waiting) throw new Error(`${total} of ${waiting} waiting`)
  // lanes at random, one claim a turn, claims only
  const claims = Math.min(2000, waiting)
  const times: number[] = []
  for (let at = 0; at < claims; at++) {
    const lane = LANES[(at * 7919) % Math.min(waiting, LANES.length)] as string
    const before = performance.now()
    await store.turn({
      owner,
      now: NOW,
      until: NOW + 1e6,
      settle: [],
      claims: [{ lane, sender: 'app.example.org', priority: 1, limit: 50 }],
      lanes: () => [],
      keepOutcomes: false,
    })
    times.push((performance.now() - before) * 1000)
  }
  times.sort((a, b) => a - b)
  rows.push({
    what: `${name}: ${waiting} waiting in ${queues} lanes`,
    'fill per s': Math.round((waiting / fillMs) * 1000),
    'heads ms': Math.round(headsMs),
    'claim µs': Math.round(times[times.length >> 1] as number),
    'claim p99 µs': Math.round(times[Math.floor(times.length * 0.99)] as number),
    'delay p99 ms': Math.round(delay.percentile(99) / 1e5) / 10,
    'max ms': Math.round(delay.max / 1e5) / 10,
    'rss MiB': Math.round(process.memoryUsage().rss / 2 ** 20),
    ...(file && { 'file MiB': Math.round(statSync(file).size / 2 ** 20) }),
  })
  await store.close()
}

let files = 0
const sqlite = () => {
  const file = join(folder, `${++files}.db`)
  return { file, store: sqliteStore(file) }
}

try {
  await cycle('memory', memoryStore(), 10, CYCLES * 5, 100)
  await cycle('memory', memoryStore(), 10, CYCLES * 5, 100)
  for (const group of [1, 5, 10, 20, 100]) await cycle('sqlite', sqlite().store, group, CYCLES, 100)
  await enqueue('memory', memoryStore(), 100, CYCLES)
  for (const group of [1, 10, 100]) await enqueue('sqlite', sqlite().store, group, CYCLES)
  for (const waiting of [1000, WAITING]) {
    await backlog('memory', memoryStore(), waiting)
    const { store, file } = sqlite()
    await backlog('sqlite', store, waiting, file)
  }
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))]
  console.table(rows, columns)
} finally {
  rmSync(folder, { recursive: true })
}
