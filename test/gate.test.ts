// A quota shared beyond this process: permits are asked for when something can go, and only then.
// Bottleneck as the gate is test/bottleneck.test.ts.

import type { EgressGate } from 'steadymail'
import { scriptedTransport } from 'steadymail/testing'
import { expect, it } from 'vitest'
import { manualWorld } from './scenarios/manual-world.ts'
import { BEGIN, HOUR, MINUTE } from './scenarios/world.ts'

/** A gate that grants at once, and counts. */
function counting() {
  const asked = { times: 0 }
  const gate: EgressGate = {
    schedule(use) {
      asked.times++
      return use()
    },
  }
  return { gate, asked }
}

it('a message that was deferred is tried again behind a gate', async () => {
  const { gate } = counting()
  const transport = scriptedTransport(['450 4.2.0 Greylisted, try again in 300 seconds'])
  const w = await manualWorld({ egress: { gate }, transport })
  const ticket = await w.send('a@one.test')
  const outcome = await w.clock.runUntil(ticket.settled(), { limitMs: HOUR })
  expect(outcome.recipients[0]).toMatchObject({ state: 'accepted', tries: 2 })
})

it('no permit is asked for while the transport is held or has no tokens', async () => {
  const { gate, asked } = counting()
  const w = await manualWorld({ egress: { gate, rate: '6/h', burst: 1 } })
  await w.mailer.hold('@egress', { for: '1h' })
  for (let i = 0; i < 3; i++) await w.send(`user${i}@lane${i}.test`)
  await w.clock.advance(HOUR - MINUTE)
  expect(asked.times).toBe(0)
  await w.clock.runUntil(w.mailer.idle())
  expect(asked.times, 'one each').toBe(3)
})

it('explain says since when a gate has kept mail waiting', async () => {
  let open: () => void = () => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const gate: EgressGate = {
    schedule: (use) => opened.then(use),
    waitingMs: () => 90_000,
  }
  const w = await manualWorld({ egress: { gate } })
  const ticket = await w.send('a@one.test')
  await w.clock.advance(5 * MINUTE)
  const [why] = (await w.mailer.explain(ticket.id)) ?? []
  expect(why).toMatchObject({ binding: 'gate', since: BEGIN + 5 * MINUTE - 90_000 })
  expect(why).not.toHaveProperty('until')
  open()
  await w.clock.runUntil(ticket.settled())
})
