// A server that says nothing: an attempt has a time of its own, and its slot comes back.

import { memoryStore, wrapTransport } from 'steadymail'
import { manualClock, smtpServer } from 'steadymail/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { MAJORS } from '../nodemailers.ts'
import { MINUTE, mail, world } from './world.ts'

describe('a server that hangs', () => {
  it.each(['greeting', 'ehlo', 'mail', 'rcpt', 'data'] as const)(
    'in %s costs one attempt timeout, and is no uncertainty',
    async (phase) => {
      const w = await world({
        attemptTimeout: '2m',
        smtp: { script: { on: phase, times: 1, answer: 'hang' } },
      })
      const ticket = await w.send('a@one.test')
      await w.server.seen((l) =>
        phase === 'greeting' ? l.kind === 'open' : l.kind === 'command' && l.phase === phase,
      )
      await w.clock.advance(2 * MINUTE)
      const outcome = await w.run(ticket.settled())
      expect(outcome.recipients[0]).toMatchObject({ state: 'accepted', uncertain: false, tries: 2 })
      expect(outcome.recipients[0]?.history[0]?.verdict).toMatchObject({
        cause: 'network',
        persistence: 'transient',
      })
      expect(w.server.messages).toHaveLength(1)
    },
  )

  it.each(MAJORS)(
    'after the dot is uncertain, and its slot is free again: nodemailer $major',
    async ({ nodemailer, major }) => {
      const clock = manualClock()
      const server = await smtpServer({
        script: (e) => (e.phase === 'dot' && e.recipients.includes('hangs@one.test') ? 'hang' : undefined),
      })
      const mailer = wrapTransport(
        nodemailer.createTransport({ host: server.host, port: server.port, ignoreTLS: true }) as never,
        {
          store: memoryStore(),
          clock,
          attemptTimeout: '2m',
          onUncertain: 'park',
          egress: { concurrency: 1 },
        },
      )
      onTestFinished(async () => {
        await server.close()
        await clock.runUntil(mailer.close({ timeout: 0 }))
      })
      const hangs = await mailer.sendWithRetry(mail('hangs@one.test'))
      await server.seen((l) => l.phase === 'data')
      const next = await mailer.sendWithRetry(mail('next@one.test'))
      await clock.advance(2 * MINUTE)
      expect((await next.settled()).status).toBe('accepted')
      // before nodemailer 10.5 nothing can be aborted: the claim is kept until the line breaks
      const before = (await hangs.status())?.recipients[0]?.state
      expect(before).toBe(major >= 10 ? 'parked' : 'claimed')
      await server.down()
      await clock.advance(1_000)
      await expect
        .poll(async () => (await hangs.status())?.recipients[0])
        .toMatchObject({
          state: 'parked',
          uncertain: true,
        })
    },
  )
})
