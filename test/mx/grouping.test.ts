// `resolveMx`: who answers for a domain decides its lane, for a wrapped relay as for direct delivery.

import { createTransport } from 'nodemailer'
import { type Mailer, memoryStore, wrapTransport } from 'steadymail'
import { mxResolver } from 'steadymail/mx'
import { type ManualClock, manualClock, type SmtpServer, smtpServer } from 'steadymail/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { mail, runner } from '../scenarios/world.ts'
import { type DnsServer, dnsServer, mx } from './dns-server.ts'

let dns: DnsServer
let relay: SmtpServer
let clock: ManualClock
let mailer: Mailer

beforeEach(async () => {
  dns = await dnsServer({
    'one.test': [mx('mx.hosting.test')],
    'two.test': [mx('mx.hosting.test')],
    'workspace.test': [mx('aspmx.l.google.com'), mx('alt1.aspmx.l.google.com', 20)],
    'broken.test': 'SERVFAIL',
  })
  relay = await smtpServer()
  clock = manualClock()
  mailer = wrapTransport(createTransport({ host: relay.host, port: relay.port, ignoreTLS: true }), {
    store: memoryStore(),
    clock,
    resolveMx: mxResolver({ servers: [dns.address], timeout: '300ms' }),
  })
})

afterEach(async () => {
  await clock.runUntil(mailer.close({ timeout: 0 }))
  await relay.close()
  await dns.close()
})

async function laneOf(address: string): Promise<string | undefined> {
  const { run } = runner(clock, mailer)
  const ticket = await run(mailer.sendWithRetry(mail(address)))
  expect((await run(ticket.settled())).status).toBe('accepted')
  return (await mailer.status(ticket.id))?.recipients[0]?.lane
}

describe('behind a relay, with resolveMx', () => {
  it('two domains with one MX host share a lane', async () => {
    expect(await laneOf('a@one.test')).toBe('mx.hosting.test')
    expect(await laneOf('b@two.test')).toBe('mx.hosting.test')
  })

  it('a domain hosted by a provider is in the lane of that provider', async () => {
    expect(await laneOf('a@workspace.test')).toBe((await mailer.explainPolicy('gmail.com')).lane)
  })

  it('a domain that cannot be looked up is its own lane', async () => {
    expect(await laneOf('a@broken.test')).toBe('broken.test')
    expect(await laneOf('a@nowhere.test')).toBe('nowhere.test')
  })

  it('is looked up once, not for every message', async () => {
    for (let i = 0; i < 5; i++) await laneOf('a@one.test')
    expect(dns.queries).toEqual(['MX one.test'])
  })
})
