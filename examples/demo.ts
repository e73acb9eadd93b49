// The whole story in half a minute: a server that throttles, one that refuses, one that never lets through.
// Real sockets, a real SQLite file; time runs 600 times faster, so that two hours take twelve seconds.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ProviderPolicy, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { rateLimit, scaledClock, smtpServer } from 'steadymail/testing'

const FACTOR = 600
const MESSAGES = 60
const clock = scaledClock({ factor: FACTOR })
const began = clock.now()
const folder = mkdtempSync(join(tmpdir(), 'steadymail-demo-'))

// Twenty an hour per sender, and every refused try counts too: whoever keeps knocking never gets in.
const throttle = rateLimit({
  rate: '20/h',
  countsRetries: true,
  on: 'rcpt',
  to: '@throttling.test',
  reply: '421 4.7.0 Too many messages from your address, try again later',
})
const server = await smtpServer({
  now: clock.now,
  script: [
    throttle,
    { on: 'rcpt', to: 'nobody@throttling.test', answer: '550 5.1.1 User unknown' },
    {
      on: 'rcpt',
      to: '@strict.test',
      answer: '550 5.1.1 <nobody@strict.test>: Recipient address rejected: User unknown',
    },
    { on: 'rcpt', to: '@never.test', answer: '451 4.3.0 Mail server temporarily rejected message' },
  ],
})

const throttling = {
  name: 'throttling',
  domains: ['throttling.test'],
  rate: '40/h', // what we believed; the server allows half
  burst: 10,
  concurrency: 2,
  reactions: { 'rate-limit': { hold: '15m', rateFactor: 0.5 } },
} satisfies ProviderPolicy

const minutes = () => `${String(Math.round((clock.now() - began) / 60_000)).padStart(4)} min`
const say = (lane: string, text: string) => console.log(`${minutes()}  ${lane.padEnd(16)} ${text}`)
let accepted = 0

const mailer = wrapTransport(server.url, {
  store: sqliteStore(join(folder, 'outbox.db')),
  route: 'direct',
  policies: [throttling],
  clock,
  on: {
    held: (e) =>
      say(e.lane, `held until ${Math.round((e.until - began) / 60_000)} min by: ${e.reply ?? e.cause}`),
    probing: (e) => say(e.lane, 'probing with one message'),
    recovering: (e) => say(e.lane, 'slow start'),
    opened: (e) => say(e.lane, 'open'),
    accepted: (e) => {
      accepted++
      if (accepted % 10 === 0) say(e.recipient.lane, `${accepted} accepted so far`)
    },
    failed: (e) =>
      say(e.recipient.lane, `${e.recipient.address} failed: ${e.reason}, after ${e.recipient.tries} tries`),
    trouble: (e) => say(e.lane ?? '', `trouble: ${e.pattern}`),
  },
})

console.log(`1 second here is ${FACTOR / 60} minutes there. Server at ${server.url}, outbox in SQLite.\n`)
const send = (to: string, n: number, ttl?: '2h' | '1d') =>
  mailer.sendWithRetry(
    { from: 'shop@example.org', to, subject: `Order ${n}`, text: 'Thank you.' },
    { key: `order-${n}`, ttl: ttl ?? '1d' },
  )

const tickets = []
for (let n = 1; n <= MESSAGES; n++) tickets.push(await send(`customer${n}@throttling.test`, n))
tickets.push(await send('nobody@strict.test', MESSAGES + 1))
tickets.push(await send('anyone@never.test', MESSAGES + 2, '2h'))
say('', `${tickets.length} messages stored; from here on they cannot be lost`)

const outcomes = await Promise.all(tickets.map((t) => t.settled()))
await mailer.close()

console.log('\nrecipient                    outcome             tries  last reply')
const rows = outcomes.flatMap((o) => o.recipients)
const line = (r: (typeof rows)[number]) =>
  `${r.address.padEnd(28)} ${`${r.state}${r.reason ? ` (${r.reason})` : ''}`.padEnd(19)} ${String(r.tries).padStart(5)}  ${r.reply?.text.split('\n')[0]?.slice(0, 60)}`
for (const r of rows.slice(0, 3)) console.log(line(r))
console.log(
  `… ${MESSAGES - 3} more at throttling.test: ${rows.slice(3, MESSAGES).filter((r) => r.state === 'accepted').length} accepted`,
)
for (const r of rows.slice(MESSAGES)) console.log(line(r))

const copies = new Map<string, number>()
for (const m of server.messages) for (const to of m.to) copies.set(to, (copies.get(to) ?? 0) + 1)
const twice = [...copies.values()].filter((n) => n > 1).length
console.log(
  `\nThe server took ${server.messages.length} messages for ${copies.size} recipients, ${twice} of them twice.`,
)
await server.close()
rmSync(folder, { recursive: true })
