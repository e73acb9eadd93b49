// Misuse and misconfiguration are told before they cost a reputation.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { reverseName } from '../../src/mx/identity.ts'
import { isReserved } from '../../src/mx/reserved.ts'
import { type MxTransportOptions, mxTransport } from '../../src/mx.ts'
import { a, type DnsServer, dnsServer } from './dns-server.ts'

let dns: DnsServer

beforeEach(async () => {
  dns = await dnsServer({
    'mail.us.test': [a('192.0.2.7')],
    '7.2.0.192.in-addr.arpa': [{ type: 'PTR', value: 'mail.us.test' }],
  })
})

afterEach(() => dns.close())

async function warnings(options: MxTransportOptions): Promise<string[]> {
  const told: string[] = []
  const transport = mxTransport({
    dns: { servers: [dns.address] },
    onWarning: (text) => told.push(text),
    ...options,
  })
  expect(await transport.verify()).toBe(true)
  return told
}

describe('verify()', () => {
  it('says nothing when name, address and PTR agree', async () => {
    expect(await warnings({ name: 'mail.us.test', localAddress: '192.0.2.7' })).toEqual([])
    expect(await warnings({ name: 'mail.us.test' })).toEqual([])
  })

  it('warns of a PTR record that is missing', async () => {
    dns.zone.delete('7.2.0.192.in-addr.arpa')
    expect(await warnings({ name: 'mail.us.test' })).toEqual([
      expect.stringMatching(/PTR record of 192\.0\.2\.7 does not exist/),
    ])
  })

  it('warns of a generic PTR record', async () => {
    dns.zone.set('7.2.0.192.in-addr.arpa', [{ type: 'PTR', value: 'vm7.provider.test' }])
    expect(await warnings({ name: 'mail.us.test' })).toEqual([
      expect.stringMatching(/is 'vm7\.provider\.test', but .* 'mail\.us\.test'/),
    ])
  })

  it('warns of a name without addresses, or with others than mail is sent from', async () => {
    expect(await warnings({ name: 'nowhere.us.test' })).toEqual([
      expect.stringMatching(/has no A or AAAA record/),
    ])
    dns.zone.set('8.2.0.192.in-addr.arpa', [{ type: 'PTR', value: 'mail.us.test' }])
    expect(await warnings({ name: 'mail.us.test', localAddress: '192.0.2.8' })).toEqual([
      expect.stringMatching(/has the address 192\.0\.2\.7, but mail is sent from 192\.0\.2\.8/),
    ])
  })

  it('warns of a name that is none', async () => {
    expect(await warnings({ name: 'localhost' })).toEqual([expect.stringMatching(/no full host name/)])
    expect(await warnings({ name: '[192.0.2.7]' })).toEqual([expect.stringMatching(/address literal/)])
  })

  it('does not blame the name for a DNS that does not answer', async () => {
    dns.zone.set('mail.us.test', 'SERVFAIL')
    expect(await warnings({ name: 'mail.us.test' })).toEqual([
      expect.stringMatching(/could not be looked up \(SERVFAIL\)/),
    ])
  })

  it('calls back, as nodemailer has it', async () => {
    const transport = mxTransport({
      name: 'mail.us.test',
      dns: { servers: [dns.address] },
      onWarning: () => {},
    })
    expect(await new Promise((resolve) => transport.verify((error, ok) => resolve([error, ok])))).toEqual([
      null,
      true,
    ])
  })
})

describe('options', () => {
  it.each([
    [{ name: 'mail us' }, /mxTransport\.name: expected a host name/],
    [{ name: 'mail\r\nQUIT' }, /mxTransport\.name/],
    [{ localAddress: 'mail.us.test' }, /mxTransport\.localAddress: expected an IP address/],
    [{ localAddress: ['192.0.2.1', '192.0.2.2'] }, /at most one IPv4 and one IPv6/],
    [{ tls: 'always' }, /mxTransport\.tls: expected one of/],
    [{ idleTimeout: '10 s' }, /mxTransport\.idleTimeout/],
    [{ maxConnections: 0 }, /mxTransport\.maxConnections/],
    [{ dns: { servers: ['example.com'] } }, /mxTransport\.dns\.servers\[0\]/],
    [{ dns: { ttl: 5 } }, /mxTransport\.dns\.ttl/],
    [{ host: 'mx.acme.test' }, /mxTransport\.host/],
  ])('%j is refused', (options, message) => {
    expect(() => mxTransport(options as MxTransportOptions)).toThrow(message)
  })
})

describe('addresses', () => {
  it.each([
    '127.0.0.1',
    '10.0.0.1',
    '192.168.1.1',
    '172.31.0.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    '::ffff:10.0.0.1',
    '64:ff9b::7f00:1',
    '2002:7f00:1::',
    '2001:db8::1',
    'ff02::1',
  ])('%s is local or reserved', (address) => {
    expect(isReserved(address)).toBe(true)
  })

  it.each([
    '8.8.8.8',
    '172.32.0.1',
    '100.128.0.1',
    '2a00:1450:4001::1a',
    '64:ff9b::808:808',
    '2002:808:808::1',
  ])('%s is not', (address) => {
    expect(isReserved(address)).toBe(false)
  })

  it('have the reverse names of RFC 1035 and RFC 3596', () => {
    expect(reverseName('192.0.2.7')).toBe('7.2.0.192.in-addr.arpa')
    expect(reverseName('2001:db8::1')).toBe(`1.${'0.'.repeat(23)}8.b.d.0.1.0.0.2.ip6.arpa`)
  })
})
