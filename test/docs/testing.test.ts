// What docs/testing.md shows, run: tests of one's own policy as a user would write them.

import { memoryStore, type ProviderPolicy, testRules, wrapTransport } from 'steadymail'
import { manualClock, rateLimit, scriptedTransport, smtpServer, storeContract } from 'steadymail/testing'
import { describe, expect, it } from 'vitest'

const acme = {
  name: 'acme',
  domains: ['acme.test'],
  rate: '20/min',
  burst: 5,
  rules: [
    {
      id: 'acme-slow-down',
      code: 421,
      text: /come back later/i,
      cause: 'rate-limit',
      samples: ['421 4.7.0 mx1: Come back later'],
    },
  ],
  reactions: { 'rate-limit': { hold: '15m' } },
} satisfies ProviderPolicy

const mail = { from: 'shop@sender.test', to: 'wile@acme.test', subject: 'Anvil', text: 'It is on its way.' }

it('reads what acme says', () => {
  expect(testRules(acme)).toEqual([])
  const mailer = wrapTransport(scriptedTransport(), { store: memoryStore(), policies: [acme] })
  const verdict = mailer.classifyReply('421 4.7.0 mx1: Come back later', { domain: 'acme.test' })
  expect(verdict).toMatchObject({ rule: 'acme-slow-down', cause: 'rate-limit', scope: 'lane' })
  expect(String(mailer.explainPolicy('acme.test'))).toMatch(/rate +20\/min +policy 'acme'/)
})

it('waits a quarter of an hour when acme says so', async () => {
  const clock = manualClock()
  const transport = scriptedTransport(['421 4.7.0 mx1: Come back later'], { route: 'direct' })
  const mailer = wrapTransport(transport, { store: memoryStore(), policies: [acme], clock })

  const ticket = await mailer.sendWithRetry(mail)
  const outcome = await clock.runUntil(ticket.settled())

  const [first, second] = outcome.recipients[0]?.history ?? []
  expect(outcome.status).toBe('accepted')
  const waited = ((second?.at ?? 0) - (first?.at ?? 0)) / 60_000
  expect(waited).toBeGreaterThan(13) // holds vary by a tenth
  expect(waited).toBeLessThan(17)
  expect(transport.attempts).toHaveLength(2)
  await mailer.close()
})

it('holds the lane of acme and no other, on a real socket', async () => {
  const clock = manualClock()
  await using server = await smtpServer({
    now: clock.now,
    script: { on: 'rcpt', to: '@acme.test', times: 1, answer: '421 4.7.0 mx1: Come back later' },
  })
  await using mailer = wrapTransport(server.url, {
    store: memoryStore(),
    policies: [acme],
    route: 'direct', // this server stands for the recipients' own, not for a relay
    clock,
  })
  const held: string[] = []
  mailer.on('held', (e) => held.push(e.lane))

  await mailer.sendWithRetry(mail)
  await mailer.sendWithRetry({ ...mail, to: 'ada@other.test' })
  // while a socket's answer is awaited, time stands still
  const busy = async () => (await mailer.lanes()).some((lane) => lane.inFlight > 0)
  await clock.runUntil(mailer.idle(), { busy })

  expect(held).toEqual(['acme.test'])
  expect(server.messages.flatMap((message) => message.to).sort()).toEqual([
    'ada@other.test',
    'wile@acme.test',
  ])
})

it('gets all mail into a server that counts refused tries', async () => {
  const clock = manualClock()
  await using server = await smtpServer({
    now: clock.now,
    script: rateLimit({ rate: '10/h', countsRetries: true, on: 'rcpt' }),
  })
  await using mailer = wrapTransport(server.url, {
    store: memoryStore(),
    policies: [acme],
    route: 'direct',
    clock,
  })
  const to = Array.from({ length: 25 }, (_, n) => `user${n}@acme.test`)
  for (const address of to) await mailer.sendWithRetry({ ...mail, to: address })
  const busy = async () => (await mailer.lanes()).some((lane) => lane.inFlight > 0)
  await clock.runUntil(mailer.idle(), { busy })

  expect(server.messages.flatMap((message) => message.to).sort()).toEqual([...to].sort())
})

// a store of your own, in place of memoryStore
storeContract({ name: 'my store', create: async () => memoryStore() }, { describe, it })
