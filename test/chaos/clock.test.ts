// The wall clock is set, forwards and back, while mail waits and while it is delivered.

import { createTransport } from 'nodemailer'
import { type Mailer, memoryStore, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { type ManualClock, manualClock, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { DAY, HOUR, MINUTE, mail, runner, world } from '../scenarios/world.ts'
import { files } from '../stores/fixtures/files.ts'

const fresh = files()

const JUMPS = [
  ['two hours back', -2 * HOUR],
  ['a year back', -365 * DAY],
  ['two hours on', 2 * HOUR],
  ['a year on', 365 * DAY],
] as const

const STORES = [
  ['memory', () => memoryStore()],
  ['sqlite', () => sqliteStore(fresh())],
] as const

describe.each(STORES)('%s: the clock is set', (_, store) => {
  it.each(JUMPS)('%s: new mail goes out within seconds, again and again', async (_, jump) => {
    const w = await world({
      store: store(),
      policies: [{ name: 'slow', domains: ['slow.test'], rate: '1/s' }],
    })
    await w.deliver('a@one.test', 'a@slow.test', 'b@slow.test')
    for (let n = 0; n < 3; n++) {
      if (n === 0) w.clock.jump(jump)
      const began = w.clock.monotonic()
      await w.deliver(`n${n}@one.test`, `n${n}@slow.test`, `m${n}@slow.test`)
      expect(w.clock.monotonic() - began).toBeLessThan(40_000)
      await w.pass(5 * MINUTE)
    }
    expect(w.server.messages).toHaveLength(12)
  })

  it('back: a lane that waits for a token or a hold does not wait for the lost hours too', async () => {
    const w = await world({
      store: store(),
      policies: [{ name: 'slow', domains: ['slow.test'], rate: '1/min' }],
    })
    await w.deliver('a@slow.test')
    const began = w.clock.monotonic()
    w.clock.jump(-5 * HOUR)
    const outcomes = Promise.all(
      ['b@slow.test', 'c@slow.test'].map(async (to) => (await w.send(to)).settled()),
    )
    await w.run(outcomes)
    expect(w.clock.monotonic() - began).toBeLessThan(4 * MINUTE)
  })

  it('back: an outcome that onSettled rejected is given again within seconds', async () => {
    let calls = 0
    const w = await world({
      store: store(),
      onSettled: () => {
        if (++calls < 3) throw new Error('not yet')
      },
    })
    await w.deliver('a@one.test')
    w.clock.jump(-5 * HOUR)
    await w.pass(20_000)
    expect(calls).toBe(3)
  })

  it('on: nothing expires before the clocks have settled, and back again in between nothing does', async () => {
    const w = await world({ store: store() })
    await w.mailer.hold('one.test')
    const ticket = await w.send('a@one.test', { ttl: '1h' })
    await w.pass(MINUTE)
    w.clock.jump(DAY)
    await w.pass(20_000)
    w.clock.jump(-DAY)
    await w.pass(10 * MINUTE)
    expect((await ticket.status())?.state).toBe('waiting')
    await w.mailer.release('one.test')
    expect((await w.run(ticket.settled())).status).toBe('accepted')
  })
})

it('a successor waits no longer than usual for the lease of who died before the clock went back', async () => {
  const file = fresh()
  const server = await smtpServer()
  onTestFinished(() => server.close())
  const clock = manualClock()
  const begin = (clock: ManualClock): Mailer =>
    wrapTransport(createTransport({ host: server.host, port: server.port, ignoreTLS: true } as never), {
      // the lease is judged by the store's clock too
      store: sqliteStore(file, { clock }),
      clock,
    })
  const first = begin(clock)
  await first.start()
  await first.hold('@egress')
  await first.sendWithRetry(mail('a@one.test'))
  // it dies: from here on nobody moves its clock
  const later = manualClock({ start: clock.now() - 3 * HOUR })
  const second = begin(later)
  await second.start()
  expect((await second.health()).state).toBe('standby')
  let owner = false
  second.on('owner', (e) => {
    owner = e.owner
  })
  await later.advanceUntil(() => owner, 30_000)
  expect(owner).toBe(true)
  await runner(later, second).run(second.close({ timeout: 0 }))
  await runner(clock, first).run(first.close({ timeout: 0 }))
})
