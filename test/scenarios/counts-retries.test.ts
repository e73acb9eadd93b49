// A server like GMX or WEB.DE, where every refused try counts against the rate: whoever keeps knocking never gets in.

import { createTransport } from 'nodemailer'
import { manualClock, rateLimit, smtpServer } from 'steadymail/testing'
import { expect, it, onTestFinished } from 'vitest'
import { BEGIN, HOUR, MINUTE, mail, world } from './world.ts'

const MESSAGES = 40
/** What the provider allows; what is configured below is three times as much. */
const limit = () =>
  rateLimit({
    rate: '20/h',
    countsRetries: true,
    on: 'rcpt',
    reply: '421 4.7.0 Too many messages, try again later',
  })

/** What many applications do: all at once, then each again every ten minutes, for half a day. */
async function naively(): Promise<{ arrived: number; tries: number }> {
  const clock = manualClock()
  const server = await smtpServer({ now: clock.now, script: limit() })
  const transporter = createTransport({ host: server.host, port: server.port, ignoreTLS: true })
  onTestFinished(() => server.close())
  let waiting = Array.from({ length: MESSAGES }, (_, i) => `user${i}@gmx.test`)
  for (let hours = 0; hours < 12 && waiting.length > 0; hours += 1 / 6) {
    const sent = await Promise.allSettled(waiting.map((to) => transporter.sendMail(mail(to))))
    waiting = waiting.filter((_, i) => sent[i]?.status === 'rejected')
    await clock.advance(10 * MINUTE)
  }
  return { arrived: MESSAGES - waiting.length, tries: server.counts.rcpt }
}

it('a server that counts retries: naive retrying never gets through, steadymail drains the queue', async () => {
  const naive = await naively()

  const w = await world({
    route: 'direct',
    smtp: { script: limit() },
    policies: [{ name: 'gmx', domains: ['gmx.test'], rate: '60/h', burst: 10 }],
  })
  const outcomes = await w.deliver(...Array.from({ length: MESSAGES }, (_, i) => `user${i}@gmx.test`))
  const arrived = outcomes.filter((o) => o.status === 'accepted').length
  const hours = (w.clock.now() - BEGIN) / HOUR
  console.log(
    `of ${MESSAGES} messages, naive retrying delivered ${naive.arrived} in 12 h with ${naive.tries} tries; ` +
      `steadymail ${arrived} in ${hours.toFixed(1)} h with ${w.server.counts.rcpt} tries`,
  )
  expect(naive.arrived).toBe(20)
  expect(arrived).toBe(MESSAGES)
  expect(w.server.messages).toHaveLength(MESSAGES)
  expect(hours).toBeLessThan(12)
  expect(w.server.counts.rcpt).toBeLessThan(1.5 * MESSAGES)
})
