// The store fails while mail is on its way: results are kept and written when it returns, nothing goes twice.

import { memoryStore, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { describe, expect, it } from 'vitest'
import { MINUTE, mail, runner, type World, world } from '../scenarios/world.ts'
import { files, openRaw, Saboteur } from '../stores/fixtures/files.ts'
import { failing, type Verb } from './fixtures/failing.ts'

const fresh = files()

const STORES = [
  ['memory', () => memoryStore()],
  ['sqlite', () => sqliteStore(fresh())],
] as const

/** What the loop asks of the store. */
const VERBS: readonly Verb[] = [
  ...([
    'turn',
    'bytes',
    'renew',
    'own',
    'notices',
    'claimExpired',
    'purge',
    'outcomes',
    'acknowledge',
  ] as const),
  ...(['heads', 'lanes', 'openClaims', 'history'] as const),
]

function once(w: World, messages: number) {
  const addresses = w.server.messages.flatMap((m) => m.to)
  expect(addresses).toHaveLength(messages)
  expect(new Set(addresses).size).toBe(messages)
}

describe.each(STORES)('%s', (_, make) => {
  it.each(VERBS)(
    '%s fails for two minutes: all arrive, each once, and onSettled hears of each, at least once',
    async (verb) => {
      const { store, broken } = failing(make())
      const heard: string[] = []
      const w = await world({ store, onSettled: (o) => heard.push(o.recipients[0]?.address ?? '') })
      const began = w.clock.now()
      const tickets = await Promise.all(
        Array.from({ length: 20 }, (_, n) => w.send(`user${n}@shop${n % 4}.test`)),
      )
      // in the middle of it: some are on the wire, some have their answer
      await w.server.next((line) => line.kind === 'message')
      broken.add(verb)
      await w.pass(2 * MINUTE)
      broken.clear()
      const outcomes = await w.run(Promise.all(tickets.map((t) => t.settled())))
      await w.pass(10 * MINUTE)
      expect(outcomes.map((o) => o.status)).toEqual(Array(20).fill('accepted'))
      expect(outcomes.filter((o) => o.recipients[0]?.uncertain)).toEqual([])
      expect([...new Set(heard)].sort()).toEqual(outcomes.map((o) => o.recipients[0]?.address).sort())
      expect(Math.max(...outcomes.map((o) => o.settledAt)) - began).toBeLessThan(4 * MINUTE)
      once(w, 20)
    },
  )

  it.each(['own', 'lanes', 'heads', 'openClaims', 'turn'] as const)(
    '%s fails when it starts: mail is taken all the same, and goes out later',
    async (verb) => {
      const { store, broken } = failing(make())
      broken.add(verb)
      const w = await world({ store })
      const troubles: string[] = []
      w.mailer.on('trouble', (e) => troubles.push(e.kind))
      const ticket = await w.send('a@one.test')
      await w.pass(MINUTE)
      expect(w.server.messages).toHaveLength(0)
      expect(troubles.filter((kind) => kind === 'store').length).toBeLessThanOrEqual(1)
      broken.clear()
      expect((await w.run(ticket.settled())).status).toBe('accepted')
      expect((await w.mailer.health()).state).toBe('ok')
      once(w, 1)
    },
  )

  it('add fails: the caller is told, nobody else is, and what was taken goes on', async () => {
    const { store, broken } = failing(make())
    const w = await world({ store })
    await w.deliver('a@one.test')
    broken.add('add')
    await expect(w.send('b@one.test')).rejects.toThrow('EIO')
    broken.clear()
    await w.deliver('c@one.test')
    expect(w.server.messages.flatMap((m) => m.to)).toEqual(['a@one.test', 'c@one.test'])
  })

  it('a whole store that fails stops new attempts, keeps results, says so once, and reports health', async () => {
    const { store, broken } = failing(make())
    const w = await world({ store })
    const troubles: string[] = []
    w.mailer.on('trouble', (e) => troubles.push(`${e.kind} ${e.pattern}`))
    const tickets = await Promise.all(Array.from({ length: 30 }, (_, n) => w.send(`user${n}@one.test`)))
    await w.server.next((line) => line.kind === 'message')
    for (const verb of VERBS) broken.add(verb)
    await w.pass(20 * MINUTE)
    const during = w.server.messages.length
    expect(during).toBeLessThanOrEqual(1 + 5 + 5) // what was claimed, and what its turn claimed
    expect(troubles).toEqual(['store EIO: i/o error'])
    expect(await w.mailer.health()).toMatchObject({
      state: 'store-failing',
      storeError: expect.stringContaining('EIO'),
    })
    broken.clear()
    await w.run(Promise.all(tickets.map((t) => t.settled())))
    once(w, 30)
    expect((await w.mailer.health()).state).toBe('ok')
  })

  it('it fails for half of every thirty seconds: its bad spells are not met every time', async () => {
    let now = () => 0
    const { store, broken, failures } = failing(make(), () => now() % 30_000 < 16_000)
    const w = await world({ store })
    const began = w.clock.now()
    now = () => w.clock.now() - began
    broken.add('turn')
    const ticket = await w.send('a@one.test')
    expect((await w.run(ticket.settled())).status).toBe('accepted')
    expect(failures.get('turn')).toBeGreaterThan(0)
    expect(now()).toBeLessThan(5 * MINUTE)
  })

  it('it fails while the mailer closes: close ends, and the next start goes on', async () => {
    const inner = make()
    await inner.open()
    const { store, broken } = failing(inner)
    const w = await world({
      store,
      smtp: { script: { on: 'dot', answer: { deliver: true, and: 'hang' }, times: 1 } },
    })
    const taken = w.server.next((line) => line.kind === 'message')
    await w.send('a@one.test')
    await taken
    broken.add('turn')
    await w.clock.runUntil(w.mailer.close({ timeout: '1s' }))
    broken.clear()
    const next = wrapTransport(w.server.url, { store: inner, clock: w.clock })
    const ticket = await next.sendWithRetry(mail('b@one.test'))
    const { run } = runner(w.clock, next)
    await run(ticket.settled())
    await run(next.idle())
    const [first] = await next.list()
    expect(first?.recipients[0]).toMatchObject({ state: 'accepted', uncertain: true })
    await w.clock.runUntil(next.close())
    await inner.close()
  })
})

it('another process holds the lock while the mailer closes: close waits for it, and the result is saved', async () => {
  const file = fresh()
  const w = await world({ store: sqliteStore(file) })
  await w.deliver('a@one.test')
  const other = openRaw(file)
  const taken = w.server.next((line) => line.kind === 'message')
  const ticket = await w.send('b@one.test')
  await taken
  other.exec('BEGIN IMMEDIATE')
  const turns = async (count: number) => {
    for (let n = 0; n < count; n++) await new Promise((resolve) => setImmediate(resolve))
  }
  await turns(50) // the result is there, and its turn waits for the lock
  let closed = false
  const closing = w.clock.runUntil(w.mailer.close()).then(() => {
    closed = true
  })
  await turns(50)
  expect(closed).toBe(false)
  other.exec('COMMIT')
  await closing
  const states = other.prepare('SELECT state FROM delivery ORDER BY id').all()
  expect(states).toEqual([{ state: 3 }, { state: 3 }])
  expect(ticket.duplicate).toBe(false)
  other.close()
})

it('the disk fails while the store looks whether its file should shrink: nobody has to know', async () => {
  const saboteur = new Saboteur('SQLITE_IOERR_READ')
  const store = sqliteStore(fresh(), { driver: saboteur.driver })
  await store.open()
  saboteur.broken = /freelist_count|page_count/
  expect(await store.purge({ settledBefore: 0, failedBefore: 0, keysBefore: 0 }, 10)).toBe(0)
  await store.close()
})
