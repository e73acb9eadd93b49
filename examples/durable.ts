// One process takes mail and ends; another finds it in the file and delivers. A restart, a deploy or a crash is
// nothing else. SMTP_URL=smtp://… npx tsx examples/durable.ts

import { wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'

const url = process.env.SMTP_URL ?? 'smtp://localhost:1025'

// the web process: enqueues only, opens no connection to the relay
const web = wrapTransport(url, { store: sqliteStore('outbox.db'), deliver: false })
const mail = { from: 'shop@example.org', to: 'ada@example.com', subject: 'Your invoice', text: 'Attached.' }
const first = await web.sendWithRetry(mail, { key: 'invoice-7', priority: 'high', meta: { invoice: 7 } })
const again = await web.sendWithRetry(mail, { key: 'invoice-7' }) // a double click, a retried webhook
console.log(again.duplicate, again.id === first.id)
await web.close()

// the worker: yesterday's mail resumes when it starts
const worker = wrapTransport(url, {
  store: sqliteStore('outbox.db'),
  onSettled: async (outcome) => {
    // at least once per message, again after a crash, until it resolves: write it to your own database here
    console.log(outcome.key, outcome.status, outcome.meta)
  },
})
await worker.start()
await worker.idle()
await worker.close()
