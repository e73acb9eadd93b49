// Several recipients in one transaction: each ends by its own reply, whatever stands beside it.

import { greylist, maxRecipients, recipients } from 'steadymail/testing'
import { describe, expect, it } from 'vitest'
import { BEGIN, MINUTE, world } from './world.ts'

const ROUTES = ['relay', 'direct'] as const

const REPLIES = {
  good: undefined,
  later: '450 4.2.1 The user you are trying to contact is receiving mail too quickly',
  never: '550 5.1.1 User unknown',
} as const

function orders<T>(list: readonly T[]): T[][] {
  if (list.length < 2) return [[...list]]
  return list.flatMap((one, i) => orders(list.filter((_, k) => k !== i)).map((rest) => [one, ...rest]))
}

describe.each(ROUTES)('%s: 250, 450 and 550 in one transaction', (route) => {
  it.each(orders(['good', 'later', 'never'] as const))('in the order %s %s %s', async (...order) => {
    let refuse = true
    const w = await world({
      route,
      smtp: {
        script: (event) => {
          if (event.phase !== 'rcpt') return undefined
          const name = event.to.split('@')[0] as keyof typeof REPLIES
          return name === 'later' && !refuse ? undefined : REPLIES[name]
        },
      },
    })
    const ticket = await w.send(order.map((name) => `${name}@one.test`))
    await w.rest()
    expect(w.asked('rcpt')).toBe(3)
    expect(w.asked('mail')).toBe(1)
    const state = async (name: string) =>
      (await ticket.status())?.recipients.find((r) => r.address === `${name}@one.test`)
    expect(await state('good')).toMatchObject({ state: 'accepted', reply: { phase: 'dot' } })
    expect(await state('never')).toMatchObject({ state: 'failed', reason: 'rejected', reply: { code: 550 } })
    expect(await state('later')).toMatchObject({ state: 'waiting', attempts: 1, reply: { code: 450 } })

    refuse = false
    const outcome = await w.run(ticket.settled())
    expect(outcome.status).toBe('partial')
    expect(await state('later')).toMatchObject({ state: 'accepted', attempts: 2 })
    expect(w.server.messages.map((m) => m.to)).toEqual([['good@one.test'], ['later@one.test']])
    expect(w.server.messages[0]?.text).toEqual(w.server.messages[1]?.text)
  })

  it('450 and 550 without a 250: the deferred one is not refused with the other', async () => {
    const script = recipients({ 'later@one.test': REPLIES.later, 'never@one.test': REPLIES.never })
    const w = await world({ route, smtp: { script } })
    const ticket = await w.send(['later@one.test', 'never@one.test'])
    await w.rest()
    expect((await ticket.status())?.recipients.map((r) => r.state)).toEqual(['waiting', 'failed'])
  })
})

describe.each(ROUTES)('%s: greylisting', (route) => {
  it('with a stated wait is tried again right after it, and holds nobody', async () => {
    const w = await world({ route, smtp: { script: greylist({ seconds: 300 }) } })
    const outcomes = await w.deliver('a@one.test', 'b@one.test')
    expect(outcomes.map((o) => o.recipients[0]?.tries)).toEqual([2, 2])
    expect(w.told.filter((t) => /^held/.test(t))).toEqual([])
    // the stated 300 s and up to a tenth more
    for (const {
      recipients: [r],
    } of outcomes) {
      const waited = (r?.history[1]?.at ?? 0) - BEGIN
      expect(waited).toBeGreaterThanOrEqual(300_000)
      expect(waited).toBeLessThanOrEqual(331_000)
    }
  })

  it('without one is tried again after a few minutes', async () => {
    const w = await world({
      route,
      smtp: {
        script: greylist({ seconds: 60, reply: '450 4.2.0 Greylisted, see http://postgrey.schweikert.ch/' }),
      },
    })
    const [outcome] = await w.deliver('a@one.test')
    expect(outcome?.recipients[0]?.history[0]?.verdict?.cause).toBe('greylist')
    expect(w.clock.now() - BEGIN).toBeLessThan(10 * MINUTE)
  })
})

describe.each(ROUTES)('%s: too many recipients', (route) => {
  it('the rest goes at once, uncounted', async () => {
    const w = await world({ route, smtp: { script: maxRecipients(3) } })
    const [outcome] = await w.deliver(Array.from({ length: 10 }, (_, i) => `user${i}@one.test`))
    expect(outcome?.status).toBe('accepted')
    expect(w.server.messages.map((m) => m.to.length)).toEqual([3, 3, 3, 1])
    expect(outcome?.recipients.map((r) => r.attempts)).toEqual(Array(10).fill(1))
    expect(w.clock.now(), 'nothing waited').toBe(BEGIN)
    expect(w.told.filter((t) => /^held/.test(t))).toEqual([])
  })

  it('refused after DATA, the batch is tried in halves, at once', async () => {
    const w = await world({
      route,
      smtp: {
        script: (event) =>
          event.phase === 'dot' && event.recipients.length > 3 ? '554 5.5.0 Transaction failed' : undefined,
      },
    })
    const [outcome] = await w.deliver(Array.from({ length: 10 }, (_, i) => `user${i}@one.test`))
    expect(outcome?.status).toBe('accepted')
    expect(w.server.messages.every((m) => m.to.length <= 3)).toBe(true)
    expect(w.server.messages.flatMap((m) => m.to).sort()).toEqual(
      Array.from({ length: 10 }, (_, i) => `user${i}@one.test`).sort(),
    )
    expect(w.clock.now()).toBe(BEGIN)
    expect(w.asked('data')).toBeLessThanOrEqual(8)
  })

  it('one bad recipient among ten that spoils the batch is the only one that fails', async () => {
    const w = await world({
      route,
      smtp: {
        script: (event) =>
          event.phase === 'dot' && event.recipients.includes('user4@one.test')
            ? '554 5.5.0 Transaction failed'
            : undefined,
      },
    })
    const [outcome] = await w.deliver(Array.from({ length: 10 }, (_, i) => `user${i}@one.test`))
    expect(outcome?.recipients.filter((r) => r.state === 'failed').map((r) => r.address)).toEqual([
      'user4@one.test',
    ])
    expect(w.server.messages.flatMap((m) => m.to)).toHaveLength(9)
  })
})
