// Live events are for dashboards and alerts: typed, best effort. What must not be missed is onSettled's.
// SMTP_URL=smtp://… npx tsx examples/events.ts

import { memoryStore, wrapTransport } from 'steadymail'

const mailer = wrapTransport(process.env.SMTP_URL ?? 'smtp://localhost:1025', {
  store: memoryStore(),
  on: {
    accepted: (e) => console.log(`${e.recipient.address}: ${e.reply.text}`),
    deferred: (e) => console.log(`${e.recipient.address}: ${e.verdict.cause}, ${e.verdict.advice}`),
    failed: (e) => console.log(`${e.key} to ${e.recipient.address} ${e.reason}: ${e.reply?.text}`),
    held: (e) => console.log(`${e.lane} waits until ${new Date(e.until).toISOString()}: ${e.reply}`),
    opened: (e) => console.log(`${e.lane} runs at full speed again`),
    trouble: (e) => console.log(`somebody should look: ${e.pattern}. ${e.advice} ${e.url ?? ''}`),
  },
})

const stop = mailer.on('settled', (outcome) => console.log(`${outcome.key} ended: ${outcome.status}`))
await mailer.sendWithRetry(
  {
    from: 'shop@example.org',
    to: ['ada@example.com', 'nobody@example.com'],
    subject: 'Order 43',
    text: 'Sent.',
  },
  { key: 'order-43', meta: { customer: 7 } },
)
await mailer.idle()

for (const lane of await mailer.lanes()) console.log(lane.lane, lane.phase, `${lane.waiting} waiting`)
stop()
await mailer.close()
