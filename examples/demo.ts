// The whole story in a quarter of a minute: one server throttles with 421, its lane is held, probed and recovers;
// one greylists, one refuses for good, one never lets through. Real sockets, a real SQLite file; time runs 600 times
// faster. Ends with an error when a message was lost or delivered twice.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ProviderPolicy, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'
import { greylist, rateLimit, scaledClock, smtpServer } from 'steadymail/testing'

const FACTOR = 600
const CUSTOMERS = 40
const clock = scaledClock({ factor: FACTOR })
const began = clock.now()
const folder = mkdtempSync(join(tmpdir(), 'steadymail-demo-'))

const server = await smtpServer({
  now: clock.now,
  script: [
    rateLimit({
      to: '@busy.test',
      on: 'rcpt',
      rate: '20/h',
      countsRetries: true, // as GMX does: whoever keeps knocking never gets in
      reply: '421 4.7.0 Too many messages from your address, try again later',
    }),
    (event) => (event.to.endsWith('@grey.test') ? greylisted(event) : undefined),
    { on: 'rcpt', to: '@strict.test', answer: '550 5.1.1 User unknown' },
    { on: 'rcpt', to: '@never.test', answer: '451 4.7.1 Greylisted, please try again later' },
  ],
})
const greylisted = greylist({ seconds: 300 })

const busy = {
  name: 'busy',
  domains: ['busy.test'],
  rate: '40/h', // what we believed; the server allows half of it
  burst: 10,
  reactions: { 'rate-limit': { hold: '20m', rateFactor: 0.5 } },
} satisfies ProviderPolicy

const time = (at: number) => {
  const minutes = Math.max(0, Math.round((at - began) / 60_000))
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`
}
const say = (lane: string, text: string) =>
  console.log(`${time(clock.now()).padStart(6)}  ${lane.padEnd(11)}  ${text}`)
let accepted = 0

const mailer = wrapTransport(server.url, {
  store: sqliteStore(join(folder, 'outbox.db')),
  route: 'direct', // the server stands for the recipients' own
  policies: [busy],
  clock,
  on: {
    held: (e) => say(e.lane, `HELD until ${time(e.until)} by: ${e.reply}`),
    probing: (e) => say(e.lane, 'probing with one message'),
    recovering: (e) => say(e.lane, 'SLOW START: the probe passed'),
    opened: (e) => say(e.lane, 'OPEN again'),
    accepted: (e) => {
      if (e.recipient.lane !== 'busy.test') return say(e.recipient.lane, `accepted ${e.recipient.address}`)
      accepted++
      if (accepted % 5 === 0)
        say(
          'busy.test',
          `${'#'.repeat(accepted / 2).padEnd(CUSTOMERS / 2, '.')} ${accepted} of ${CUSTOMERS} accepted`,
        )
    },
    deferred: (e) => {
      if (e.recipient.lane !== 'busy.test')
        say(e.recipient.lane, `deferred until ${time(e.nextAttemptAt)}: ${e.reply.text}`)
    },
    failed: (e) =>
      say(
        e.recipient.lane,
        `FAILED, ${e.reason} ${e.recipient.tries === 1 ? 'at the first try' : `after ${e.recipient.tries} tries`}: ${e.reply?.text}`,
      ),
  },
})

console.log(`steadymail against a real SMTP server (${server.url}), with a real SQLite outbox (${folder}).
Time runs ${FACTOR} times faster: a second here is ${FACTOR / 60} minutes of delivery. busy.test takes 20 mails an hour,
counts refused tries as well, and is believed to take 40.\n\n  time  lane         what happens`)

const customers = Array.from({ length: CUSTOMERS }, (_, n) => `customer${n + 1}@busy.test`)
const addresses = [...customers, 'ada@grey.test', 'nobody@strict.test', 'anyone@never.test']
const tickets = await Promise.all(
  addresses.map((to, n) =>
    mailer.sendWithRetry(
      { from: 'shop@example.org', to, subject: `Order ${n + 1}`, text: 'Thank you.' },
      { key: `order-${n + 1}`, ttl: to.endsWith('never.test') ? '2h' : '5d' },
    ),
  ),
)
say('', `${tickets.length} messages are on disk; from here on none can be lost`)
const outcomes = await Promise.all(tickets.map((ticket) => ticket.settled()))
await mailer.close()

const rows = outcomes.flatMap((outcome) => outcome.recipients)
const isPlain = (row: (typeof rows)[number]) => row.state === 'accepted' && row.tries === 1
const plain = rows.filter(isPlain).length
console.log('\nrecipient             outcome            tries  last reply')
for (const row of rows.filter((each) => !isPlain(each) || each.address === customers[0])) {
  const outcome = row.reason ? `${row.state} (${row.reason})` : row.state
  console.log(
    `${row.address.padEnd(20)}  ${outcome.padEnd(17)}  ${String(row.tries).padStart(5)}  ${row.reply?.text}`,
  )
}
console.log(
  `and ${plain - (isPlain(rows[0] as (typeof rows)[number]) ? 1 : 0)} more, accepted at the first try`,
)

const copies = new Map<string, number>()
for (const { to } of server.messages) for (const one of to) copies.set(one, (copies.get(one) ?? 0) + 1)
const lost = rows.filter((row) => row.state === 'accepted' && !copies.has(row.address)).length
const twice = [...copies.values()].filter((count) => count > 1).length
const unended =
  addresses.length - rows.filter((row) => row.state === 'accepted' || row.state === 'failed').length
const refusals = server.log.filter((line) => line.kind === 'reply' && line.text.startsWith('421')).length
console.log(
  `\nThe server said 421 ${refusals} times. ${server.messages.length} messages arrived, ${lost} were lost, ${twice} came twice, ${unended} have no outcome.`,
)
await server.close()
rmSync(folder, { recursive: true })
if (lost + twice + unended > 0 || copies.size !== CUSTOMERS + 1) process.exitCode = 1
