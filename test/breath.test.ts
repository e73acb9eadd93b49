// Work by promises alone gives the event loop its turns.

import { expect, it } from 'vitest'
import { Breath } from '../src/breath.ts'
import { type Clock, systemClock } from '../src/clock.ts'
import { memoryStore, wrapTransport } from '../src/index.ts'
import { Pace } from '../src/pace.ts'
import { scriptedTransport } from '../src/testing.ts'

/** The system's, but for a stopwatch that is set by hand, and counted turns. */
function stopwatch(scale?: number) {
  let now = 0
  let turns = 0
  const clock: Clock = {
    ...systemClock,
    monotonic: () => now,
    turn: (callback) =>
      systemClock.turn(() => {
        turns++
        callback()
      }),
    ...(scale === undefined ? {} : { scale }),
  }
  return {
    clock,
    pass: (ms: number) => {
      now += ms
    },
    turns: () => turns,
  }
}

it('is spent when a turn of the event loop has taken 4 ms, and not in the next one', async () => {
  const { clock, pass } = stopwatch()
  const breath = new Breath(clock)
  expect(breath.isSpent).toBe(false)
  pass(3)
  expect(breath.isSpent).toBe(false)
  pass(1)
  expect(breath.isSpent).toBe(true)
  const { turn } = breath
  await breath.next()
  expect(breath.isSpent).toBe(false)
  expect(breath.turn).toBe(turn + 1)
})

it('goes by the machine, not by a clock that runs faster', () => {
  const { clock, pass } = stopwatch(20)
  const breath = new Breath(clock)
  expect(breath.isSpent).toBe(false)
  pass(79)
  expect(breath.isSpent).toBe(false)
  pass(1)
  expect(breath.isSpent).toBe(true)
})

it('a pace waits for a turn after 32 steps, and after one that takes long', async () => {
  const { clock, pass } = stopwatch()
  const pace = new Pace(new Breath(clock))
  const waits = Array.from({ length: 64 }, () => pace.step() !== undefined)
  expect(waits.flatMap((waited, n) => (waited ? [n + 1] : []))).toEqual([32, 64])
  await pace.step()
  pass(6)
  expect(pace.step()).toBeDefined()
})

it('a transport that answers at once keeps a turn of the event loop for two rounds at most', async () => {
  const mostATurn = async (ms: number) => {
    const { clock, pass, turns } = stopwatch()
    const transport = scriptedTransport()
    const send = transport.send.bind(transport)
    const perTurn = new Map<number, number>()
    let held: (() => void)[] | undefined = []
    transport.send = (mail, done) => {
      if (held) {
        held.push(() => send(mail, done))
        return
      }
      pass(ms)
      perTurn.set(turns(), (perTurn.get(turns()) ?? 0) + 1)
      send(mail, done)
    }
    const mailer = wrapTransport(transport, {
      store: memoryStore(),
      clock,
      egress: { concurrency: 10 },
      policies: [{ name: 'all', domains: ['*'], rate: '100000/s', burst: 100_000 }],
    })
    await mailer.start()
    await Promise.all(
      Array.from({ length: 300 }, (_, n) =>
        mailer.sendWithRetry({
          envelope: { from: 'a@us.test', to: [`a@d${n}.test`] },
          raw: 'Subject: x',
        }),
      ),
    )
    const first = held
    held = undefined
    for (const release of first) release()
    await mailer.idle()
    expect(transport.attempts).toHaveLength(300)
    await mailer.close()
    return Math.max(...perTurn.values())
  }
  expect(await mostATurn(0)).toBeGreaterThan(20)
  // the second is claimed before the first has shown how long it takes
  expect(await mostATurn(6)).toBeLessThanOrEqual(20)
})

it('mail sent one after another comes in four a turn, however much of the turn a transport that blocks has taken', async () => {
  const { clock, pass, turns } = stopwatch()
  const mailer = wrapTransport(scriptedTransport(), { store: memoryStore(), clock, deliver: false })
  const perTurn = new Map<number, number>()
  mailer.on('queued', () => {
    pass(10)
    perTurn.set(turns(), (perTurn.get(turns()) ?? 0) + 1)
  })
  for (let n = 0; n < 80; n++) {
    await mailer.sendWithRetry({ envelope: { from: 'a@us.test', to: [`a@d${n}.test`] }, raw: 'Subject: x' })
  }
  // eight of those that are stored as they come; one that is built counts for two
  expect([...perTurn.values()]).toEqual(Array(20).fill(4))
  await mailer.close()
})
