// Who goes first: priorities above lanes, lanes in turn, and the last slot for a lane that has none.

import { describe, expect, it } from 'vitest'
import { BEGIN, world } from './world.ts'

describe('behind a transport of 14 a second', () => {
  it('a password reset overtakes four hundred of bulk', async () => {
    const w = await world({ egress: { rate: '14/s' } })
    await Promise.all(
      Array.from({ length: 400 }, (_, i) => w.send(`user${i}@bulk${i % 20}.test`, { priority: 'bulk' })),
    )
    await w.pass(5_000)
    const before = w.server.messages.length
    const reset = await w.send('reset@one.test', { priority: 'high' })
    const outcome = await w.run(reset.settled())
    expect(outcome.settledAt - BEGIN - 5_000).toBeLessThanOrEqual(1_000)
    expect(w.server.messages.length - before).toBeLessThanOrEqual(14)
    await w.run(w.mailer.idle())
    const seconds = (w.clock.now() - BEGIN) / 1000
    expect(seconds).toBeGreaterThan((401 - 70) / 14 - 1)
    expect(seconds).toBeLessThan(401 / 14 + 2)
  })

  it('normal and bulk keep a tenth each while there is more urgent mail', async () => {
    const w = await world({ egress: { rate: '14/s', burst: 1 } })
    await w.mailer.hold('@egress')
    for (let i = 0; i < 60; i++) {
      await w.send(`bulk${i}@a.test`, { priority: 'bulk' })
      await w.send(`high${i}@b.test`, { priority: 'high' })
      await w.send(`normal${i}@c.test`)
    }
    await w.mailer.release('@egress')
    await w.run(w.mailer.idle())
    const order = w.server.messages.map((m) => m.to[0]?.match(/[a-z]+/)?.[0])
    const share = (kind: string, from: number, to: number) =>
      order.slice(from, to).filter((k) => k === kind).length
    // while high goes, normal and bulk are each owed one for nine of it; then bulk one for nine of normal
    expect(share('high', 0, 75)).toBe(60)
    expect(share('bulk', 0, 75)).toBeGreaterThanOrEqual(5)
    expect(share('bulk', 0, 75)).toBeLessThanOrEqual(9)
    expect(share('normal', 0, 75)).toBeGreaterThanOrEqual(5)
    expect(share('normal', 75, 125)).toBeGreaterThan(40)
  })

  it('no message is overtaken for ever, however much that is more urgent keeps coming', async () => {
    const w = await world({ egress: { rate: '10/s', burst: 1 } })
    const [normal, bulk] = await Promise.all([
      w.send('normal@c.test'),
      w.send('bulk@a.test', { priority: 'bulk' }),
      ...Array.from({ length: 300 }, (_, i) => w.send(`high${i}@b.test`, { priority: 'high' })),
    ])
    const ended = await w.run(Promise.all([normal.settled(), bulk.settled()]))
    for (const outcome of ended) expect(outcome.settledAt - BEGIN).toBeLessThan(5_000)
    expect(w.server.messages.length).toBeLessThan(60)
  })

  it('lanes of one priority take turns, however much one has', async () => {
    const w = await world({ egress: { rate: '14/s', burst: 1 } })
    await w.mailer.hold('@egress')
    for (let i = 0; i < 200; i++) await w.send(`user${i}@large.test`)
    for (let i = 0; i < 10; i++) await w.send(`user${i}@small.test`)
    await w.mailer.release('@egress')
    await w.run(w.mailer.idle())
    const last = w.server.messages.map((m) => m.to[0]).lastIndexOf('user9@small.test')
    expect(last).toBeLessThan(25)
  })
})

it('a lane that hangs never takes the last slot', async () => {
  const w = await world({
    egress: { concurrency: 3 },
    smtp: { script: { on: 'rcpt', to: '@hangs.test', answer: 'hang' } },
  })
  for (let i = 0; i < 10; i++) await w.send(`user${i}@hangs.test`)
  await w.server.seen((line) => line.text.includes('user1@hangs.test'))
  const others = await Promise.all(Array.from({ length: 20 }, (_, i) => w.send(`user${i}@fast.test`)))
  await Promise.all(others.map((t) => t.settled()))
  expect(w.server.messages).toHaveLength(20)
  expect(w.asked('rcpt') - 20, 'two of three slots').toBe(2)
  expect((await w.mailer.explain('hangs.test'))?.[0]?.binding).not.toBe('unknown')
})
