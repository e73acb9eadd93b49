// MAIL_NAME=mail.example.org npx tsx examples/direct.ts [recipient]
// Delivers to the recipient's own server. Port 25 must be open, and MAIL_NAME's DNS in order: docs/direct.md.

import { wrapTransport } from 'steadymail'
import { mxTransport } from 'steadymail/mx'
import { sqliteStore } from 'steadymail/sqlite'

const [to = 'postmaster@example.com'] = process.argv.slice(2)
const name = process.env.MAIL_NAME ?? 'mail.example.org'
const domain = name.replace(/^[^.]+\./, '')

const transport = mxTransport({
  name, // our address's PTR record, and a name with that address
  ...(process.env.MAIL_ADDRESS && { localAddress: process.env.MAIL_ADDRESS }),
  // for a try without the internet: MAIL_PORT and MAIL_DNS name servers of one's own
  ...(process.env.MAIL_PORT && { port: Number(process.env.MAIL_PORT), allowLocal: true }),
  ...(process.env.MAIL_DNS && { dns: { servers: [process.env.MAIL_DNS] } }),
  onWarning: (text) => console.warn(`warning: ${text}`),
})

const mailer = wrapTransport(transport, { store: sqliteStore('outbox.db') }) // route 'direct' by itself
await mailer.verify() // name, PTR and A records: what is amiss is told by onWarning

const ticket = await mailer.sendWithRetry({
  from: `hello@${domain}`,
  to,
  subject: 'Straight to you',
  text: 'No relay between us.',
})
const { status, recipients } = await ticket.settled()
for (const { address, reply } of recipients)
  console.log(`${address}: ${status} by ${reply?.host ?? 'nobody'}: ${reply?.text}`)
await mailer.close()
transport.close() // its idle sessions say goodbye; the mailer closes only what it made
