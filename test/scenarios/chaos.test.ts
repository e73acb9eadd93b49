// A server that does everything wrong, by chance, for hours, while the mailer is restarted: what must hold
// whatever happens. The chance is seeded, so that a failure repeats.

import { type Mailer, memoryStore, wrapTransport } from 'steadymail'
import { manualClock, type SmtpAnswer, smtpServer } from 'steadymail/testing'
import { expect, it, onTestFinished } from 'vitest'
import { HOUR, MINUTE, mail, runner } from './world.ts'

const MESSAGES = 48

const ANSWERS: Readonly<Record<string, readonly SmtpAnswer[]>> = {
  greeting: [
    '421 4.3.2 Service not available',
    '421 4.7.0 Too many connections',
    '554 5.7.1 Go away',
    'drop',
  ],
  ehlo: ['421 4.7.0 Try again later', 'drop'],
  mail: ['421 4.7.0 Too many messages, try again later', '451 4.3.0 Not now', 'drop'],
  rcpt: [
    '450 4.2.1 Receiving mail too quickly',
    '550 5.1.1 User unknown',
    '421 4.7.0 Try again later',
    '452 4.5.3 Too many recipients',
    '451 4.7.1 Greylisted, try again in 120 seconds',
    'drop',
  ],
  data: ['451 4.3.0 Not now', '421 4.7.0 Try again in 5 minutes'],
  body: ['drop'],
  dot: [
    '451 4.3.0 Not now',
    '550 5.7.1 Message refused',
    '421 4.7.0 Too many messages, try again later',
    'drop',
    { deliver: true, and: 'drop' },
  ],
}

it.each([1, 2, 3, 4])(
  'nothing is lost or sent twice unmarked, whatever the server does (%i)',
  async (seed) => {
    const clock = manualClock({ seed })
    const dice = manualClock({ seed: 1000 + seed }).random
    const trouble = { until: clock.now() + 6 * HOUR }
    const server = await smtpServer({
      now: clock.now,
      script: ({ phase }) => {
        const answers = ANSWERS[phase]
        if (answers === undefined || clock.now() > trouble.until || dice() > 0.12) return undefined
        return answers[Math.floor(dice() * answers.length)]
      },
    })
    const store = memoryStore()
    await store.open()
    onTestFinished(async () => {
      await store.close()
      await server.close()
    })
    const seen = new Map<string, number>()
    const open = (): Mailer =>
      wrapTransport(
        {
          host: server.host,
          port: server.port,
          ignoreTLS: true,
          pool: seed % 2 === 0,
          maxRequeues: seed % 4 === 0 ? 5 : 0,
        },
        {
          store,
          clock,
          retention: { accepted: '3d', failed: '30d' }, // all is counted at the end
          route: seed % 3 === 0 ? 'direct' : 'relay',
          // a person who takes what may have arrived for arrived
          on: { parked: ({ id }) => mailer.resolveUncertain(id, 'accepted') },
          onSettled: ({ id }) => seen.set(id, (seen.get(id) ?? 0) + 1),
        },
      )
    let mailer = open()
    for (let i = 0; i < MESSAGES; i++) {
      const domain = `d${i % 6}.test`
      const to = i % 4 === 0 ? Array.from({ length: 5 }, (_, k) => `u${i}-${k}@${domain}`) : `u${i}@${domain}`
      await mailer.sendWithRetry(mail(to), {
        key: `m${i}`,
        priority: (['high', 'normal', 'bulk'] as const)[i % 3] ?? 'normal',
      })
    }
    for (let restart = 0; restart < 3; restart++) {
      await runner(clock, mailer).pass(20 * MINUTE)
      await mailer.close({ timeout: '30s' })
      mailer = open()
      await mailer.start()
    }
    const unsettled = (await mailer.list({ limit: 1000 })).filter((m) => m.state !== 'settled')
    const tickets = await Promise.all(unsettled.map((m) => mailer.ticket(m.id)))
    for (const { id, state } of unsettled)
      if (state === 'parked') await mailer.resolveUncertain(id, 'accepted')
    await runner(clock, mailer).run(Promise.all(tickets.map((t) => t?.settled())))

    const copies = new Map<string, number>()
    for (const message of server.messages)
      for (const to of message.to) copies.set(to, (copies.get(to) ?? 0) + 1)
    const statuses = await mailer.list({ limit: 1000 })
    expect(statuses).toHaveLength(MESSAGES)
    for (const { id, recipients } of statuses) {
      expect(seen.get(id), 'onSettled').toBeGreaterThanOrEqual(1)
      for (const r of recipients) {
        const arrived = copies.get(r.address) ?? 0
        const about = `${r.address}: ${r.state} ${r.reason ?? ''}, arrived ${arrived}, ${r.history.map((h) => h.reply.text).join(' | ')}`
        expect(['accepted', 'failed'], about).toContain(r.state)
        expect(r.history.length, about).toBe(r.tries)
        if (!r.uncertain) expect(arrived, about).toBe(r.state === 'accepted' ? 1 : 0)
        if (r.state === 'accepted' && !r.uncertain) expect(r.history.at(-1)?.verdict, about).toBeUndefined()
        if (r.reason === 'rejected') expect(r.reply?.code, about).toBeGreaterThanOrEqual(500)
        expect(arrived, about).toBeLessThanOrEqual(3)
      }
    }
    await mailer.close()
  },
)
