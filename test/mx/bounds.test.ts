// Direct delivery to very many hosts keeps a bounded number of everything, and none of what is over.

import { memoryStore, wrapTransport } from 'steadymail'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { Connector } from '../../src/mx/connect.ts'
import { type ConverseParts, converse, type Parcel } from '../../src/mx/converse.ts'
import { Hosts } from '../../src/mx/hosts.ts'
import { parseMxOptions } from '../../src/mx/options.ts'
import { Pool } from '../../src/mx/pool.ts'
import { routeResolver } from '../../src/mx/resolver.ts'
import { StsPolicies } from '../../src/mx/sts.ts'
import { mail } from '../scenarios/world.ts'
import { a, mx } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

const DOMAINS = 1000

let w: World

beforeEach(async () => {
  w = await world()
})

afterEach(() => w.close())

/** A server behind so many domains, each with an MX host of its own. */
async function crowd() {
  const server = await w.server('mx.test', '127.0.10.1', { record: false })
  const domains = Array.from({ length: DOMAINS }, (_, i) => `d${i}.test`)
  for (const domain of domains) {
    w.dns.zone.set(domain, [mx(`mx.${domain}`)])
    w.dns.zone.set(`mx.${domain}`, [a('127.0.10.1')])
  }
  return { server, domains }
}

describe('1,000 domains with 1,000 MX hosts', () => {
  it('share the sockets there are, and leave nothing behind', async () => {
    const { server, domains } = await crowd()
    const settings = parseMxOptions({
      ...{ name: 'mail.us.test', port: w.port, allowLocal: true, mtaSts: false, dane: false },
      ...{ maxConnections: 50, idleTimeout: '200ms', dns: { servers: [w.dns.address], timeout: '5s' } },
    })
    const clock = systemClock
    const resolver = routeResolver(settings.dns, clock)
    const hosts = new Hosts(clock)
    const source = { id: async () => undefined, text: async () => undefined }
    const policies = new StsPolicies(clock, source)
    const connector = new Connector(settings.connect, { clock, resolver, hosts, policies })
    const pool = new Pool(settings.pool, clock, connector)
    const parts: ConverseParts = { pool, hosts, isRecycle: () => false }
    let most = 0
    const deliver = async (domain: string) => {
      const route = await resolver.route(domain)
      if (route.kind === 'none') throw new Error(route.reply.text)
      const parcel: Parcel = {
        ...{ route, need: 'none', sts: 'none', connections: 10, messagesPerConnection: 100 },
        ...{ lane: { key: domain, sessions: 1 }, mayBegin: () => true, stop: undefined },
        transaction: {
          ...{ from: 'a@us.test', to: [`a@${domain}`], size: 5, eightBit: false, utf8: false },
          ...{ requireTls: false, dsn: undefined, body: () => Buffer.from('hello') },
        },
      }
      const { said } = await converse(parcel, parts)
      most = Math.max(most, pool.open)
      return said.every(({ accepted }) => accepted)
    }
    const answers = await Promise.all([...domains, ...domains, ...domains].map(deliver))
    expect(answers.filter((accepted) => !accepted)).toEqual([])
    expect(most).toBe(50)
    // one for all three of a domain, though all are at one address and wait for their turn to connect
    expect(server.counts.connections).toBeLessThanOrEqual(1.1 * DOMAINS)
    // a socket that has said QUIT may still be closing while the next is opened
    expect(server.counts.peak).toBeLessThanOrEqual(60)
    // while some are idle there is a group for each set of hosts with a socket, and no other
    expect(pool.kept.groups).toBeLessThanOrEqual(50)
    while (pool.open > 0) await new Promise((resolve) => setTimeout(resolve, 20))
    expect(pool.kept).toEqual({ groups: 0, sessions: 0, lanes: 0, lent: 0 })
    expect(connector.dialing).toBe(0)
  })

  it('are remembered as long as there is room, and looked up again afterwards', async () => {
    const { domains } = await crowd()
    const transport = w.transport({ dns: { maxAnswers: 100, timeout: '5s' } })
    for (const domain of domains) await transport.steadymail.resolve(domain)
    const known = domains.filter((domain) => transport.steadymail.peek(domain) !== undefined)
    expect(known).toEqual(domains.slice(-100))
    expect(w.dns.queries).toHaveLength(DOMAINS)
  })

  it('and more than any cache holds that refuse are not all remembered', () => {
    const hosts = new Hosts(systemClock)
    for (let i = 0; i < 10_500; i++) hosts.refused(`host ${i}`, { text: 'no', phase: 'greeting' })
    expect(hosts.restingAddresses()).toHaveLength(10_000)
  })
})

describe('a domain whose MX is known', () => {
  it('is looked up no more on the way of delivery, not even for a new connection', async () => {
    const server = await w.server('mx1.test', '127.0.10.1')
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    const mailer = wrapTransport(transport, {
      store: memoryStore(),
      policies: [{ name: 'acme', domains: ['acme.test'], messagesPerConnection: 3, rate: '1000/s' }],
    })
    await (await mailer.sendWithRetry(mail('a@acme.test'))).settled()
    const asked = [...w.dns.queries]
    expect(asked).toContain('MX acme.test')
    // whoever asked now would wait in vain
    w.dns.zone.set('acme.test', 'silence').set('mx1.test', 'silence')
    const began = performance.now()
    const tickets = await Promise.all(
      Array.from({ length: 20 }, () => mailer.sendWithRetry(mail('b@acme.test'))),
    )
    // a look-up may hold a call up for a second
    expect(performance.now() - began).toBeLessThan(900)
    await Promise.all(tickets.map((ticket) => ticket.settled()))
    expect(server.counts.messages).toBe(21)
    expect(server.counts.connections).toBeGreaterThan(5)
    expect(w.dns.queries).toEqual(asked)
    expect(outcomes(await send(transport, { to: 'c@acme.test' }))).toEqual(['accepted'])
    expect(w.dns.queries).toEqual(asked)
    await mailer.close()
  })
})
