// The same 500 messages, once through steadymail and once with the retry that everybody writes first.

import { setTimeout as sleep } from 'node:timers/promises'
import { createTransport } from 'nodemailer'
import { memoryStore, type ProviderPolicy, wrapTransport } from 'steadymail'
import { mxTransport } from 'steadymail/mx'

export const MESSAGES = 500

export interface Result {
  readonly accepted: number
  readonly refusals: number
  readonly seconds: number
}

const mail = (i: number) => ({
  from: 'shop@sender.test',
  to: `customer${i}@real.test`,
  subject: `Order ${i}`,
  text: 'Thank you.\n'.repeat(20),
})

/** Everything on: direct delivery, lanes, classifier; a policy only shortens the waits to the test's scale. */
export async function steadily(
  port: number,
  policy: Partial<ProviderPolicy>,
  limitMs: number,
): Promise<Result> {
  const began = performance.now()
  let refusals = 0
  let accepted = 0
  const mailer = wrapTransport(
    mxTransport({
      name: 'mail.sender.test',
      port,
      allowLocal: true,
      tls: 'never',
      dns: {
        query: async (_name, type) => {
          const records = { MX: [{ exchange: 'mx.real.test', priority: 10 }], A: ['127.0.0.1'] } as Record<
            string,
            unknown[]
          >
          return {
            status: 'NOERROR',
            records: (records[type] ?? []) as never[],
            ttlMs: 3_600_000,
            authentic: false,
          }
        },
      },
    }),
    {
      store: memoryStore(),
      policies: [{ name: 'real', domains: ['real.test'], ...policy }],
      on: {
        deferred: () => {
          refusals++
        },
        accepted: () => {
          accepted++
        },
      },
    },
  )
  for (let i = 0; i < MESSAGES; i++) await mailer.sendWithRetry(mail(i))
  await mailer.idle({ signal: AbortSignal.timeout(limitMs) }).catch(() => undefined)
  const seconds = (performance.now() - began) / 1000
  await mailer.close({ timeout: '5s' })
  return { accepted, refusals, seconds }
}

/** nodemailer's pool, and a second's pause after each refusal. */
export async function naively(port: number, limitMs: number): Promise<Result> {
  const began = performance.now()
  const transporter = createTransport({
    host: '127.0.0.1',
    port,
    pool: true,
    maxMessages: Number.POSITIVE_INFINITY,
    ignoreTLS: true,
  })
  let refusals = 0
  let accepted = 0
  let isOver = false
  // a send waits as long as its server likes: closing the pool ends them all
  const timer = setTimeout(() => {
    isOver = true
    transporter.close()
  }, limitMs)
  const send = async (i: number) => {
    for (;;) {
      try {
        await transporter.sendMail(mail(i))
        accepted++
        return
      } catch {
        if (isOver) return
        refusals++
        await sleep(1000)
      }
    }
  }
  await Promise.all(Array.from({ length: MESSAGES }, (_, i) => send(i)))
  clearTimeout(timer)
  transporter.close()
  return { accepted, refusals, seconds: (performance.now() - began) / 1000 }
}
