// 100,000 calls of sendWithRetry at once, each with an attachment: what memory the process takes.
// Its own process, since that is what is measured: node --max-old-space-size=512 --import tsx test/chaos/intake.ts [calls]

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { wrapTransport } from 'steadymail'
import { sqliteStore } from 'steadymail/sqlite'

const ATTACHMENT = 4_096
const MB = 1_048_576
const calls = Number(process.argv[2] ?? 100_000)

const folder = mkdtempSync(join(tmpdir(), 'steadymail-intake-'))
const file = join(folder, 'outbox.db')
const mailer = wrapTransport('smtp://127.0.0.1:9', { store: sqliteStore(file), deliver: false })
await mailer.start()
const content = Buffer.alloc(ATTACHMENT, 'attached ')
const before = process.memoryUsage().rss
let peak = before
const watch = setInterval(() => {
  peak = Math.max(peak, process.memoryUsage().rss)
}, 20)
const began = performance.now()
let stored = 0
const all = Array.from({ length: calls }, async (_, n) => {
  await mailer.sendWithRetry({
    from: 'shop@sender.test',
    to: `user${n}@shop${n % 100}.test`,
    subject: `Invoice ${n}`,
    text: 'Your invoice is attached.',
    attachments: [{ filename: 'invoice.pdf', content }],
  })
  stored++
})
await Promise.all(all)
const seconds = (performance.now() - began) / 1_000
clearInterval(watch)
await mailer.close()
process.stdout.write(
  `${JSON.stringify({
    calls: stored,
    seconds: Math.round(seconds * 10) / 10,
    rssBeforeMB: Math.round(before / MB),
    rssPeakMB: Math.round(peak / MB),
    fileMB: Math.round(statSync(file).size / MB),
  })}\n`,
)
rmSync(folder, { recursive: true, force: true })
