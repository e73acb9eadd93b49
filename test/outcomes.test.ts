// onSettled is durable: at least once per message, again after a rejection, a crash or a restart, until it resolves.

import { memoryStore, type Outcome, type Store, wrapTransport } from 'steadymail'
import { sampleMessage } from 'steadymail/testing'
import { describe, expect, it } from 'vitest'
import { Breath } from '../src/breath.ts'
import { systemClock } from '../src/clock.ts'
import { Events } from '../src/events.ts'
import { Outcomes } from '../src/outcomes.ts'
import { MINUTE, mail, runner, world } from './scenarios/world.ts'

/** The warnings of this package that Node printed meanwhile. */
async function warned(run: () => Promise<void>): Promise<string[]> {
  const warnings: string[] = []
  const hear = ({ message }: Error) => warnings.push(message)
  process.on('warning', hear)
  try {
    await run()
    await new Promise((resolve) => setImmediate(resolve)) // Node tells them a tick later
  } finally {
    process.off('warning', hear)
  }
  return warnings.filter((text) => text.startsWith('steadymail'))
}

describe('a logger', () => {
  it('that throws or rejects stops no mail, and is told of once', async () => {
    const warnings = await warned(async () => {
      const broken = () => {
        throw new Error('the disk of the logs is full')
      }
      const rejects = () => Promise.reject(new Error('the disk of the logs is full'))
      const w = await world({
        logger: { debug: broken, info: rejects, warn: broken, error: broken },
        smtp: { script: { on: 'rcpt', to: 'b@one.test', answer: '550 5.1.1 User unknown' } },
      })
      const outcomes = await w.deliver('a@one.test', 'b@one.test')
      expect(outcomes.map((o) => o.status)).toEqual(['accepted', 'failed'])
    })
    expect(warnings).toEqual(['steadymail: the logger failed: Error: the disk of the logs is full'])
  })
})

describe('onSettled', () => {
  it('is called once per message that has ended, however it ended', async () => {
    const seen: Outcome[] = []
    const w = await world({
      onSettled: (o) => seen.push(o),
      smtp: { script: { on: 'rcpt', to: 'b@one.test', answer: '550 5.1.1 User unknown' } },
    })
    const outcomes = await w.deliver('a@one.test', 'b@one.test', ['c@one.test', 'b@one.test'])
    await w.mailer.hold('one.test')
    const cancelled = await w.send('d@one.test', { meta: { why: 'test' } })
    await w.mailer.cancel(cancelled.id)
    await w.run(w.mailer.idle())
    const byId = (list: readonly Outcome[]) => [...list].sort((a, b) => (a.id < b.id ? -1 : 1))
    expect(byId(seen).map((o) => o.status)).toEqual(['accepted', 'failed', 'partial', 'failed'])
    expect(byId(seen.slice(0, 3))).toEqual(outcomes)
    expect(seen[3]).toMatchObject({
      id: cancelled.id,
      meta: { why: 'test' },
      recipients: [{ reason: 'cancelled' }],
    })
  })

  it('that throws is told of, by a warning or to the logger', async () => {
    const twice = () => {
      let calls = 0
      return () => {
        if (++calls < 3) throw new TypeError('outcome.meta is undefined')
      }
    }
    const warnings = await warned(async () => {
      const w = await world({ onSettled: twice() })
      await w.deliver('a@one.test')
      await w.pass(10 * MINUTE)
    })
    expect(warnings).toEqual(
      Array(2).fill(
        'steadymail: onSettled failed and is called again later: TypeError: outcome.meta is undefined',
      ),
    )
    const lines: string[] = []
    const quiet = () => undefined
    const error = (fields: object, text?: string) => lines.push(`${text} ${String(Object.values(fields)[0])}`)
    const w = await world({ onSettled: twice(), logger: { debug: quiet, info: quiet, warn: quiet, error } })
    await w.deliver('a@one.test')
    await w.pass(10 * MINUTE)
    expect(lines).toEqual(
      Array(2).fill('onSettled failed and is called again later TypeError: outcome.meta is undefined'),
    )
  })

  it('that rejects is called again, later and later, until it resolves', async () => {
    const calls: number[] = []
    const w = await world({
      onSettled: async () => {
        calls.push(w.clock.now())
        if (calls.length < 4) throw new Error('the database is away')
      },
    })
    await w.deliver('a@one.test')
    await w.pass(10 * MINUTE)
    expect(calls.map((at, i) => at - (calls[i - 1] ?? at))).toEqual([0, 1_000, 2_000, 4_000])
  })

  it('that rejects for one message is called for the others', async () => {
    const seen: string[] = []
    const w = await world({
      onSettled: ({ recipients: [r] }) => {
        seen.push(r?.address ?? '')
        if (r?.address === 'bad@one.test') throw new Error('no such order')
      },
    })
    await w.deliver('bad@one.test', 'a@one.test', 'b@one.test')
    await w.pass(30_000)
    expect(seen.filter((to) => to === 'a@one.test')).toHaveLength(1)
    expect(seen.filter((to) => to === 'b@one.test')).toHaveLength(1)
    expect(seen.filter((to) => to === 'bad@one.test').length).toBeGreaterThan(3)
  })

  it('a handler that never comes back is told of and keeps no other outcome from its call', async () => {
    const called: string[] = []
    const troubles: string[] = []
    let comeBack: () => void = () => {}
    const w = await world({
      onSettled: (outcome) => {
        const to = outcome.recipients[0]?.address ?? ''
        called.push(to)
        if (to === 'stuck@one.test') return new Promise<void>((resolve) => (comeBack = resolve))
        return undefined
      },
    })
    w.mailer.on('trouble', (e) => troubles.push(e.kind))
    await w.deliver('stuck@one.test')
    await w.clock.advance(2 * MINUTE)
    await w.deliver('b@one.test', 'c@one.test')
    await w.clock.advance(10 * MINUTE)
    expect(called.sort()).toEqual(['b@one.test', 'c@one.test', 'stuck@one.test'])
    expect(troubles).toEqual(['handler'])
    comeBack()
    await w.clock.advance(10 * MINUTE)
    expect(called).toHaveLength(3)
  })

  it('is called after a restart for what ended before it', async () => {
    const store = memoryStore()
    await store.open()
    const w = await world({
      store,
      onSettled: () => {
        throw new Error('killed here')
      },
    })
    const [ended] = await w.deliver('a@one.test')
    await w.mailer.close()
    const seen: Outcome[] = []
    const next = wrapTransport(w.server.url, { store, clock: w.clock, onSettled: (o) => seen.push(o) })
    await next.start()
    await runner(w.clock, next).rest()
    expect(seen).toEqual([ended])
    await next.close()
    const third = wrapTransport(w.server.url, { store, clock: w.clock, onSettled: (o) => seen.push(o) })
    await third.start()
    await runner(w.clock, third).rest()
    expect(seen).toHaveLength(1)
    await third.close()
    await store.close()
  })

  it('is awaited by close, but not for ever', async () => {
    const ended: string[] = []
    const slow = (name: string, ms: number) => async () => {
      await new Promise<void>((resolve) => void w.clock.after(ms, resolve))
      ended.push(name)
    }
    let handler = slow('short', 500)
    const w = await world({ onSettled: () => handler() })
    await (await w.send('a@one.test')).settled()
    const began = w.clock.now()
    await w.clock.runUntil(w.mailer.close(), { busy: () => ended.length > 0 })
    expect(ended).toEqual(['short'])
    expect(w.clock.now() - began).toBe(500)

    handler = slow('hanging', 86_400_000)
    const other = wrapTransport(w.server.url, {
      store: memoryStore(),
      clock: w.clock,
      onSettled: () => handler(),
    })
    await (await other.sendWithRetry(mail('b@one.test'))).settled()
    const since = w.clock.now()
    await w.clock.runUntil(other.close({ timeout: '10s' }), { busy: () => w.clock.now() >= since + 10_000 })
    expect(w.clock.now() - since).toBe(10_000)
  })
})

describe('live events', () => {
  it('carry id, key, Message-ID, meta and the recipient as given', async () => {
    const w = await world({
      smtp: { script: { on: 'rcpt', times: 1, answer: '450 4.2.1 Receiving mail too quickly' } },
    })
    const heard: Record<string, unknown>[] = []
    for (const name of ['queued', 'deferred', 'accepted'] as const)
      w.mailer.on(name, (e) => heard.push({ name, ...e }))
    const ticket = await w.mailer.sendWithRetry(
      { ...mail('"A. User" <A.User@Münich.test>') },
      { key: 'order-1', meta: { order: 1 } },
    )
    await w.run(ticket.settled())
    const about = { id: ticket.id, key: 'order-1', messageId: ticket.messageId, meta: { order: 1 } }
    expect(heard.map((e) => e.name)).toEqual(['queued', 'deferred', 'accepted'])
    for (const event of heard) expect(event).toMatchObject(about)
    expect(heard[1]?.recipient).toMatchObject({ address: 'A.User@xn--mnich-kva.test', tries: 1, attempts: 1 })
    expect(heard[2]).toMatchObject({
      reply: { code: 250, text: expect.stringMatching(/^250 2.0.0 Ok: queued as/) },
    })
  })

  it('that throw what has no words stop nothing', async () => {
    const warnings = await warned(async () => {
      const w = await world({ on: { queued: () => Promise.reject(Object.create(null)) } })
      w.mailer.on('accepted', () => {
        throw Object.create(null)
      })
      const [outcome] = await w.deliver('a@one.test')
      expect(outcome?.status).toBe('accepted')
    })
    expect(warnings).toEqual(
      ['queued', 'accepted'].map(
        (name) => `steadymail: a listener of '${name}' failed: something that has no words`,
      ),
    )
  })

  it('that throw or reject stop neither delivery nor the other listeners', async () => {
    const warnings: string[] = []
    const logger = {
      debug: () => undefined,
      info: () => undefined,
      warn: () => undefined,
      error: (fields: object, message?: string) =>
        warnings.push(`${message}: ${String((fields as { err: Error }).err)}`),
    }
    const w = await world({ logger })
    w.mailer.on('accepted', () => {
      throw new Error('listener broke')
    })
    w.mailer.on('accepted', () => Promise.reject(new Error('listener rejected')))
    let heard = 0
    w.mailer.on('accepted', () => heard++)
    await w.deliver('a@one.test', 'b@one.test')
    await w.rest()
    expect(heard).toBe(2)
    expect(warnings.sort()).toEqual([
      'a listener failed: Error: listener broke',
      'a listener failed: Error: listener broke',
      'a listener failed: Error: listener rejected',
      'a listener failed: Error: listener rejected',
    ])
  })

  it('stop when their undo is called', async () => {
    const w = await world()
    let heard = 0
    const off = w.mailer.on('accepted', () => heard++)
    await w.deliver('a@one.test')
    off()
    await w.deliver('b@one.test')
    expect(heard).toBe(1)
  })

  it('settled comes once per message, after its recipients', async () => {
    const w = await world()
    const order: string[] = []
    w.mailer.on('accepted', (e) => order.push(e.recipient.address))
    w.mailer.on('settled', (o) => order.push(o.status))
    await w.deliver(['a@one.test', 'b@two.test'])
    await w.rest()
    expect(order.at(-1)).toBe('accepted')
    expect(order.slice(0, 2).sort()).toEqual(['a@one.test', 'b@two.test'])
    expect(order).toHaveLength(3)
  })
})

describe('the event loop turns meanwhile', () => {
  /** Turns of the event loop until it is done. */
  async function turnsUntil(done: Promise<unknown>): Promise<number> {
    let over = false
    done.then(
      () => {
        over = true
      },
      () => {
        over = true
      },
    )
    let turns = 0
    for (; !over; turns++) await new Promise((resolve) => setImmediate(resolve))
    return turns
  }

  async function settledMail(messages: number): Promise<Store> {
    const store = memoryStore()
    await store.open()
    const at = Date.now()
    for (let n = 0; n < messages; n++) {
      const added = sampleMessage([`user${n}@one.test`])
      await store.add(added, undefined, 0)
      await store.amend(
        added.message.id,
        ({ deliveries }) => deliveries.map((d) => ({ ...d, state: 'accepted', settledAt: at }) as const),
        at,
        0,
        true,
      )
    }
    return store
  }

  const telling = (store: Store, events: Events) =>
    new Outcomes({
      store,
      clock: systemClock,
      events,
      breath: new Breath(systemClock),
      handler: undefined,
      delivers: () => true,
      onHandlerError: () => undefined,
      keepAlive: () => () => undefined,
    })

  it('when onSettled is given a backlog and returns at once', async () => {
    const store = await settledMail(1_000)
    let calls = 0
    let all: () => void = () => undefined
    const handled = new Promise<void>((resolve) => {
      all = resolve
    })
    const mailer = wrapTransport('smtp://127.0.0.1:9', {
      store,
      onSettled: () => {
        if (++calls === 1_000) all()
      },
    })
    const turns = turnsUntil(handled)
    await mailer.start()
    expect(await turns).toBeGreaterThan(1_000 / 50)
    await mailer.close()
    await store.close()
  })

  it('when a thousand end with one fsync', async () => {
    const store = await settledMail(1_000)
    const ids = (await store.list({ limit: 1_000 })).map(({ message }) => message.id)
    const told: string[] = []
    const events = new Events(() => undefined)
    events.on('settled', ({ id }) => {
      told.push(id)
    })
    const outcomes = telling(store, events)
    outcomes.ended(ids)
    expect(await turnsUntil(outcomes.rest())).toBeGreaterThan(1_000 / 50)
    expect(told).toEqual(ids)
    await store.close()
  })

  it('though a store takes long: outcomes are read side by side, and one that never comes keeps no other', async () => {
    const inner = await settledMail(40)
    const ids = (await inner.list({ limit: 40 })).map(({ message }) => message.id)
    let asked = 0
    let answer: () => void = () => undefined
    const all = new Promise<void>((resolve) => {
      answer = resolve
    })
    const store: Store = Object.assign(Object.create(inner), {
      get: async (id: string) => {
        if (id === ids[0]) return new Promise(() => undefined)
        if (++asked === 39) answer()
        await all
        return inner.get(id)
      },
    })
    const told: string[] = []
    const events = new Events(() => undefined)
    events.on('settled', ({ id }) => {
      told.push(id)
      if (told.length === 39) rest()
    })
    let rest: () => void = () => undefined
    const others = new Promise<void>((resolve) => {
      rest = resolve
    })
    const outcomes = telling(store, events)
    outcomes.ended(ids)
    await others
    expect(told).toEqual(ids.slice(1))
    await outcomes.close(Promise.resolve())
    await inner.close()
  })

  it('when a thousand wait for their outcomes at once', async () => {
    const store = await settledMail(1_000)
    const mailer = wrapTransport('smtp://127.0.0.1:9', { store })
    await mailer.start()
    const tickets = await Promise.all(
      (await mailer.list({ limit: 1_000 })).map(({ id }) => mailer.ticket(id)),
    )
    const outcomes = Promise.all(tickets.map((ticket) => ticket?.settled()))
    expect(await turnsUntil(outcomes)).toBeGreaterThan(1_000 / 50)
    expect((await outcomes).map((outcome) => outcome?.status)).toEqual(Array(1_000).fill('accepted'))
    await mailer.close()
    await store.close()
  })
})

it('several may wait for one message, and one of them may give up', async () => {
  const w = await world()
  const ticket = await w.send('a@one.test', { notBefore: new Date(w.clock.now() + MINUTE) })
  const giveUp = new AbortController()
  const given = expect(ticket.settled({ signal: giveUp.signal })).rejects.toThrow('enough')
  const others = Promise.all([ticket.settled(), ticket.settled({ signal: new AbortController().signal })])
  giveUp.abort(new Error('enough'))
  await given
  const [one, other] = await w.run(others)
  expect(one.status).toBe('accepted')
  expect(other).toBe(one)
})
