// A web server that answers in milliseconds and stops without losing mail.
// SMTP_URL=smtp://… PORT=3000 npx tsx examples/graceful-shutdown.ts, then curl -d ada@example.com localhost:3000

import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { SteadymailError, wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'

const mailer = wrapTransport(process.env.SMTP_URL ?? 'smtp://localhost:1025', {
  store: sqliteStore('outbox.db'),
  maxWaiting: 100_000, // then OUTBOX_FULL, rather than a full disk
})
await mailer.start() // mail from before the restart goes out

const web = createServer(async (request, response) => {
  try {
    const mail = { from: 'app@example.org', to: await text(request), subject: 'Hi', text: 'Welcome.' }
    const ticket = await mailer.sendWithRetry(mail)
    response.writeHead(202).end(`${ticket.id}\n`)
  } catch (error) {
    const isTheirs = SteadymailError.is(error) && error.code === 'BAD_MESSAGE'
    response.writeHead(isTheirs ? 400 : 503).end(isTheirs ? `${error.message}\n` : 'try again later\n')
  }
})
web.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log('listening', web.address()))

async function stop() {
  web.close()
  await mailer.close({ timeout: '20s' }) // what is being sent may end; the rest stays on disk
}
process.once('SIGTERM', stop)
process.once('SIGINT', stop)
