// What you know about a provider, as plain data. SMTP_URL=smtp://… npx tsx examples/custom-policy.ts

import { memoryStore, type ProviderPolicy, wrapTransport } from 'steadymail'

const acme = {
  name: 'acme',
  domains: ['acme.com', '*.acme.net'], // '*.acme.net' does not include acme.net
  lane: 'acme', // all of them share one lane; without it there is one per domain
  rate: '20/min',
  burst: 5,
  concurrency: 2,
  ttl: '2d',
  rules: [
    {
      id: 'acme-slow-down',
      code: 421,
      text: /come back later/i,
      cause: 'rate-limit',
      retryAfter: '15m',
      samples: ['421 4.7.0 mx1.acme.com: come back later'],
    },
  ],
  reactions: { 'rate-limit': { hold: '15m', rateFactor: 0.5 } },
} satisfies ProviderPolicy

const mailer = wrapTransport(process.env.SMTP_URL ?? 'smtp://localhost:1025', {
  store: memoryStore(),
  policies: [acme],
})

const verdict = mailer.classifyReply('421 4.7.0 mx1.acme.com: come back later', { domain: 'acme.com' })
console.log(verdict.cause, verdict.persistence, verdict.rule, verdict.retryAfterMs)
console.log(String(mailer.explainPolicy('acme.com')).split('\n').slice(0, 5).join('\n'))

await mailer.sendWithRetry({ from: 'shop@example.org', to: 'wile@acme.com', subject: 'Anvil', text: 'Sent.' })
await mailer.idle()
await mailer.close()
