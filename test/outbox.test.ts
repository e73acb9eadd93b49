// The loop when its store or its gate fails, and the owner lease between several mailers on one store.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Bottleneck from 'bottleneck'
import { createTransport } from 'nodemailer'
import { memoryStore, SteadymailError, type Store, type WrapOptions, wrapTransport } from 'steadymail'
import { bottleneckGate } from 'steadymail/bottleneck'
import { sqliteStore } from 'steadymail/sqlite'
import { manualClock, type SmtpServerOptions, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FrozenMail } from '../src/attempt.ts'
import { puppet } from './mx/puppet.ts'
import { BEGIN, HOUR, MINUTE, mail, runner, world } from './scenarios/world.ts'

/** A store whose disk is full, or whose server is away, while `broken` holds. */
function fragile(store: Store): Store & { broken: boolean; readonly failures: number } {
  const outage = { broken: false, failures: 0 }
  const fails = new Set(['add', 'turn', 'bytes', 'claimExpired', 'renew', 'amend'])
  return new Proxy(store, {
    get(target, name) {
      if (name === 'broken' || name === 'failures') return outage[name]
      const value = Reflect.get(target, name, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (!outage.broken || !fails.has(String(name))) return value.apply(target, args)
        outage.failures++
        return Promise.reject(
          new SteadymailError('STORE_FAILED', 'outbox.db: the disk is full (SQLITE_FULL)'),
        )
      }
    },
    set(_, name, value) {
      if (name === 'broken') outage.broken = value
      return true
    },
  }) as Store & { broken: boolean; readonly failures: number }
}

describe('what lanes remember', () => {
  it('of a hold and a release is in the file when they resolve: a kill cannot undo them', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'steadymail-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const killed = async (what: 'hold' | 'release') => {
      const file = join(folder, `${what}.db`)
      const script = `
        import { wrapTransport } from 'steadymail'
        import { sqliteStore } from 'steadymail/sqlite'
        const mailer = wrapTransport('smtp://127.0.0.1:9', { store: sqliteStore(${JSON.stringify(file)}) })
        await mailer.start()
        await mailer.hold('one.test', { reason: 'asked to' })
        if (${what === 'release'}) await mailer.release('one.test')
        process.kill(process.pid, 'SIGKILL')`
      const child = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'inherit' })
      expect((await once(child, 'exit'))[1]).toBe('SIGKILL')
      const reader = sqliteStore(file)
      await reader.open()
      const states: string[] = []
      for await (const page of reader.lanes())
        for (const { key, state } of page) if (key === 'one.test') states.push(state ?? '')
      await reader.close()
      return states.join()
    }
    expect(await killed('hold')).toContain('asked to')
    expect(await killed('release')).not.toContain('asked to')
  })

  it('of a hold that changes nothing is saved at once too: nobody waits for a clock', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'steadymail-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const w = await world({ store: sqliteStore(join(folder, 'outbox.db')) })
    await w.mailer.start()
    await w.mailer.release('one.test')
    for (let times = 0; times < 2; times++) await w.mailer.hold('two.test', { reason: 'asked to' })
    expect((await w.mailer.lanes()).map(({ lane }) => lane)).toEqual(['@egress', 'one.test', 'two.test'])
  })

  it('is in the store within a moment, held lanes at once', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'steadymail-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'outbox.db')
    const stored = async () => {
      const reader = sqliteStore(file)
      await reader.open()
      const found = new Map<string, string>()
      for await (const page of reader.lanes()) for (const { key, state } of page) found.set(key, state ?? '')
      await reader.close()
      return found
    }
    const w = await world({
      store: sqliteStore(file),
      policies: [{ name: 'fast', domains: ['*'], rate: '100000/s', burst: 100_000 }],
      smtp: { script: { on: 'rcpt', to: 'b@held.test', answer: '421 4.7.0 Too much mail, slow down' } },
    })
    await w.deliver('a@one.test')
    await w.send('b@held.test')
    await w.pass(100)
    expect(w.told).toContain('held:@egress')
    expect(JSON.parse((await stored()).get('@egress') ?? '{}')).toMatchObject({ phase: 'held' })
    await w.pass(1_000)
    expect(JSON.parse((await stored()).get('one.test') ?? '{}')).toMatchObject({ flowCount: 1 })
    await w.mailer.release('@egress')
    await w.deliver('c@two.test')
    w.clock.jump(-HOUR)
    await w.pass(5_000)
    expect(JSON.parse((await stored()).get('two.test') ?? '{}'), 'the clock went back').toMatchObject({
      flowCount: 1,
    })
  })
})

describe('a store that fails', () => {
  it('while mail is given to it: the call rejects, and the loop goes on', async () => {
    const store = fragile(memoryStore())
    const w = await world({ store })
    await w.mailer.start()
    store.broken = true
    await expect(w.send('a@one.test', { key: 'k' })).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: 'outbox.db: the disk is full (SQLITE_FULL)',
    })
    store.broken = false
    expect((await w.send('a@one.test', { key: 'k' })).duplicate).toBe(false)
    await w.run(w.mailer.idle())
    expect(w.server.messages).toHaveLength(1)
  })

  it('while mail is under way: results are kept and written when it returns, nothing is sent twice', async () => {
    const store = fragile(memoryStore())
    let answer: () => void = () => undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const w = await world({
      store,
      egress: { concurrency: 3 }, // the last is for a lane that has none
      smtp: { script: (e) => (e.phase === 'dot' ? answered.then(() => undefined) : undefined) },
    })
    const tickets = await Promise.all(['a', 'b', 'c', 'd'].map((name) => w.send(`${name}@one.test`)))
    await w.server.seen((l) => l.phase === 'data' && l.session === 2)
    const troubles: string[] = []
    w.mailer.on('trouble', (e) => troubles.push(`${e.kind}: ${e.pattern}`))
    store.broken = true
    answer()
    await w.pass(5 * MINUTE)
    expect(w.server.messages.length, 'nothing new begins while a result cannot be saved').toBe(2)
    expect(troubles).toEqual(['store: outbox.db: the disk is full (SQLITE_FULL)'])
    expect(await w.mailer.health()).toMatchObject({
      state: 'store-failing',
      inFlight: 2,
      storeError: expect.stringContaining('SQLITE_FULL'),
    })
    expect((await w.mailer.explain(tickets[3]?.id ?? ''))?.[0]).toMatchObject({ binding: 'store' })
    store.broken = false
    const outcomes = await w.run(Promise.all(tickets.map((t) => t.settled())))
    expect(outcomes.map((o) => o.status)).toEqual(Array(4).fill('accepted'))
    expect(outcomes.flatMap((o) => o.recipients.map((r) => r.tries))).toEqual([1, 1, 1, 1])
    expect(w.server.messages).toHaveLength(4)
    expect((await w.mailer.health()).state).toBe('ok')
  })

  it('costs no tokens: what could not be claimed goes as soon as it returns', async () => {
    const store = fragile(memoryStore())
    const policies = [{ name: 'slow', domains: ['one.test'], rate: '1/h', burst: 1 } as const]
    const w = await world({ store, policies })
    const ticket = await w.send('a@one.test', { notBefore: BEGIN + MINUTE })
    store.broken = true
    await w.pass(5 * MINUTE)
    expect(store.failures).toBeGreaterThan(0)
    store.broken = false
    const { settledAt } = await w.run(ticket.settled())
    expect(settledAt - BEGIN).toBeLessThan(10 * MINUTE)
  })

  it('forgets no hold: it is stored when it returns', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'steadymail-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const store = fragile(sqliteStore(join(folder, 'outbox.db')))
    const w = await world({ store })
    await w.mailer.start()
    store.broken = true
    const holding = w.mailer.hold('one.test')
    await expect(w.run(holding)).rejects.toMatchObject({ code: 'STORE_FAILED' })
    expect(await w.mailer.lanes()).toContainEqual(
      expect.objectContaining({ lane: 'one.test', phase: 'held' }),
    )
    await expect(w.mailer.hold('two.test')).rejects.toMatchObject({ code: 'STORE_FAILED' })
    await w.pass(MINUTE)
    expect(store.failures).toBeGreaterThan(0)
    store.broken = false
    await w.pass(2 * MINUTE)
    const stored: string[] = []
    for await (const page of store.lanes()) stored.push(...page.map(({ key }) => key))
    expect(stored).toEqual(expect.arrayContaining(['one.test', 'two.test']))
  })

  it('while the mailer closes: what is not written is found as a claim by the next', async () => {
    const inner = memoryStore()
    await inner.open()
    const store = fragile(inner)
    const w = await world({ store, smtp: { script: { on: 'dot', times: 1, answer: 'hang' } } })
    const ticket = await w.send('a@one.test')
    await w.server.seen((l) => l.phase === 'data')
    store.broken = true
    await w.clock.runUntil(w.mailer.close({ timeout: '1s' }))
    const next = wrapTransport(w.server.url, { store: inner, clock: w.clock })
    await next.start()
    await runner(w.clock, next).rest()
    expect((await next.status(ticket.id))?.recipients[0]).toMatchObject({ uncertain: true })
    await w.clock.runUntil(next.close({ timeout: 0 }))
    await inner.close()
  })
})

it('a lease that cannot be renewed is asked for every few seconds, and the mail goes when it can', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-lease-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const store = fragile(sqliteStore(join(folder, 'outbox.db')))
  const w = await world({ store })
  await w.mailer.start()
  store.broken = true
  const before = store.failures
  await w.pass(2 * MINUTE)
  expect(store.failures - before).toBeLessThan(2 * 60)
  store.broken = false
  const ticket = await w.send('a@one.test')
  expect((await w.run(ticket.settled())).status).toBe('accepted')
})

/** Several mailers on one SQLite file, one server, one clock: as many processes. */
async function fleet(smtp: SmtpServerOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-fleet-'))
  const clock = manualClock()
  const server = await smtpServer({ now: clock.now, ...smtp })
  const closing: (() => Promise<unknown>)[] = []
  onTestFinished(async () => {
    for (const close of closing) await clock.runUntil(close()).catch(() => undefined)
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const join_ = (options: Partial<WrapOptions> = {}) => {
    const mailer = wrapTransport(
      { host: server.host, port: server.port, ignoreTLS: true },
      { store: sqliteStore(join(folder, 'outbox.db')), clock, ...options },
    )
    closing.push(() => mailer.close({ timeout: 0 }))
    return mailer
  }
  return { clock, server, join: join_ }
}

describe('several processes on one store', () => {
  it('one delivers; the others enqueue, and their mail goes within a second', async () => {
    const f = await fleet()
    const worker = f.join()
    await worker.start()
    const web = f.join({ deliver: false })
    const { run } = runner(f.clock, worker, web)
    const began = f.clock.now()
    const ticket = await web.sendWithRetry(mail('a@one.test'))
    expect((await run(ticket.settled())).status).toBe('accepted')
    expect(f.clock.now() - began).toBeLessThanOrEqual(2_500)
    expect((await web.health()).state).toBe('standby')
    expect((await worker.health()).state).toBe('ok')
    expect(f.server.messages).toHaveLength(1)
  })

  it('only one delivers, however many could, and another takes over when it is closed', async () => {
    const f = await fleet()
    const owners: string[] = []
    const mailers = ['a', 'b', 'c'].map((name) =>
      f.join({ on: { owner: (e) => owners.push(`${name} ${e.owner}`) } }),
    )
    const { run, pass } = runner(f.clock, ...mailers)
    for (const mailer of mailers) await mailer.start()
    const tickets = await Promise.all(
      mailers.flatMap((mailer, m) =>
        Array.from({ length: 10 }, (_, i) => mailer.sendWithRetry(mail(`u${m}-${i}@one.test`))),
      ),
    )
    await run(Promise.all(tickets.map((t) => t.settled())))
    expect(f.server.messages).toHaveLength(30)
    expect(owners).toEqual(['a true'])
    await mailers[0]?.close()
    await pass(3_000)
    expect(owners.length).toBe(2)
    const last = await mailers[1]?.sendWithRetry(mail('late@one.test'))
    expect((await run(last?.settled() ?? Promise.reject())).status).toBe('accepted')
    expect(f.server.messages).toHaveLength(31)
  })

  it('a hold, a release and a cancel by one that only enqueues reach the one that delivers', async () => {
    const f = await fleet()
    const worker = f.join()
    await worker.start()
    const web = f.join({ deliver: false })
    const { pass } = runner(f.clock, worker, web)
    await web.hold('one.test', { for: '2h', reason: 'maintenance' })
    await pass(1_500)
    const ticket = await web.sendWithRetry(mail('a@one.test'))
    const other = await web.sendWithRetry(mail('b@one.test'))
    await pass(HOUR)
    expect(f.server.messages).toHaveLength(0)
    expect(await web.cancel(other.id)).toBe(true)
    await web.release('one.test')
    await pass(5_000)
    expect(f.server.messages.map((m) => m.to[0])).toEqual(['a@one.test'])
    expect((await ticket.status())?.state).toBe('settled')
  })

  it('a hold by one that delivers no longer, and does not know it yet, reaches the one that does', async () => {
    const f = await fleet()
    const one = f.join()
    await one.start()
    const two = f.join()
    f.clock.jump(HOUR)
    await two.start()
    await one.hold('one.test')
    await runner(f.clock, one, two).pass(5_000)
    const held = (await two.lanes()).find(({ lane }) => lane === 'one.test')
    expect(held).toMatchObject({ phase: 'held' })
  })

  it('the same key in two processes is one message', async () => {
    const f = await fleet()
    const one = f.join()
    const two = f.join()
    const tickets = await Promise.all(
      [one, two, one, two].map((m) => m.sendWithRetry(mail('a@one.test'), { key: 'k' })),
    )
    expect(new Set(tickets.map((t) => t.id)).size).toBe(1)
    await expect(two.sendWithRetry(mail('b@one.test'), { key: 'k' })).rejects.toMatchObject({
      code: 'KEY_CONFLICT',
    })
  })

  it('a process that was paused past its lease sends nothing behind its successor', async () => {
    let passed: () => void = () => undefined
    const paused = new Promise<void>((resolve) => {
      passed = resolve
    })
    const f = await fleet({
      script: (e) => (e.phase === 'rcpt' && e.session.id === 1 ? paused.then(() => undefined) : undefined),
    })
    const one = f.join()
    const ticket = await one.sendWithRetry(mail('a@one.test'))
    await f.server.seen((l) => l.phase === 'rcpt')
    const two = f.join()
    f.clock.jump(HOUR)
    await two.start()
    await f.server.seen((l) => l.kind === 'message')
    passed()
    await runner(f.clock, one, two).run(ticket.settled())
    await f.server.seen((l) => l.kind === 'close' && l.session === 1)
    expect(f.server.messages).toHaveLength(1)
  })
})

describe('after a restart', () => {
  it('mail, keys, holds and tokens are as they were', async () => {
    const f = await fleet()
    const policies = [{ name: 'slow', domains: ['slow.test'], rate: '6/h', burst: 3 }] as const
    const first = f.join({ policies })
    await first.hold('held.test', { for: '2h', reason: 'asked to' })
    const held = await first.sendWithRetry(mail('a@held.test'), { key: 'kept', meta: { n: 1 } })
    for (let i = 0; i < 5; i++) await first.sendWithRetry(mail(`u${i}@slow.test`))
    await runner(f.clock, first).rest()
    expect(f.server.messages).toHaveLength(3)
    await first.close()

    const second = f.join({ policies })
    const { pass, run } = runner(f.clock, second)
    await second.start()
    await pass(MINUTE)
    expect(f.server.messages, 'no fresh burst').toHaveLength(3)
    expect((await second.explain(held.id))?.[0]).toMatchObject({ binding: 'hold', advice: 'asked to' })
    expect((await second.sendWithRetry(mail('a@held.test'), { key: 'kept' })).duplicate).toBe(true)
    const again = await second.ticket('kept')
    const outcome = await run(again?.settled() ?? Promise.reject())
    expect(outcome).toMatchObject({ status: 'accepted', key: 'kept', meta: { n: 1 } })
    expect(outcome.settledAt).toBe(BEGIN + 2 * HOUR)
  })

  it('mail whose time passed while no process ran gets one try', async () => {
    const f = await fleet()
    const first = f.join()
    await first.hold('one.test')
    const ticket = await first.sendWithRetry(mail('a@one.test'), { ttl: '1h' })
    await first.release('one.test')
    await first.hold('one.test', { for: '30m' })
    await first.close()
    await f.clock.advance(5 * HOUR)
    const second = f.join()
    await second.start()
    const again = await second.ticket(ticket.id)
    expect((await runner(f.clock, second).run(again?.settled() ?? Promise.reject())).status).toBe('accepted')
  })
})

describe('a transport that neither answers nor can be stopped', () => {
  it('keeps its slot for the time of an attempt and no longer, and its late answer counts', async () => {
    const clock = manualClock()
    const late: (() => void)[] = []
    const transport = {
      name: 'api',
      version: '1',
      send(mail: FrozenMail, done: (error: null, info: object) => void) {
        mail.message.takeBody()
        if (late.length === 0) late.push(() => done(null, {}))
        else done(null, {})
      },
    }
    const mailer = wrapTransport(transport, {
      store: memoryStore(),
      clock,
      attemptTimeout: '1m',
      egress: { concurrency: 1 },
    })
    const slow = await mailer.sendWithRetry(mail('a@one.test'))
    await clock.runUntil(new Promise<void>((resolve) => void clock.after(0, resolve)))
    const inFlight = async () => (await mailer.lanes()).map((lane) => lane.inFlight)
    expect(await inFlight()).toEqual([1, 1])
    const next = await mailer.sendWithRetry(mail('b@two.test'))
    expect((await clock.runUntil(next.settled())).status).toBe('accepted')
    expect(await inFlight()).toEqual([0, 1, 0])
    late[0]?.()
    const outcome = await clock.runUntil(slow.settled())
    expect(outcome.recipients.map(({ state, tries }) => [state, tries])).toEqual([['accepted', 1]])
    expect(await inFlight()).toEqual([0, 0, 0])
    await mailer.close()
  })
})

it('what others before it took in the pool is not the time of a message that waited behind them', async () => {
  const server = await puppet('127.0.0.1', (line) => (line === '.' ? 'hold' : undefined))
  const transporter = createTransport({
    host: '127.0.0.1',
    port: server.port,
    pool: true,
    maxConnections: 1,
    ignoreTLS: true,
  } as never)
  const clock = manualClock()
  const mailer = wrapTransport(transporter, { store: memoryStore(), clock, attemptTimeout: '1m' })
  const tickets = await Promise.all(
    ['a', 'b', 'c'].map((who) => mailer.sendWithRetry(mail(`${who}@one.test`))),
  )
  for (let times = 1; times <= 3; times++) {
    await server.heard('.', times)
    await clock.advance(40_000)
    server.sessions[0]?.say('250 2.0.0 Ok')
  }
  const outcomes = await clock.runUntil(Promise.all(tickets.map((ticket) => ticket.settled())))
  expect(outcomes.map(({ recipients: [one] }) => [one?.state, one?.tries])).toEqual(
    Array.from({ length: 3 }, () => ['accepted', 1]),
  )
  await mailer.close()
  transporter.close()
  await server.close()
})

describe('a shared quota', () => {
  it('by a real Bottleneck lets attempts go at its pace, and says so', async () => {
    const limiter = new Bottleneck({ maxConcurrent: 2 })
    const w = await world({ egress: { gate: bottleneckGate(limiter), concurrency: 5 } })
    let most = 0
    const dot = w.server.use((e) => {
      most = Math.max(most, e.open)
      return undefined
    })
    const tickets = await Promise.all(Array.from({ length: 30 }, (_, i) => w.send(`u${i}@d${i % 5}.test`)))
    await Promise.all(tickets.map((t) => t.settled()))
    dot()
    expect(w.server.messages).toHaveLength(30)
    expect(most).toBeLessThanOrEqual(2)
    await limiter.disconnect()
  })

  const away = new Error('Redis is away')
  it.each([
    ['that refuses', () => Promise.reject(away)],
    [
      'that throws',
      () => {
        throw away
      },
    ],
  ])('%s keeps the mail, and one trouble tells', async (_, refuse) => {
    let refuses = true
    const gate = {
      schedule: <T>(use: () => Promise<T>): Promise<T> => (refuses ? refuse() : use()),
    }
    const w = await world({ egress: { gate } })
    const troubles: string[] = []
    w.mailer.on('trouble', (e) => troubles.push(e.pattern))
    const ticket = await w.send('a@one.test')
    await w.pass(MINUTE)
    expect(w.server.counts.connections).toBe(0)
    expect(new Set(troubles)).toEqual(new Set(['the gate refused: Redis is away']))
    expect((await w.mailer.explain(ticket.id))?.[0]).toMatchObject({ binding: 'gate' })
    refuses = false
    expect((await w.run(ticket.settled())).status).toBe('accepted')
  })
})
