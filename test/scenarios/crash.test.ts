// Processes that die while they send: each generation below is left as a kill would leave it, and never asked again.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type OnUncertain, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { manualClock, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { BEGIN, MINUTE, mail, runner } from './world.ts'

/** Generations of a process on one outbox, whose server takes each message and never says so. */
async function generations(onUncertain: OnUncertain = 'retry') {
  const folder = mkdtempSync(join(tmpdir(), 'steadymail-crash-'))
  const server = await smtpServer({ script: { on: 'dot', answer: { deliver: true, and: 'hang' } } })
  onTestFinished(async () => {
    await server.close()
    rmSync(folder, { recursive: true, force: true })
  })
  let born = 0
  return {
    server,
    /** The next process, so long after the first; its clock is its own, so that it lives only while it is asked. */
    next(afterMs: number) {
      const clock = manualClock({ start: BEGIN + afterMs })
      const told: string[] = []
      const mailer = wrapTransport(
        { host: server.host, port: server.port, ignoreTLS: true },
        {
          store: sqliteStore(join(folder, 'outbox.db')),
          clock,
          onUncertain,
          on: { parked: (e) => told.push(`parked ${e.why}`), uncertain: () => told.push('uncertain') },
        },
      )
      onTestFinished(() => clock.runUntil(mailer.close({ timeout: 0 })))
      born++
      return { mailer, clock, told, name: born }
    },
  }
}

describe('a message that is being sent when the process dies', () => {
  it('is tried again, then again after a quarter of an hour, and at the third crash parked', async () => {
    const g = await generations()
    const first = g.next(0)
    const ticket = await first.mailer.sendWithRetry(mail('a@one.test'))
    await g.server.seen((l) => l.kind === 'message' && l.session === 1)

    const second = g.next(20 * MINUTE)
    await second.mailer.start()
    await g.server.seen((l) => l.kind === 'message' && l.session === 2)

    const third = g.next(40 * MINUTE)
    await third.mailer.start()
    await runner(third.clock, third.mailer).pass(14 * MINUTE)
    expect(g.server.messages, 'not at every start').toHaveLength(2)
    await third.clock.advance(2 * MINUTE)
    await g.server.seen((l) => l.kind === 'message' && l.session === 3)

    const fourth = g.next(80 * MINUTE)
    await fourth.mailer.start()
    await runner(fourth.clock, fourth.mailer).pass(60 * MINUTE)
    expect(g.server.messages).toHaveLength(3)
    expect(fourth.told).toEqual(['uncertain', 'parked crashes'])
    const status = await fourth.mailer.status(ticket.id)
    expect(status?.recipients[0]).toMatchObject({ state: 'parked', uncertain: true, tries: 3 })
    expect(status?.recipients[0]?.history).toHaveLength(3)
    expect(new Set(g.server.messages.map((m) => m.text)).size, 'the same bytes each time').toBe(1)
  })

  it.each([
    ['park', 'parked', undefined],
    ['fail', 'failed', 'uncertain'],
  ] as const)("onUncertain '%s' sends it no second time", async (onUncertain, state, reason) => {
    const g = await generations(onUncertain)
    const ticket = await g.next(0).mailer.sendWithRetry(mail('a@one.test'))
    await g.server.seen((l) => l.kind === 'message')
    const second = g.next(20 * MINUTE)
    await second.mailer.start()
    await runner(second.clock, second.mailer).pass(60 * MINUTE)
    const recipient = (await second.mailer.status(ticket.id))?.recipients[0]
    expect([recipient?.state, recipient?.reason, recipient?.uncertain]).toEqual([state, reason, true])
    expect(g.server.messages).toHaveLength(1)
  })
})
