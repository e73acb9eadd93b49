// How a mailer ends: gracefully, with a server that hangs, twice, during sends; and what keeps a process alive.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { createTransport } from 'nodemailer'
import { memoryStore, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { type SmtpScript, scriptedTransport, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { program } from './program.ts'
import { mail, world } from './scenarios/world.ts'

describe('close', () => {
  it('waits for what is being sent, and starts nothing more', async () => {
    let answer: () => void = () => undefined
    const answered = new Promise<void>((resolve) => {
      answer = resolve
    })
    const store = memoryStore()
    await store.open()
    const w = await world({
      store,
      egress: { concurrency: 2 },
      smtp: { script: (e) => (e.phase === 'dot' ? answered.then(() => undefined) : undefined) },
    })
    const tickets = await Promise.all(['a', 'b', 'c'].map((name) => w.send(`${name}@one.test`)))
    await w.server.seen((l) => l.phase === 'data')
    const closing = w.mailer.close()
    answer()
    await closing
    expect(w.server.messages).toHaveLength(1)
    const states = await Promise.all(tickets.map(async (t) => (await store.get(t.id))?.deliveries[0]?.state))
    expect(states).toEqual(['accepted', 'waiting', 'waiting'])
    await store.close()
  })

  it('aborts what hangs when the time is up; it stays, marked uncertain only where the body was sent', async () => {
    const store = memoryStore()
    await store.open()
    const w = await world({
      store,
      smtp: {
        script: [
          (e) => (e.phase === 'rcpt' && e.to === 'early@one.test' ? 'hang' : undefined),
          (e) => (e.phase === 'dot' && e.recipients.includes('late@two.test') ? 'hang' : undefined),
        ],
      },
    })
    const early = await w.send('early@one.test')
    const late = await w.send('late@two.test')
    await w.server.seen((l) => l.phase === 'rcpt' && l.text.includes('early'))
    await w.server.seen((l) => l.phase === 'data')
    const began = w.clock.now()
    await w.clock.runUntil(w.mailer.close({ timeout: '5s' }), { busy: () => w.clock.now() - began >= 5_000 })
    expect(w.clock.now() - began).toBeLessThanOrEqual(7_000)
    const state = async (id: string) => (await store.get(id))?.deliveries[0]
    expect(await state(early.id)).toMatchObject({ state: 'waiting', tries: 0, uncertain: 0 })
    expect(await state(late.id)).toMatchObject({ state: 'waiting', tries: 1, uncertain: 1 })
    await store.close()
  })

  it('twice is the same close', async () => {
    const w = await world()
    await w.deliver('a@one.test')
    const first = w.mailer.close()
    expect(w.mailer.close()).toBe(first)
    await first
    expect(await w.mailer.close()).toBeUndefined()
  })

  it('before anything was opened opens nothing', async () => {
    const mailer = wrapTransport('smtp://127.0.0.1:1', { store: sqliteStore('/nowhere/at/all.db') })
    expect(await mailer.close()).toBeUndefined()
  })

  it('during sends stores each of them or rejects it', async () => {
    const store = memoryStore()
    await store.open()
    const w = await world({ store })
    const sends = Array.from({ length: 50 }, (_, i) => w.send(`u${i}@one.test`))
    await w.mailer.start()
    const closing = w.clock.runUntil(w.mailer.close())
    const results = await Promise.allSettled(sends)
    await closing
    const taken = results.flatMap((r) => (r.status === 'fulfilled' ? [r.value.id] : []))
    const refused = results.flatMap((r) =>
      r.status === 'rejected' ? [(r.reason as { code: string }).code] : [],
    )
    expect(taken.length + refused.length).toBe(50)
    expect(new Set([...refused, 'CLOSED'])).toEqual(new Set(['CLOSED']))
    for (const id of taken) expect(await store.get(id)).toBeDefined()
    expect((await store.counts()).openMessages + (await store.counts()).accepted).toBe(taken.length)
    await store.close()
  })

  it('ends those whose attachment never does', async () => {
    const w = await world()
    const endless = () => ({ ...mail('a@one.test'), attachments: [{ content: new Readable({ read() {} }) }] })
    const sends = Array.from({ length: 80 }, () => w.mailer.sendWithRetry(endless()))
    const ended = Promise.allSettled(sends)
    await w.rest()
    await w.run(w.mailer.close({ timeout: '1s' }))
    for (const result of await ended) expect(result).toMatchObject({ reason: { code: 'CLOSED' } })
  })

  it('stores nothing of those who still wait for the MX host of a recipient', async () => {
    let found: (answer: { mx: string; ttlMs: number }) => void = () => undefined
    const answer = new Promise<{ mx: string; ttlMs: number }>((resolve) => {
      found = resolve
    })
    const resolveMx = { resolve: () => answer, peek: () => undefined }
    const mailer = wrapTransport(scriptedTransport(), { store: memoryStore(), resolveMx })
    const raw = 'Message-ID: <1@sender.test>\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nx'
    const sent = mailer.sendWithRetry({ raw, envelope: { from: 'shop@sender.test', to: 'a@one.test' } })
    const refused = expect(sent).rejects.toMatchObject({ code: 'CLOSED' })
    await mailer.start()
    await mailer.close({ timeout: 0 })
    found({ mx: 'mx.one.test', ttlMs: 1000 })
    await refused
  })

  it('ends those whose plugin never answers, of bytes too', async () => {
    const transporter = createTransport({ host: '127.0.0.1', port: 1 })
    transporter.use('compile', () => {})
    const mailer = wrapTransport(transporter, { store: memoryStore() })
    const raw = { raw: 'Subject: x\r\n\r\nx', envelope: { from: 'shop@sender.test', to: 'a@one.test' } }
    const sends = Promise.allSettled([mailer.sendWithRetry(raw), mailer.sendWithRetry(mail('a@one.test'))])
    await mailer.close({ timeout: 0 })
    for (const sent of await sends) expect(sent).toMatchObject({ reason: { code: 'CLOSED' } })
    transporter.close()
  })

  it('ends those who wait for an outcome or for idle', async () => {
    const w = await world()
    await w.mailer.hold('one.test')
    const ticket = await w.send('a@one.test')
    const waiting = [ticket.settled(), w.mailer.idle()].map((p) => p.catch((e: { code: string }) => e.code))
    await w.rest()
    await w.mailer.close()
    expect(await Promise.all(waiting)).toEqual(['CLOSED', 'CLOSED'])
  })

  it('is what `await using` does', async () => {
    const server = await smtpServer()
    onTestFinished(() => server.close())
    let mailer: ReturnType<typeof wrapTransport>
    {
      await using own = wrapTransport(server.url, { store: memoryStore() })
      mailer = own
      const ticket = await own.sendWithRetry(mail('a@one.test'))
      expect((await ticket.settled()).status).toBe('accepted')
    }
    await expect(mailer.list()).rejects.toMatchObject({ code: 'CLOSED' })
  })

  it("leaves the user's transporter usable, with no listener of ours", async () => {
    const server = await smtpServer()
    const transporter = createTransport({
      host: server.host,
      port: server.port,
      pool: true,
      ignoreTLS: true,
    } as never)
    onTestFinished(async () => {
      transporter.close()
      await server.close()
    })
    const facts = () => ({
      listeners: transporter.eventNames().map((name) => [name, transporter.listenerCount(name)]),
      own: Object.keys(transporter).sort(),
      transport: Object.keys((transporter as unknown as { transporter: object }).transporter).sort(),
    })
    const before = facts()
    const mailer = wrapTransport(transporter, { store: memoryStore() })
    expect(transporter.listenerCount('error')).toBe(
      before.listeners.filter(([n]) => n === 'error').length + 1,
    )
    const ticket = await mailer.sendWithRetry(mail('a@one.test'))
    await ticket.settled()
    await mailer.close()
    expect(facts()).toEqual(before)
    await transporter.sendMail(mail('b@one.test'))
    expect(server.messages).toHaveLength(2)
  })

  it('closes the transport that it made itself', async () => {
    const server = await smtpServer()
    onTestFinished(() => server.close())
    const mailer = wrapTransport(
      { host: server.host, port: server.port, pool: true, ignoreTLS: true },
      { store: memoryStore() },
    )
    const ticket = await mailer.sendWithRetry(mail('a@one.test'))
    await ticket.settled()
    expect(server.counts.open).toBe(1)
    const closed = server.next((l) => l.kind === 'close')
    await mailer.close()
    await closed
    expect(server.counts.open).toBe(0)
  })
})

describe.concurrent('a process', () => {
  async function child(
    script: SmtpScript | undefined,
    mode: string,
    end: (close: () => Promise<void>) => void,
  ) {
    const folder = mkdtempSync(join(tmpdir(), 'steadymail-alive-'))
    const server = await smtpServer(script === undefined ? {} : { script })
    end(async () => {
      await server.close()
      rmSync(folder, { recursive: true, force: true })
    })
    const process_ = spawn(
      process.execPath,
      [
        program(new URL('./scenarios/fixtures/alive.ts', import.meta.url)),
        join(folder, 'outbox.db'),
        String(server.port),
        mode,
      ],
      { stdio: ['ignore', 'pipe', 'pipe'] },
    )
    let out = ''
    process_.stdout.on('data', (chunk) => {
      out += chunk
    })
    process_.stderr.on('data', (chunk) => {
      out += chunk
    })
    const code = await new Promise<number | null>((resolve) => process_.on('close', resolve))
    return { code, out, server }
  }

  it('ends although a retry is due in a quarter of an hour', async ({ expect, onTestFinished }) => {
    const { code, out } = await child(
      { on: 'rcpt', answer: '450 4.2.1 Receiving mail too quickly' },
      'send',
      onTestFinished,
    )
    expect([code, out]).toEqual([0, 'deferred\n'])
  })

  it('stays while its mail is in flight', async ({ expect, onTestFinished }) => {
    const { code, out, server } = await child(
      (e) =>
        e.phase === 'dot' ? new Promise((resolve) => setTimeout(() => resolve(undefined), 300)) : undefined,
      'send',
      onTestFinished,
    )
    expect([code, out]).toEqual([0, 'accepted\n'])
    expect(server.messages).toHaveLength(1)
  })

  it('stays while somebody awaits the outcome', async ({ expect, onTestFinished }) => {
    const { code, out } = await child(
      { on: 'rcpt', times: 1, answer: '450 4.2.1 Try again in 1 second' },
      'settled',
      onTestFinished,
    )
    expect([code, out]).toEqual([0, 'deferred\naccepted\nsettled accepted\n'])
  })

  it('with mail in memory says what its end loses', async ({ expect, onTestFinished }) => {
    const { code, out } = await child(
      { on: 'rcpt', answer: '450 4.2.1 Receiving mail too quickly' },
      'memory',
      onTestFinished,
    )
    expect([code, out]).toEqual([
      0,
      'deferred\nsteadymail: 1 undelivered in the memory outbox, lost with this process; sqliteStore keeps them\n',
    ])
  })
})
