// The verbs, as an application uses them.

import { getEventListeners } from 'node:events'
import { Readable } from 'node:stream'
import { memoryStore, type Store, type Ticket, wrapTransport } from 'steadymail'
import { sampleMessage, scriptedTransport } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { BEGIN, HOUR, MINUTE, mail, refusing, world } from './scenarios/world.ts'

const LATER = '450 4.2.1 The user you are trying to contact is receiving mail too quickly'

describe('the same key again', () => {
  it('gives the first ticket, and one message arrives', async () => {
    const w = await world()
    const first = await w.send('a@one.test', { key: 'order-42' })
    const second = await w.send('A@ONE.test'.toLowerCase(), { key: 'order-42' })
    expect(first).toMatchObject({ duplicate: false, key: 'order-42' })
    expect(second).toMatchObject({
      duplicate: true,
      id: first.id,
      messageId: first.messageId,
      key: 'order-42',
    })
    expect(await w.run(second.settled())).toEqual(await w.run(first.settled()))
    expect((await w.send('a@one.test', { key: 'order-42' })).duplicate, 'after it has ended, too').toBe(true)
    expect(w.server.messages).toHaveLength(1)
  })

  it('gives it to parallel calls, too', async () => {
    const w = await world()
    const tickets = await Promise.all(Array.from({ length: 20 }, () => w.send('a@one.test', { key: 'once' })))
    expect(new Set(tickets.map((t) => t.id)).size).toBe(1)
    expect(tickets.filter((t) => !t.duplicate)).toHaveLength(1)
    await w.run(Promise.all(tickets.map((t) => t.settled())))
    expect(w.server.messages).toHaveLength(1)
  })

  it('is asked before the mail is built', async () => {
    const w = await world()
    await w.send('a@one.test', { key: 'k' })
    const gone = { ...mail('a@one.test'), attachments: [{ path: '/gone/since/yesterday.pdf' }] }
    expect((await w.mailer.sendWithRetry(gone, { key: 'k' })).duplicate).toBe(true)
  })

  it('for other recipients is a conflict', async () => {
    const w = await world()
    await w.send('a@one.test', { key: 'order-42' })
    await expect(w.send('b@one.test', { key: 'order-42' })).rejects.toMatchObject({
      code: 'KEY_CONFLICT',
      path: 'key',
      message: "key: 'order-42' was used before for other recipients",
    })
    const both = await Promise.allSettled([
      w.send('a@one.test', { key: 'new' }),
      w.send('b@one.test', { key: 'new' }),
    ])
    expect(both.map((r) => r.status)).toEqual(['fulfilled', 'rejected'])
    expect(await w.mailer.list()).toHaveLength(2)
  })
})

describe('a ticket', () => {
  it('settles with an outcome that names every recipient', async () => {
    const w = await world({
      smtp: { script: { on: 'rcpt', to: 'b@one.test', answer: '550 5.1.1 User unknown' } },
    })
    const ticket = await w.send(['a@one.test', 'b@one.test'], { key: 'k', meta: { order: 7 } })
    const outcome = await w.run(ticket.settled())
    expect(outcome).toMatchObject({
      id: ticket.id,
      key: 'k',
      messageId: ticket.messageId,
      meta: { order: 7 },
      status: 'partial',
      settledAt: BEGIN,
      recipients: [
        { address: 'a@one.test', domain: 'one.test', lane: 'one.test', state: 'accepted', tries: 1 },
        {
          address: 'b@one.test',
          state: 'failed',
          reason: 'rejected',
          verdict: { cause: 'recipient-unknown' },
        },
      ],
    })
    expect(w.server.messages[0]?.text).toContain(`Message-ID: ${ticket.messageId}`)
    expect(await ticket.settled(), 'again').toEqual(outcome)
    expect(await ticket.status()).toMatchObject({ state: 'settled', settledAt: BEGIN })
  })

  it('stops waiting when the signal says so; delivery goes on', async () => {
    const w = await world()
    await w.mailer.hold('one.test', { for: '1h' })
    const ticket = await w.send('a@one.test')
    const controller = new AbortController()
    const waiting = ticket.settled({ signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(waiting).rejects.toThrow('enough')
    await expect(ticket.settled({ signal: AbortSignal.abort(new Error('early')) })).rejects.toThrow('early')
    expect((await w.run(ticket.settled())).status).toBe('accepted')
  })

  it('is found by id and by key, and an unknown one is undefined', async () => {
    const w = await world()
    const ticket = await w.send('a@one.test', { key: 'k' })
    expect(await w.mailer.ticket(ticket.id)).toMatchObject({ id: ticket.id, duplicate: false })
    expect(await w.mailer.ticket('k')).toMatchObject({ id: ticket.id, key: 'k' })
    for (const unknown of [
      w.mailer.ticket('nobody'),
      w.mailer.status('nobody'),
      w.mailer.explain('nobody'),
      w.mailer.cancel('nobody'),
      w.mailer.retry('nobody'),
    ])
      expect(await unknown).toBeUndefined()
  })
})

describe('list', () => {
  it('gives messages in order of creation, by state, by page and since when they ended', async () => {
    const w = await world({ smtp: { script: { on: 'rcpt', to: '@later.test', answer: LATER } } })
    const tickets: Ticket[] = []
    for (const to of ['a@one.test', 'b@later.test', 'c@one.test']) tickets.push(await w.send(to))
    await w.run(Promise.all([tickets[0]?.settled(), tickets[2]?.settled()]))
    const ids = async (options?: Parameters<typeof w.mailer.list>[0]) =>
      (await w.mailer.list(options)).map((m) => tickets.findIndex((t) => t.id === m.id))
    expect(await ids()).toEqual([0, 1, 2])
    expect(await ids({ state: 'waiting' })).toEqual([1])
    expect(await ids({ state: 'accepted' })).toEqual([0, 2])
    expect(await ids({ limit: 1, after: tickets[0]?.id ?? '' })).toEqual([1])
    expect(await ids({ settledSince: BEGIN })).toEqual([0, 2])
    expect(await ids({ settledSince: new Date(BEGIN + 1) })).toEqual([])
  })
})

describe('a loop that sends and awaits', () => {
  it('leaves the event loop to others, and what it sends is delivered meanwhile', async () => {
    const transport = scriptedTransport()
    const mailer = wrapTransport(transport, { store: memoryStore(), egress: { concurrency: 100 } })
    let turns = 0
    const count = () => {
      turns++
      turning = setImmediate(count)
    }
    let turning = setImmediate(count)
    for (let n = 0; n < 320; n++) await mailer.sendWithRetry(mail(`a@d${n}.test`))
    clearImmediate(turning)
    expect(turns).toBeGreaterThanOrEqual(9)
    expect(transport.attempts.length).toBeGreaterThan(0)
    await mailer.idle()
    await mailer.close()
  })

  it.each([
    [
      'raw mail',
      32,
      (n: number) => ({ envelope: { from: 'a@us.test', to: [`a@d${n}.test`] }, raw: 'Subject: hello' }),
    ],
    ['mail that is built', 16, (n: number) => mail(`a@d${n}.test`)],
  ] as const)('and a burst as well: %s, %i a turn at most', async (_, most, mailOf) => {
    const stored = memoryStore()
    let adds = 0
    const add = stored.add.bind(stored)
    const store: Store = Object.assign(stored, {
      add: (...args: Parameters<Store['add']>) => {
        adds++
        return add(...args)
      },
    })
    const mailer = wrapTransport(scriptedTransport(), { store, deliver: false })
    await mailer.start()
    const perTurn: number[] = []
    const count = () => {
      perTurn.push(adds)
      adds = 0
      turning = setImmediate(count)
    }
    let turning = setImmediate(count)
    await Promise.all(Array.from({ length: 500 }, (_, n) => mailer.sendWithRetry(mailOf(n))))
    clearImmediate(turning)
    expect(Math.max(...perTurn)).toBeLessThanOrEqual(most)
    expect(perTurn.reduce((sum, n) => sum + n) + adds).toBe(500)
    await mailer.close({ timeout: 0 })
  })
})

it('a mail that throws when it is looked at is refused, and nobody hears of it again', async () => {
  const w = await world()
  const bad = Object.defineProperty(mail('a@one.test'), 'attachments', {
    enumerable: true,
    get: () => {
      throw new Error('not yours')
    },
  })
  await expect(w.mailer.sendWithRetry(bad)).rejects.toThrow('not yours')
  const stop = new AbortController()
  await expect(w.mailer.sendWithRetry(bad, { signal: stop.signal })).rejects.toThrow('not yours')
  stop.abort()
  await w.run(w.mailer.close({ timeout: 0 }))
})

describe('mail whose content never ends', () => {
  const endless = () => new Readable({ read() {} })
  const kinds: readonly (readonly [string, () => object])[] = [
    ['an attachment', () => ({ attachments: [{ content: endless() }] })],
    ['an attachment itself raw', () => ({ attachments: [{ raw: endless() }] })],
    ['its text', () => ({ text: endless() })],
    ['its HTML', () => ({ html: { content: endless() } })],
    ['an alternative', () => ({ alternatives: [{ content: endless() }] })],
    ['an invitation', () => ({ icalEvent: { content: endless() } })],
    ['all of it', () => ({ raw: endless(), envelope: { from: 'shop@sender.test', to: 'a@one.test' } })],
  ]
  it.each(kinds)('keeps out no other: %s', async (_, content) => {
    const w = await world()
    const waiting = Array.from({ length: 200 }, () =>
      w.mailer.sendWithRetry({ ...mail('a@one.test'), ...content() }),
    )
    const ended = Promise.allSettled(waiting)
    const attachments = [
      { filename: 'a.txt', content: 'text' },
      { filename: 'b.bin', content: Buffer.from('bytes') },
      { path: 'data:text/plain;base64,YWJj' },
    ]
    const others = [{ ...mail('b@one.test'), attachments }, mail('c@one.test')]
    const tickets = await Promise.all(others.map((other) => w.mailer.sendWithRetry(other)))
    expect((await w.mailer.list()).map(({ id }) => id)).toEqual(tickets.map(({ id }) => id))
    await w.run(w.mailer.close({ timeout: 0 }))
    for (const one of await ended) expect(one).toMatchObject({ reason: { code: 'CLOSED' } })
  })

  it('is refused in time, and gives its place to the next', async () => {
    const w = await world({ contentTimeout: '200ms' })
    const waiting = Array.from({ length: 70 }, () =>
      w.mailer.sendWithRetry({ ...mail('a@one.test'), attachments: [{ content: endless() }] }),
    )
    const ended = Promise.allSettled(waiting)
    const finite = { ...mail('b@one.test'), attachments: [{ content: Readable.from(['it ends']) }] }
    const ticket = await w.mailer.sendWithRetry(finite) // behind 64 that do not
    for (const one of await ended)
      expect(one).toMatchObject({
        reason: { code: 'BAD_MESSAGE', message: expect.stringContaining('not read within 200 ms') },
      })
    expect((await w.mailer.list()).map(({ id }) => id)).toEqual([ticket.id])
    await w.run(w.mailer.close({ timeout: 0 }))
  })
})

describe('hold and release', () => {
  it('keep a lane shut, even one without mail yet, and no attempt is made', async () => {
    const w = await world()
    await w.mailer.hold('one.test', { for: '2h', reason: 'they asked us to' })
    const ticket = await w.send('a@one.test')
    await w.pass(HOUR)
    expect(w.server.counts.connections).toBe(0)
    expect((await w.mailer.lanes()).find((l) => l.lane === 'one.test')).toMatchObject({
      heldUntil: BEGIN + 2 * HOUR,
      waiting: 1,
      inFlight: 0,
    })
    expect(await w.mailer.explain('one.test')).toMatchObject([
      { binding: 'hold', until: BEGIN + 2 * HOUR, advice: 'they asked us to' },
    ])
    expect(await w.mailer.explain(ticket.id)).toMatchObject([{ binding: 'hold', until: BEGIN + 2 * HOUR }])
    await w.mailer.release('one.test')
    expect((await w.run(ticket.settled())).status).toBe('accepted')
    expect(w.clock.now()).toBe(BEGIN + HOUR)
  })

  it('without a time lasts until released, and @egress holds all', async () => {
    const w = await world()
    await w.mailer.hold('@egress')
    const ticket = await w.send('a@one.test')
    await w.pass(48 * HOUR)
    expect(w.server.counts.connections).toBe(0)
    expect((await w.mailer.health()).state).toBe('held')
    const [why] = (await w.mailer.explain(ticket.id)) ?? []
    expect(why).toMatchObject({ binding: 'egress-hold', advice: 'held by the operator' })
    expect(why?.until).toBeUndefined()
    expect(why?.sentence).toBe('a@one.test waits: the transport is held')
    await w.mailer.release('@egress')
    expect((await w.run(ticket.settled())).status).toBe('accepted')
  })

  it('take a domain for the lane it is in, however it is spelt', async () => {
    const w = await world({
      policies: [{ name: 'acme', domains: ['acme.test', '*.acme.test'], lane: 'acme' }],
    })
    await w.mailer.start()
    await w.mailer.hold('GMail.com')
    await w.mailer.hold('eu.acme.test', { for: '1h' })
    await w.mailer.hold('Bücher.test')
    await w.mailer.hold('@from:Shop.test')
    const lanes = (await w.mailer.lanes()).filter((lane) => lane.phase === 'held').map(({ lane }) => lane)
    expect(lanes).toEqual(['@from:shop.test', 'gmail', 'acme', 'xn--bcher-kva.test'])
    const tickets = [await w.send('a@googlemail.com'), await w.send('a@acme.test')]
    await w.pass(MINUTE)
    expect(w.server.counts.connections).toBe(0)
    expect(await w.mailer.explain('gmail.com')).toMatchObject([{ lane: 'gmail', binding: 'hold' }])
    await w.mailer.release('gmail.com')
    await w.mailer.release('acme')
    const outcomes = await w.run(Promise.all(tickets.map((ticket) => ticket.settled())))
    expect(outcomes.map((o) => o.status)).toEqual(['accepted', 'accepted'])
  })

  it('are refused for times that are none', async () => {
    const w = await world()
    await expect(w.mailer.hold('one.test', { for: 'tomorrow' as never })).rejects.toThrow(
      "for: expected milliseconds or '<number><ms|s|m|h|d|w>', got 'tomorrow'",
    )
  })
})

describe('cancel', () => {
  it('ends what waits, at once', async () => {
    const w = await world()
    await w.mailer.hold('one.test')
    const ticket = await w.send(['a@one.test', 'b@one.test'])
    const failed: string[] = []
    w.mailer.on('failed', (e) => failed.push(`${e.recipient.address} ${e.reason}`))
    expect(await w.mailer.cancel(ticket.id)).toBe(true)
    const outcome = await w.run(ticket.settled())
    expect(outcome.recipients.map((r) => [r.state, r.reason])).toEqual(Array(2).fill(['failed', 'cancelled']))
    expect(failed).toEqual(['a@one.test cancelled', 'b@one.test cancelled'])
    expect(await w.mailer.cancel(ticket.id), 'nothing left to end').toBe(false)
    await w.mailer.release('one.test')
    await w.pass(MINUTE)
    expect(w.server.counts.connections).toBe(0)
  })

  it('of what is being sent lets this try end it', async () => {
    const w = await world({ smtp: { script: refusing({ 'a@one.test': LATER }) } })
    const refused = await w.send('a@one.test')
    const taken = await w.send('b@one.test')
    await w.server.seen((line) => line.kind === 'open')
    const answers = [await w.mailer.cancel(refused.id), await w.mailer.cancel(taken.id)]
    const [one, two] = await w.run(Promise.all([refused.settled(), taken.settled()]))
    expect(answers).toEqual([true, true])
    expect(one.recipients[0]).toMatchObject({ state: 'failed', reason: 'cancelled', tries: 1 })
    expect(two.recipients[0]).toMatchObject({ state: 'accepted' })
  })
})

describe('retry', () => {
  it('opens failed recipients again, with a fresh TTL and the history kept', async () => {
    let full = true
    const w = await world({
      ttl: '1h',
      smtp: {
        script: (e) =>
          e.phase === 'rcpt' && e.to === 'b@one.test' && full ? '552 5.2.2 Mailbox full' : undefined,
      },
    })
    const [outcome] = await w.deliver(['a@one.test', 'b@one.test'])
    expect(outcome?.status).toBe('partial')
    await w.pass(10 * HOUR)
    full = false
    const status = await w.mailer.retry(outcome?.id ?? '')
    expect(status?.state).toBe('waiting')
    expect(status?.recipients[1]).toMatchObject({ state: 'waiting', expiresAt: BEGIN + 11 * HOUR })
    const ticket = await w.mailer.ticket(outcome?.id ?? '')
    const again = await w.run(ticket?.settled() ?? Promise.reject())
    expect(again.status).toBe('accepted')
    expect(again.recipients.map((r) => r.history.length)).toEqual([1, 2])
    expect(w.server.messages.map((m) => m.to)).toEqual([['a@one.test'], ['b@one.test']])
    expect((await w.mailer.retry(outcome?.id ?? ''))?.state, 'nothing failed').toBe('settled')
  })

  it('says when the bytes are gone', async () => {
    const w = await world()
    await w.mailer.hold('one.test')
    const ticket = await w.send('a@one.test')
    await w.mailer.cancel(ticket.id)
    await expect(w.mailer.retry(ticket.id)).rejects.toMatchObject({
      code: 'BAD_STATE',
      message: `retry('${ticket.id}'): its bytes were wiped, send it anew`,
    })
  })
})

it('eraseRecipient removes an address from what waits and from what has ended', async () => {
  const w = await world({
    smtp: { script: { on: 'rcpt', to: 'a@one.test', answer: '550 5.1.1 <a@one.test> unknown' } },
  })
  const [ended] = await w.deliver('a@one.test')
  await w.mailer.hold('one.test')
  const waiting = await w.send(['a@one.test', 'b@one.test'])
  expect(await w.mailer.eraseRecipient('A@one.test')).toBe(2)
  expect(await w.mailer.eraseRecipient('a@one.test')).toBe(0)
  expect(JSON.stringify(await w.mailer.list())).not.toContain('a@one.test')
  await w.mailer.release('one.test')
  const outcome = await w.run(waiting.settled())
  expect(outcome.recipients.map((r) => [r.address, r.state])).toEqual([
    ['', 'failed'],
    ['b@one.test', 'accepted'],
  ])
  expect(w.server.messages.map((m) => m.to)).toEqual([['b@one.test']])
  expect(await w.mailer.status(ended?.id ?? '')).toMatchObject({ state: 'settled' })
})

describe('health', () => {
  it('tells what waits, what ended and why nothing goes', async () => {
    const w = await world({ smtp: { script: { on: 'rcpt', to: '@later.test', answer: LATER } } })
    expect(await w.mailer.health()).toMatchObject({ state: 'idle', waiting: 0, heldLanes: 0 })
    await w.deliver('a@one.test')
    await w.send('b@later.test')
    await w.mailer.hold('quiet.test')
    await w.rest()
    expect(await w.mailer.health()).toEqual({
      state: 'ok',
      waiting: 1,
      inFlight: 0,
      parked: 0,
      accepted: 1,
      failed: 0,
      openBytes: expect.any(Number),
      heldLanes: 1,
    })
  })
})

describe('idle', () => {
  it('resolves when nothing waits, and gives up when told', async () => {
    const w = await world({ smtp: { script: { on: 'rcpt', times: 1, answer: LATER } } })
    await w.run(w.mailer.idle())
    const ticket = await w.send('a@one.test')
    await expect(w.run(w.mailer.idle({ signal: AbortSignal.abort(new Error('enough')) }))).rejects.toThrow(
      'enough',
    )
    await w.run(w.mailer.idle())
    expect((await ticket.status())?.state).toBe('settled')
  })

  it('leaves no listener behind, however often it is awaited', async () => {
    const w = await world()
    const warnings: string[] = []
    const warned = ({ name }: Error) => warnings.push(name)
    process.on('warning', warned)
    onTestFinished(() => void process.off('warning', warned))
    const { signal } = new AbortController()
    for (let times = 0; times < 12; times++) await w.run(w.mailer.idle({ signal }))
    await w.mailer.hold('one.test')
    const ticket = await w.send('a@one.test')
    const still = new AbortController()
    const waiting = Array.from({ length: 12 }, () => [
      w.mailer.idle({ signal: still.signal }),
      ticket.settled({ signal: still.signal }),
    ])
    const ended = Promise.allSettled(waiting.flat())
    await w.rest()
    expect(getEventListeners(still.signal, 'abort')).toHaveLength(2)
    still.abort(new Error('enough'))
    for (const one of await ended) expect(one).toMatchObject({ reason: { message: 'enough' } })
    expect(getEventListeners(still.signal, 'abort')).toEqual([])
    await w.mailer.cancel(ticket.id)
    await w.run(Promise.all(Array.from({ length: 12 }, () => w.mailer.idle())))
    expect(getEventListeners(signal, 'abort')).toEqual([])
    expect(warnings).toEqual([])
  })
})

describe('maxWaiting', () => {
  it('refuses mail above it, and takes it again when there is room', async () => {
    const w = await world({ maxWaiting: { messages: 2 } })
    await w.mailer.hold('one.test')
    await w.send('a@one.test')
    await w.send('b@one.test', { key: 'k' })
    await expect(w.send('c@one.test')).rejects.toMatchObject({
      code: 'OUTBOX_FULL',
      message: 'maxWaiting: 2 messages wait, 2 may',
      path: 'maxWaiting.messages',
    })
    expect((await w.send('b@one.test', { key: 'k' })).duplicate, 'a known key is no more mail').toBe(true)
    await w.mailer.release('one.test')
    await w.run(w.mailer.idle())
    expect((await w.deliver('c@one.test'))[0]?.status).toBe('accepted')
  })
})

describe('retention', () => {
  it('forgets what was accepted sooner than what failed, and keys last', async () => {
    const w = await world({
      retention: { accepted: '1h', failed: '1d', keys: '2d' },
      smtp: { script: refusing({ 'b@one.test': '550 5.1.1 User unknown' }) },
    })
    const good = await w.send('a@one.test', { key: 'good' })
    const bad = await w.send('b@one.test')
    await w.run(Promise.all([good.settled(), bad.settled()]))
    await w.pass(2 * HOUR)
    expect(await w.mailer.status(good.id)).toBeUndefined()
    expect((await w.mailer.status(bad.id))?.state).toBe('settled')
    await w.pass(24 * HOUR)
    expect(await w.mailer.list()).toEqual([])
  })

  it('in memory forgets what was accepted after ten minutes, unless told otherwise', async () => {
    const w = await world({ store: memoryStore() })
    const [ticket] = await Promise.all([w.send('a@one.test'), w.send('b@one.test')])
    await w.run(ticket.settled())
    await w.pass(5 * MINUTE)
    expect(await w.mailer.list()).toHaveLength(2)
    await w.pass(20 * MINUTE)
    expect(await w.mailer.list()).toEqual([])
  })

  it('keeps up with more than a hundred messages a second', async () => {
    const store = memoryStore()
    await store.open()
    for (let n = 0; n < 10_000; n++) {
      const added = sampleMessage([`user${n}@one.test`])
      await store.add(added, undefined, 0)
      const ended = { state: 'accepted', settledAt: 1 } as const
      await store.amend(
        added.message.id,
        ({ deliveries }) => deliveries.map((d) => ({ ...d, ...ended })),
        1,
        0,
        false,
      )
    }
    const w = await world({ store })
    await w.mailer.start()
    await w.pass(MINUTE)
    expect(await w.mailer.list({ limit: 10_000 })).toEqual([])
  })

  it('of a message that is gone says so to whoever waits for it', async () => {
    const w = await world({ retention: { accepted: '1h' } })
    const ticket = await w.send('a@one.test')
    await w.run(ticket.settled())
    await w.pass(2 * HOUR)
    await expect(ticket.settled()).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: `${ticket.id}: forgotten since it ended`,
    })
  })
})

describe('what a mailer knows', () => {
  it('classifyReply and explainPolicy answer with its policies', async () => {
    const w = await world({
      policies: [
        {
          name: 'acme',
          domains: ['acme.test'],
          rate: '20/min',
          rules: [{ id: 'acme-slow', code: 421, text: 'slow down', cause: 'rate-limit', retryAfter: '15m' }],
        },
      ],
    })
    expect(w.mailer.classifyReply('421 Slow down, please', { domain: 'acme.test' })).toMatchObject({
      cause: 'rate-limit',
      persistence: 'transient',
      rule: 'acme-slow',
      retryAfterMs: 15 * MINUTE,
    })
    expect(w.mailer.classifyReply('421 Slow down, please', { domain: 'other.test' }).rule).not.toBe(
      'acme-slow',
    )
    expect(String(w.mailer.explainPolicy('acme.test'))).toMatch(/20\/min.*acme/)
  })

  it('verify logs in once, and says why it cannot', async () => {
    const w = await world({ auth: { user: 'a', pass: 'b' }, smtp: { auth: { users: { a: 'b' } } } })
    await w.mailer.verify()
    expect(w.asked('auth')).toBe(1)
    expect(w.server.messages).toEqual([])
    const wrong = await world({ auth: { user: 'a', pass: 'x' }, smtp: { auth: { users: { a: 'b' } } } })
    await expect(wrong.mailer.verify()).rejects.toThrow('535 5.7.8')
  })
})
