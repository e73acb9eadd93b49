// For a framework that calls createTransport and sendMail itself: give it this transport, and its mail is stored
// and retried like any other. SMTP_URL=smtp://… npx tsx examples/drop-in.ts

import nodemailer from 'nodemailer'
import { wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'

// defaults, DKIM and plugins belong on the transporter that is wrapped
const inner = nodemailer.createTransport(process.env.SMTP_URL)
const mailer = wrapTransport(inner, { store: sqliteStore('outbox.db') })

const transporter = nodemailer.createTransport(mailer.transport())
const mail = {
  from: 'blog@example.org',
  to: 'ada@example.com',
  subject: 'A new comment',
  text: 'It is kind.',
  steadymail: { key: 'comment-9', priority: 'high' }, // sendWithRetry's options, where one wants them
}
const info = await transporter.sendMail(mail)
console.log(info.response) // 250 2.0.0 queued as <id>

const outcome = await info.ticket.settled()
console.log(outcome.status)
await mailer.close()
