// onSettled with a backlog, with outcomes that it never takes, and with several mailers on one store.

import { memoryStore, type Outcome, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { describe, expect, it } from 'vitest'
import { MINUTE, mail, runner, world } from '../scenarios/world.ts'
import { files } from '../stores/fixtures/files.ts'
import { backlog } from './backlog.ts'

const fresh = files()

it('a backlog of 2,000 outcomes is handled after a restart, each once, though some are never taken', async () => {
  const { left, calls, rejected, otherCalls } = await backlog(fresh(), 2_000)
  expect(otherCalls).toBe(2_000 - rejected)
  expect(calls).toBeLessThan(2_000 + 10 * rejected)
  expect(left).toBe(rejected)
}, 60_000)

describe('a handler that rejects everything', () => {
  it('is left alone for longer and longer, and gets all when it is back', async () => {
    let back = false
    const calls: number[] = []
    const heard = new Set<string>()
    const w = await world({
      onSettled: (o) => {
        calls.push(w.clock.now())
        if (!back) throw new Error('the database is away')
        heard.add(o.recipients[0]?.address ?? '')
      },
    })
    await w.deliver(...Array.from({ length: 150 }, (_, n) => `user${n}@shop${n % 9}.test`))
    const first = calls.length
    expect(first).toBeLessThanOrEqual(150)
    await w.pass(30 * MINUTE)
    expect(calls.length - first).toBeLessThan(80)
    back = true
    await w.pass(6 * MINUTE)
    expect(heard.size).toBe(150)
  })
})

it('outcomes that are always rejected, however many, do not hold up those of later mail', async () => {
  const heard: string[] = []
  const w = await world({
    onSettled: (o) => {
      const to = o.recipients[0]?.address ?? ''
      if (to.startsWith('bad')) throw new Error('no such order')
      heard.push(to)
    },
  })
  await w.deliver(...Array.from({ length: 40 }, (_, n) => `bad${n}@shop${n % 9}.test`))
  await w.pass(30 * MINUTE)
  for (let n = 0; n < 10; n++) {
    await w.deliver(`good${n}@one.test`)
    await w.pass(1_000)
    expect(heard).toHaveLength(n + 1)
  }
})

describe('two mailers on one store', () => {
  it.each([
    ['one memoryStore', () => memoryStore()],
    ['one sqliteStore', () => sqliteStore(fresh())],
  ] as const)(
    '%s: one delivers, the other enqueues and takes over when the first closes',
    async (_, make) => {
      const store = make()
      await store.open()
      const heard: string[] = []
      const onSettled = (name: string) => (o: Outcome) => heard.push(`${name} ${o.recipients[0]?.address}`)
      const w = await world({ store, onSettled: onSettled('first') })
      await w.mailer.start()
      const second = wrapTransport(w.server.url, { store, clock: w.clock, onSettled: onSettled('second') })
      const both = runner(w.clock, w.mailer, second)
      await second.start()
      expect((await second.health()).state).toBe('standby')
      const began = w.clock.now()
      const ticket = await second.sendWithRetry(mail('a@one.test'))
      expect((await both.run(ticket.settled())).status).toBe('accepted')
      expect(w.clock.now() - began).toBeLessThanOrEqual(2_000)

      await w.mailer.hold('one.test')
      const cancelled = await second.sendWithRetry(mail('b@one.test'))
      await second.cancel(cancelled.id)
      const later = await second.sendWithRetry(mail('c@one.test'))
      await both.pass(2 * MINUTE)
      expect(heard).toEqual(['first a@one.test', 'first b@one.test'])

      await w.clock.runUntil(w.mailer.close())
      await second.release('one.test')
      const closed = w.clock.now()
      const alone = runner(w.clock, second)
      expect((await alone.run(later.settled())).status).toBe('accepted')
      expect(w.clock.now() - closed).toBeLessThan(60_000)
      await alone.rest()
      expect(heard.at(-1)).toBe('second c@one.test')
      expect(w.server.messages.map((m) => m.to[0])).toEqual(['a@one.test', 'c@one.test'])
      await w.clock.runUntil(second.close())
      await store.close()
    },
  )

  it('two store objects on one file do the same', async () => {
    const file = fresh()
    const w = await world({ store: sqliteStore(file) })
    await w.mailer.start()
    const second = wrapTransport(w.server.url, { store: sqliteStore(file), clock: w.clock })
    await second.start()
    const both = runner(w.clock, w.mailer, second)
    const tickets = await Promise.all(
      Array.from({ length: 40 }, (_, n) =>
        (n % 2 === 0 ? w.mailer : second)
          .sendWithRetry(mail(`user${n}@shop${n % 5}.test`), { key: `k${n % 20}` })
          .catch((e) => e.code as string),
      ),
    )
    expect(tickets.filter((t) => t === 'KEY_CONFLICT')).toHaveLength(20)
    const stored = tickets.filter((t) => typeof t !== 'string')
    await both.run(Promise.all(stored.map((t) => t.settled())))
    expect(w.server.messages).toHaveLength(20)
    await w.clock.runUntil(w.mailer.close())
    const ticket = await second.sendWithRetry(mail('last@one.test'))
    expect((await runner(w.clock, second).run(ticket.settled())).status).toBe('accepted')
    await w.clock.runUntil(second.close())
  })

  it('outcomes that others keep for a handler that nobody has go with their messages', async () => {
    const store = memoryStore()
    await store.open()
    const w = await world({ store, retention: { accepted: '1h', failed: '1h' } })
    await w.mailer.start()
    const desk = wrapTransport(w.server.url, { store, clock: w.clock, deliver: false })
    await w.mailer.hold('one.test')
    const ticket = await desk.sendWithRetry(mail('a@one.test'))
    await desk.cancel(ticket.id)
    await w.pass(90 * MINUTE)
    expect(await ticket.status()).toBeUndefined()
    await w.clock.runUntil(desk.close())
  })
})

it('settled() of what was forgotten rejects, and its key is still known', async () => {
  const w = await world({ retention: { accepted: '1h', keys: '1d' } })
  const ticket = await w.send('a@one.test', { key: 'order-1' })
  await w.run(ticket.settled())
  await w.pass(120 * MINUTE)
  await expect(ticket.settled()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const again = await w.send('a@one.test', { key: 'order-1' })
  expect(again).toMatchObject({ id: ticket.id, duplicate: true, key: 'order-1' })
  await expect(again.settled()).rejects.toMatchObject({ code: 'NOT_FOUND' })
  expect(w.server.messages).toHaveLength(1)
  await w.pass(24 * 60 * MINUTE)
  const anew = await w.send('a@one.test', { key: 'order-1' })
  expect(anew.duplicate).toBe(false)
  await w.run(anew.settled())
  expect(w.server.messages).toHaveLength(2)
})
