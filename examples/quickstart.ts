// SMTP_URL=smtp://user:password@relay.example npx tsx examples/quickstart.ts

import nodemailer from 'nodemailer'
import { wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'

const transporter = nodemailer.createTransport(process.env.SMTP_URL)
const mailer = wrapTransport(transporter, { store: sqliteStore('outbox.db') })

const ticket = await mailer.sendWithRetry(
  { from: 'shop@example.org', to: 'ada@example.com', subject: 'Order 42', text: 'Thank you.' },
  { key: 'order-42' }, // sent again with the same key, it is the same mail
)
console.log(`${ticket.id} is on disk; from here on it is delivered, or tried for five days`)

const outcome = await ticket.settled() // only if you care to wait: it may take days
console.log(outcome.status, '-', outcome.recipients[0]?.reply?.text)
await mailer.close()
