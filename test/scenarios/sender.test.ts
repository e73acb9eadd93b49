// A From domain that comes back from a hold: slowly, over all lanes, and none of them is forgotten.

import { scriptedTransport } from 'steadymail/testing'
import { expect, it } from 'vitest'
import { manualWorld } from './manual-world.ts'
import { HOUR } from './world.ts'

it('a From domain that is released leaves no lane behind', async () => {
  // answers take a while, so that lanes wait for each other's
  let later: (ms: number) => Promise<void> = async () => undefined
  const transport = scriptedTransport(async () => {
    await later(2_000)
    return undefined
  })
  const w = await manualWorld({ transport, route: 'direct' })
  later = (ms) => new Promise((resolve) => void w.clock.after(ms, resolve))
  await w.mailer.hold('@from:sender.test')
  for (let i = 0; i < 40; i++) await w.send(`user${i}@lane${i % 8}.test`)
  await w.clock.settle()
  expect(transport.attempts).toHaveLength(0)
  await w.mailer.release('@from:sender.test')
  await w.clock.runUntil(w.mailer.idle(), { limitMs: HOUR })
  expect(transport.attempts).toHaveLength(40)
})
