// The connection is lost after the body was handed over: it may have been delivered, and the user decides.

import { describe, expect, it } from 'vitest'
import { BEGIN, MINUTE, world } from './world.ts'

const ROUTES = ['relay', 'direct'] as const
/** The server takes the message and hangs up without a word. */
const taken = { on: 'dot', answer: { deliver: true, and: 'drop' } } as const

describe.each(ROUTES)('%s: the line drops after the final dot', (route) => {
  it("'retry' sends the same bytes again, and says that it may have come twice", async () => {
    const w = await world({ route, smtp: { script: { ...taken, times: 1 } } })
    const [outcome] = await w.deliver('a@one.test')
    expect(w.told.filter((t) => !/^held|^prob|^recov|^open/.test(t))).toEqual([
      'uncertain:a@one.test',
      'deferred:a@one.test',
      'accepted:a@one.test',
    ])
    expect(outcome?.recipients[0]).toMatchObject({ state: 'accepted', uncertain: true, tries: 2 })
    expect(outcome?.recipients[0]?.history.map((h) => h.uncertain ?? false)).toEqual([true, false])
    expect(w.server.messages).toHaveLength(2)
    expect(w.server.messages[1]?.text).toEqual(w.server.messages[0]?.text)
  })

  it("'retry' parks after the second uncertain outcome: nothing is sent thirty times", async () => {
    const w = await world({ route, smtp: { script: taken } })
    const ticket = await w.send('a@one.test')
    await w.pass(24 * 60 * MINUTE)
    expect(w.server.messages).toHaveLength(2)
    expect(w.told.at(-1)).toBe('parked:a@one.test')
    expect((await ticket.status())?.state).toBe('parked')
    expect((await w.mailer.health()).parked).toBe(1)
    expect((await w.mailer.explain(ticket.id))?.[0]).toMatchObject({ binding: 'parked' })
  })

  it("'park' leaves it to a person", async () => {
    const w = await world({ route, onUncertain: 'park', smtp: { script: { ...taken, times: 1 } } })
    await Promise.all(['a', 'b', 'c'].map((name) => w.send(`${name}@one.test`)))
    await w.pass(MINUTE)
    const [parked, ...others] = await w.mailer.list({ state: 'parked' })
    expect([parked?.state, others]).toEqual(['parked', []])
    expect(w.server.messages).toHaveLength(3)
    await w.mailer.resolveUncertain(parked?.id ?? '', 'deliver')
    const ticket = await w.mailer.ticket(parked?.id ?? '')
    const outcome = await w.run(ticket?.settled() ?? Promise.reject())
    expect(outcome.status).toBe('accepted')
    expect(w.server.messages).toHaveLength(4)
  })

  it("'fail' ends it", async () => {
    const w = await world({ route, smtp: { script: taken } })
    const ticket = await w.send('a@one.test', { onUncertain: 'fail' })
    const outcome = await w.run(ticket.settled())
    expect(outcome.recipients[0]).toMatchObject({ state: 'failed', reason: 'uncertain' })
    expect(w.server.messages).toHaveLength(1)
    expect(w.clock.now()).toBe(BEGIN)
  })

  it('a drop while the body is being read is no uncertainty', async () => {
    const w = await world({ route, smtp: { script: { on: 'body', bytes: 50_000, answer: ['drop'] } } })
    const ticket = await w.mailer.sendWithRetry({
      from: 'shop@sender.test',
      to: 'a@one.test',
      subject: 'Large',
      text: `${'x'.repeat(70)}\n`.repeat(80_000),
    })
    const outcome = await w.run(ticket.settled())
    expect(outcome.recipients[0]).toMatchObject({ state: 'accepted', uncertain: false, tries: 2 })
    expect(w.told).not.toContain('uncertain:a@one.test')
    expect(w.server.messages).toHaveLength(1)
  })
})

it('a person may take a parked delivery as accepted or as failed', async () => {
  const w = await world({ onUncertain: 'park', smtp: { script: taken } })
  const one = await w.send('a@one.test')
  const two = await w.send('b@one.test')
  await w.pass(5 * MINUTE)
  expect((await w.mailer.resolveUncertain(one.id, 'accepted'))?.recipients[0]?.state).toBe('accepted')
  expect((await w.mailer.resolveUncertain(two.id, 'failed', 'b@ONE.test'))?.recipients[0]).toMatchObject({
    state: 'failed',
    reason: 'uncertain',
  })
  expect((await w.run(one.settled())).status).toBe('accepted')
  expect((await w.run(two.settled())).status).toBe('failed')
  await expect(w.mailer.resolveUncertain(one.id, 'deliver')).rejects.toThrow(
    `resolveUncertain('${one.id}'): no recipient is parked`,
  )
  await expect(w.mailer.resolveUncertain(one.id, 'deliver', 'b@one.test')).rejects.toThrow(
    `resolveUncertain('${one.id}'): no recipient b@one.test is parked`,
  )
  await expect(w.mailer.resolveUncertain(one.id, 'maybe' as never)).rejects.toThrow(
    "resolveUncertain: expected 'deliver', 'accepted' or 'failed', got 'maybe'",
  )
  expect(await w.mailer.resolveUncertain('unknown', 'deliver')).toBeUndefined()
})
