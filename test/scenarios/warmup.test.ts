// A new address begins slowly: the stages of `egress: { warmup }`, what moves them on, and what explain says meanwhile.

import { scriptedTransport } from 'steadymail/testing'
import { describe, expect, it } from 'vitest'
import { manualWorld } from './manual-world.ts'
import { BEGIN, DAY, HOUR } from './world.ts'

const warmup = { start: '2026-01-01', daily: [10, 20, 40] }

describe('a transport that warms up', () => {
  it('sends a day’s stage a day, and without limit when the plan is over', async () => {
    const w = await manualWorld({ egress: { warmup } })
    for (let i = 0; i < 100; i++) await w.send(`user${i}@lane${i % 7}.test`)
    const perDay: number[] = []
    let before = 0
    for (let day = 0; day < 4; day++) {
      await w.clock.advance(day === 0 ? DAY - HOUR : DAY)
      perDay.push(w.transport.attempts.length - before)
      before = w.transport.attempts.length
    }
    // a tenth of each stage is kept for high priority
    expect(perDay).toEqual([9, 18, 36, 37])
  })

  it('says that it is the warm-up, and until when', async () => {
    const w = await manualWorld({ egress: { warmup } })
    for (let i = 0; i < 9; i++) await w.send(`user${i}@one.test`)
    await w.clock.settle()
    const normal = await w.send('late@two.test')
    await w.clock.advance(HOUR)
    const why = async (id: string) => (await w.mailer.explain(id))?.[0]
    expect(await why(normal.id)).toMatchObject({ binding: 'egress-reserve', until: BEGIN + DAY })
    const high = await w.send('reset@two.test', { priority: 'high' })
    await w.clock.settle()
    expect((await high.status())?.state).toBe('settled')
    expect(await why(normal.id)).toMatchObject({ binding: 'egress-warmup', until: BEGIN + DAY })
    expect(await why('@egress')).toMatchObject({ binding: 'egress-warmup', until: BEGIN + DAY })
    expect((await why(normal.id))?.sentence).toContain('waits for the next stage of the transport’s warm-up')
    const [egress] = await w.mailer.lanes()
    expect(egress?.warmup).toEqual({ stage: 0, allowed: 10, sent: 10, delivered: 10 })
  })

  it.each([
    { refused: 1, stage: 1, sent: 18 },
    { refused: 2, stage: 0, sent: 9 },
  ])('of ten, $refused refused: the next day is stage $stage', async ({ refused, stage, sent }) => {
    const w = await manualWorld({
      egress: { warmup },
      transport: scriptedTransport(({ to }) =>
        to[0]?.startsWith('nobody') ? '550 5.1.1 User unknown' : undefined,
      ),
    })
    for (let i = 0; i < 10; i++)
      await w.send(`${i < refused ? 'nobody' : 'user'}${i}@one.test`, { priority: 'high' })
    await w.clock.advance(HOUR)
    for (let i = 0; i < 50; i++) await w.send(`more${i}@one.test`)
    await w.clock.advance(DAY)
    const [egress] = await w.mailer.lanes()
    expect(egress?.warmup).toMatchObject({ stage, sent })
  })
})
