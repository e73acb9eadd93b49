// "Why not yet?": whatever a message waits for, explain names it, with the time and the words behind it.

import { describe, expect, it } from 'vitest'
import { BEGIN, HOUR, MINUTE, type World, world } from './scenarios/world.ts'

const why = async (w: World, id: string) => (await w.mailer.explain(id))?.[0]
const TOO_MANY = '421 4.7.0 Too many messages from your address, try again later'

describe('explain', () => {
  it('a message that is not due yet', async () => {
    const w = await world()
    const ticket = await w.send('a@one.test', { notBefore: BEGIN + HOUR })
    expect(await why(w, ticket.id)).toEqual({
      subject: 'a@one.test',
      lane: 'one.test',
      binding: 'not-before',
      until: BEGIN + HOUR,
      uncounted: 0,
      sentence: 'a@one.test is not to be sent yet until 2026-01-01T01:00:00.000Z (60 min)',
    })
  })

  it('a message in its own back-off, with the reply verbatim and the rule', async () => {
    const reply = '450 4.2.1 The user you are trying to contact is receiving mail too quickly'
    const w = await world({ smtp: { script: { on: 'rcpt', answer: reply } } })
    const ticket = await w.send('a@one.test')
    await w.rest()
    const status = await ticket.status()
    const explained = await why(w, ticket.id)
    expect(explained).toMatchObject({
      binding: 'back-off',
      reply,
      cause: 'recipient-rate',
      since: BEGIN,
      until: status?.recipients[0]?.nextAttemptAt,
    })
    expect(explained?.rule).toBe(status?.recipients[0]?.verdict?.rule)
    expect(explained?.sentence).toContain(`because of: ${reply}`)
  })

  it('a held lane, then its probe, for those behind it', async () => {
    const w = await world({
      route: 'direct',
      smtp: {
        script: [
          { on: 'rcpt', times: 1, answer: TOO_MANY },
          { on: 'rcpt', answer: 'hang' },
        ],
      },
    })
    await w.send('a@one.test')
    await w.rest()
    const behind = await w.send('b@one.test')
    expect(await why(w, behind.id)).toMatchObject({
      binding: 'hold',
      since: BEGIN,
      reply: TOO_MANY,
      cause: 'rate-limit',
    })
    const held = (await why(w, 'one.test'))?.until ?? 0
    expect(held).toBeGreaterThan(BEGIN + 4 * MINUTE)
    const probing = new Promise<void>((resolve) => void w.mailer.on('probing', () => resolve()))
    await w.clock.advance(held - BEGIN)
    await probing
    const states = await Promise.all((await w.mailer.list()).map((m) => why(w, m.id)))
    expect(states.map((s) => s?.binding).sort()).toEqual(['in-flight', 'probe'])
    expect(states.find((s) => s?.binding === 'probe')).toMatchObject({ reply: TOO_MANY, cause: 'rate-limit' })
  })

  it('a lane without tokens, and one at its cap', async () => {
    const w = await world({
      policies: [
        { name: 'slow', domains: ['slow.test'], rate: '6/h', burst: 1 },
        { name: 'capped', domains: ['capped.test'], caps: '1/d' },
      ],
    })
    await w.deliver('a@slow.test', 'a@capped.test')
    const slow = await w.send('b@slow.test')
    const capped = await w.send('b@capped.test')
    await w.rest()
    expect(await why(w, slow.id)).toMatchObject({ binding: 'token', until: BEGIN + 10 * MINUTE })
    const cap = await why(w, capped.id)
    expect(cap?.binding).toBe('cap')
    expect((cap?.until ?? 0) - BEGIN).toBeGreaterThanOrEqual(24 * HOUR)
  })

  it('the transport: its rate, its hold, its slots', async () => {
    const w = await world({ egress: { rate: '6/h', burst: 1 } })
    await w.deliver('a@one.test')
    const ticket = await w.send('b@two.test')
    await w.rest()
    expect(await why(w, ticket.id)).toMatchObject({ binding: 'egress-token', until: BEGIN + 10 * MINUTE })
    await w.mailer.hold('@egress', { for: '1h', reason: 'the relay moves' })
    expect(await why(w, ticket.id)).toMatchObject({
      binding: 'egress-hold',
      until: BEGIN + HOUR,
      advice: 'the relay moves',
    })
    expect(await why(w, '@egress')).toMatchObject({ binding: 'egress-hold' })
  })

  it('lanes, one by one', async () => {
    const w = await world({
      egress: { concurrency: 3 },
      smtp: { script: { on: 'rcpt', to: '@hangs.test', answer: 'hang' } },
    })
    for (let i = 0; i < 4; i++) await w.send(`u${i}@hangs.test`)
    await w.server.seen((l) => l.text.includes('u1@hangs.test'))
    await w.clock.settle()
    const lanes = await w.mailer.lanes()
    expect(lanes.map((l) => [l.lane, l.waiting, l.inFlight])).toEqual([
      ['@egress', 0, 2],
      ['hangs.test', 2, 2],
    ])
    expect((await why(w, 'hangs.test'))?.sentence).toBe(
      'hangs.test waits for a free connection; the last one is kept for a lane that has none',
    )
  })

  it('knows what binds at every moment of a hard day', async () => {
    const w = await world({
      egress: { rate: '30/min', burst: 3, concurrency: 2 },
      policies: [{ name: 'one', domains: ['one.test'], rate: '60/h', burst: 5, concurrency: 1 }],
      smtp: {
        script: [
          { on: 'rcpt', to: '@one.test', times: 3, answer: TOO_MANY },
          { on: 'rcpt', to: '@two.test', times: 9, answer: '451 4.3.0 Try again later' },
          { on: 'greeting', after: 4, times: 2, answer: '421 4.3.2 Too many concurrent connections' },
          { on: 'dot', to: /./, times: 2, answer: ['drop'] },
        ],
      },
    })
    const tickets = await Promise.all(
      Array.from({ length: 24 }, (_, i) =>
        w.send(`u${i}@${['one', 'two', 'three'][i % 3]}.test`, {
          priority: (['high', 'normal', 'bulk'] as const)[i % 3] ?? 'normal',
        }),
      ),
    )
    const seen = new Map<string, number>()
    for (let moment = 0; moment < 120; moment++) {
      await w.pass(moment < 60 ? 5_000 : 10 * MINUTE)
      for (const ticket of tickets) {
        for (const { binding, until, sentence } of (await w.mailer.explain(ticket.id)) ?? []) {
          seen.set(binding, (seen.get(binding) ?? 0) + 1)
          expect(sentence).not.toMatch(/undefined|NaN|Invalid/)
          const timed = /^(egress-)?(token|cap|hold)$|^(back-off|not-before|sender-hold)$/.test(binding)
          if (timed) expect(until, `${binding} says until when`).toBeGreaterThanOrEqual(w.clock.now())
        }
      }
    }
    expect(seen.get('turn') ?? 0, 'what could go has gone').toBeLessThan(24)
    expect([...seen.keys()].sort()).toEqual(expect.arrayContaining(['back-off', 'hold', 'settled']))
    expect((await w.mailer.health()).waiting).toBe(0)
  })
})
