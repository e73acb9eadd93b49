import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { decodeAnswer } from '../../src/mx/dns-wire.ts'
import { routeResolver } from '../../src/mx/resolver.ts'
import { mxResolver } from '../../src/mx.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'
import { a, type DnsServer, dnsServer, mx } from './dns-server.ts'

let dns: DnsServer

beforeEach(async () => {
  dns = await dnsServer()
})

afterEach(() => dns.close())

function resolver(clock = systemClock) {
  return routeResolver({ servers: [dns.address], timeout: '200ms' }, clock)
}

describe('who takes mail for a domain', () => {
  it('its MX hosts, by preference', async () => {
    dns.zone.set('acme.test', [mx('mx2.acme.test', 20), mx('MX1.acme.test', 10), mx('mx0.acme.test', 20)])
    const route = await resolver().route('Acme.Test.')
    expect(route).toMatchObject({
      kind: 'route',
      domain: 'acme.test',
      hosts: [
        { exchange: 'mx1.acme.test', priority: 10 },
        { exchange: 'mx0.acme.test', priority: 20 },
        { exchange: 'mx2.acme.test', priority: 20 },
      ],
    })
  })

  it('itself, where it has no MX (RFC 5321 §5.1)', async () => {
    dns.zone.set('acme.test', [a('127.0.0.2')])
    expect(await resolver().route('acme.test')).toMatchObject({
      hosts: [{ exchange: 'acme.test', priority: 0 }],
    })
  })

  it('nobody, with a null MX (RFC 7505), and for good', async () => {
    dns.zone.set('acme.test', [mx('', 0)])
    expect(await resolver().route('acme.test')).toMatchObject({
      kind: 'none',
      reply: { text: expect.stringMatching(/null MX/) },
    })
  })

  it('nobody, when the domain does not exist', async () => {
    expect(await resolver().route('nowhere.test')).toMatchObject({
      kind: 'none',
      reply: { text: expect.stringMatching(/^NXDOMAIN/) },
    })
  })

  it.each(['SERVFAIL', 'REFUSED', 'silence'] as const)('nobody for now, on %s', async (failure) => {
    dns.zone.set('acme.test', failure)
    const route = await resolver().route('acme.test')
    expect(route).toMatchObject({
      kind: 'none',
      reply: { errno: 'EDNS', text: expect.stringMatching(/temporary failure/) },
    })
  })

  it('an address literal as it stands, without asking anybody', async () => {
    expect(await resolver().route('[127.0.0.9]')).toMatchObject({ hosts: [{ exchange: '127.0.0.9' }] })
    expect(await resolver().route('[IPv6:::1]')).toMatchObject({ hosts: [{ exchange: '::1' }] })
    expect(await resolver().route('[nonsense]')).toMatchObject({ kind: 'none', reply: { enhanced: '5.1.2' } })
    expect(dns.queries).toEqual([])
  })

  it('is asked over TCP when the answer does not fit', async () => {
    dns.maxUdp = 100
    dns.zone.set(
      'acme.test',
      Array.from({ length: 30 }, (_, i) => mx(`mx${i}.a-rather-long-name.test`, i)),
    )
    const route = await resolver().route('acme.test')
    expect(route.kind === 'route' && route.hosts.length).toBe(20)
  })

  it('follows aliases', async () => {
    dns.zone.set('acme.test', [{ type: 'CNAME', value: 'other.test' }])
    dns.zone.set('other.test', [mx('mx.other.test')])
    expect(await resolver().route('acme.test')).toMatchObject({ hosts: [{ exchange: 'mx.other.test' }] })
  })
})

describe('what is known', () => {
  it('is kept for its TTL and no longer: an MX that changes is seen', async () => {
    const clock = manualClock()
    const known = resolver(clock)
    dns.zone.set('acme.test', [mx('old.test', 10, 600)])
    expect(await known.resolve('acme.test')).toEqual({ mx: 'old.test', ttlMs: 600_000 })
    dns.zone.set('acme.test', [mx('new.test', 10, 600)])
    await clock.advance(599_000)
    expect(known.peek('ACME.test')).toBe('old.test')
    expect(dns.queries).toHaveLength(1)
    await clock.advance(2000)
    expect(known.peek('acme.test')).toBeUndefined()
    expect((await known.resolve('acme.test')).mx).toBe('new.test')
  })

  it('does not outlive the longest, nor vanish before the shortest time', async () => {
    dns.zone.set('long.test', [mx('mx.test', 10, 1_000_000)])
    dns.zone.set('short.test', [mx('mx.test', 10, 0)])
    const known = resolver(manualClock())
    expect((await known.resolve('long.test')).ttlMs).toBe(3_600_000)
    expect((await known.resolve('short.test')).ttlMs).toBe(30_000)
  })

  it('covers what is not there, by the SOA (RFC 2308)', async () => {
    const known = resolver(manualClock())
    expect(await known.resolve('nowhere.test')).toEqual({ mx: 'nowhere.test', ttlMs: 60_000 })
    await known.resolve('nowhere.test')
    expect(dns.queries).toEqual(['MX nowhere.test'])
  })

  it('a failure stands for the domain itself, and is asked for again soon', async () => {
    const clock = manualClock()
    const known = resolver(clock)
    dns.zone.set('acme.test', 'SERVFAIL')
    expect((await known.resolve('acme.test')).mx).toBe('acme.test')
    dns.zone.set('acme.test', [mx('mx.test')])
    await clock.advance(30_000)
    expect((await known.resolve('acme.test')).mx).toBe('mx.test')
  })

  it('is bounded, the oldest going first', async () => {
    const known = routeResolver({ servers: [dns.address], maxAnswers: 10 }, systemClock)
    for (let i = 0; i < 15; i++) dns.zone.set(`d${i}.test`, [mx('mx.test')])
    for (let i = 0; i < 15; i++) await known.resolve(`d${i}.test`)
    expect(known.peek('d0.test')).toBeUndefined()
    expect(known.peek('d14.test')).toBe('mx.test')
  })

  it('is asked for once, however many ask at a time', async () => {
    dns.zone.set('acme.test', [mx('mx.test')])
    const known = mxResolver({ servers: [dns.address] })
    await Promise.all(Array.from({ length: 50 }, () => known.resolve('acme.test')))
    expect(dns.queries).toEqual(['MX acme.test'])
  })

  it('the second server is asked when the first is dead', async () => {
    dns.zone.set('acme.test', [mx('mx.test')])
    const known = mxResolver({ servers: ['127.0.0.1:1', dns.address], timeout: '200ms' })
    expect((await known.resolve('acme.test')).mx).toBe('mx.test')
  })
})

describe('DNS messages', () => {
  it('that are broken or forged are no answer', () => {
    const answer = Buffer.from(
      '1234818000010001000000000461636d650474657374 00000f0001c00c000f00010000003c0007000a026d78c00c'.replaceAll(
        ' ',
        '',
      ),
      'hex',
    )
    expect(decodeAnswer(answer, 0x1234, 'acme.test', 'MX')?.answer.records).toEqual([
      { priority: 10, exchange: 'mx.acme.test' },
    ])
    expect(decodeAnswer(answer, 0x1235, 'acme.test', 'MX')).toBeUndefined()
    expect(decodeAnswer(answer, 0x1234, 'evil.test', 'MX')).toBeUndefined()
    expect(decodeAnswer(answer, 0x1234, 'acme.test', 'A')).toBeUndefined()
    for (let length = 0; length < answer.length; length++) {
      expect(decodeAnswer(answer.subarray(0, length), 0x1234, 'acme.test', 'MX')).toBeUndefined()
    }
    // a name that points at itself
    const loop = Buffer.from(answer)
    loop.writeUInt16BE(0xc000 | 27, 27)
    expect(decodeAnswer(loop, 0x1234, 'acme.test', 'MX')).toBeUndefined()
  })
})

describe('misuse', () => {
  it('names the option', () => {
    expect(() => mxResolver({ servers: ['dns.example.com'] })).toThrow(
      /dns\.servers\[0\]: expected an address/,
    )
    expect(() => mxResolver({ maxTtl: '5 hours' as never })).toThrow(/dns\.maxTtl/)
    expect(() => mxResolver({ maxAnswers: 0 })).toThrow(/dns\.maxAnswers/)
  })
})
