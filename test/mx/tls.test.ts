// TLS as far as each mode, MTA-STS and DANE ask for it, and what happens where it cannot be had.

import { createHash, X509Certificate } from 'node:crypto'
import type { ServerResponse } from 'node:http'
import { createServer, globalAgent } from 'node:https'
import { createServer as createTcpServer } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import { parseMxOptions } from '../../src/mx/options.ts'
import { makeMxTransport } from '../../src/mx/transport.ts'
import type { MxTransportOptions } from '../../src/mx.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'
import { type SmtpServer, type TestCertificate, testCertificate } from '../../src/testing/smtp-server.ts'
import { a, mx } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

let w: World

beforeEach(async () => {
  w = await world()
  w.domain('acme.test', 'mx1.test')
})

afterEach(() => w.close())

const good = testCertificate({ names: ['mx1.test'] })
const expired = testCertificate({ names: ['mx1.test'], notAfter: '20210101000000Z' })
const wrong = testCertificate({ names: ['other.test'] })
const trusted = [good, expired, wrong].map(({ cert }) => cert)

const withTls = (certificate: TestCertificate) =>
  w.server('mx1.test', '127.0.4.1', { tls: { mode: 'starttls', certificate } })

/** What became of one message, and whether it travelled under TLS. */
async function travelled(server: SmtpServer, options: MxTransportOptions, hints = {}) {
  const answer = await send(w.transport({ tlsOptions: { ca: trusted }, ...options }), {
    to: 'x@acme.test',
    hints,
  })
  const [outcome] = outcomes(answer)
  const secure = server.messages[0]?.session.secure
  return { outcome, secure, reply: answer.recipients[0]?.reply, transcript: answer.transcript?.join('\n') }
}

describe('STARTTLS', () => {
  it.each([
    ['a good certificate', good, 'opportunistic', true],
    ['a good certificate', good, 'required', true],
    ['a good certificate', good, 'verified', true],
    ['an expired certificate', expired, 'opportunistic', true],
    ['an expired certificate', expired, 'required', true],
    ['an expired certificate', expired, 'verified', false],
    ["another host's certificate", wrong, 'opportunistic', true],
    ["another host's certificate", wrong, 'required', true],
    ["another host's certificate", wrong, 'verified', false],
  ] as const)('with %s, %#', async (_what, certificate, tls, delivered) => {
    const server = await withTls(certificate)
    const { outcome, secure, reply } = await travelled(server, { tls })
    if (delivered) expect({ outcome, secure }).toEqual({ outcome: 'accepted', secure: true })
    else {
      expect(outcome).toBe('ETLS ehlo')
      expect(reply?.text).toMatch(/verified certificate|certificate is required/)
      expect(reply && classifyReply(reply)).toMatchObject({ cause: 'tls-required', persistence: 'transient' })
      expect(server.counts.mail).toBe(0)
    }
  })

  it.each([
    ['opportunistic', 'accepted'],
    ['required', 'ETLS ehlo'],
    ['verified', 'ETLS ehlo'],
  ] as const)('that is not offered, %s: %s', async (tls, outcome) => {
    const server = await w.server('mx1.test', '127.0.4.1')
    expect((await travelled(server, { tls })).outcome).toBe(outcome)
  })

  it('is asked for where a policy wants it, though the transport does not', async () => {
    const server = await w.server('mx1.test', '127.0.4.1')
    expect((await travelled(server, {}, { tls: 'required' })).outcome).toBe('ETLS ehlo')
    expect((await travelled(server, { tls: 'required' }, { tls: 'opportunistic' })).outcome).toBe('ETLS ehlo')
  })

  it('is not asked for with `never`', async () => {
    const server = await withTls(good)
    expect(await travelled(server, { tls: 'never' })).toMatchObject({ outcome: 'accepted', secure: false })
  })

  it('that is refused, or whose handshake fails, is done without when it is only opportunistic', async () => {
    const server = await withTls(good)
    const undo = server.use({ on: 'starttls', answer: '454 4.7.0 TLS not available' })
    expect(await travelled(server, {})).toMatchObject({ outcome: 'accepted', secure: false })
    expect((await travelled(server, { tls: 'required' })).outcome).toBe('454 ehlo')
    undo()
    server.use({ on: 'starttls', answer: { reply: '220 Go ahead', and: 'drop' } })
    expect(await travelled(server, {})).toMatchObject({ outcome: 'accepted', secure: false })
    expect((await travelled(server, { tls: 'required' })).outcome).toBe('ETLS ehlo')
  })

  it('sessions are shared only with messages that need no more', async () => {
    const server = await withTls(wrong)
    const transport = w.transport({ tlsOptions: { ca: trusted } })
    expect(outcomes(await send(transport, { to: 'x@acme.test' }))).toEqual(['accepted'])
    expect(outcomes(await send(transport, { to: 'x@acme.test', hints: { tls: 'required' } }))).toEqual([
      'accepted',
    ])
    expect(server.counts.connections).toBe(1)
    expect(outcomes(await send(transport, { to: 'x@acme.test', hints: { tls: 'verified' } }))).toEqual([
      'ETLS ehlo',
    ])
  })

  it.each([
    ['a whole reply', '220 Go ahead\r\n250 2.1.0 Ok\r\n'],
    ['part of one', '220 Go ahead\r\n250-STAR'],
  ])(
    'answered with %s behind it is refused: text injected before TLS (CVE-2011-0411)',
    async (_what, injection) => {
      const received: string[] = []
      const server = createTcpServer((socket) => {
        socket.on('error', () => {})
        socket.write('220 mx1.test\r\n')
        socket.on('data', (chunk) => {
          const command = chunk.toString('latin1')
          received.push(command.slice(0, 8))
          if (command.startsWith('EHLO')) socket.write('250-mx1.test\r\n250 STARTTLS\r\n')
          else if (command.startsWith('STARTTLS')) socket.write(injection)
        })
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.4.1', resolve))
      const address = server.address()
      w.dns.zone.set('mx1.test', [a('127.0.4.1')])
      const port = typeof address === 'object' && address ? address.port : 0
      const answer = await send(w.transport({ port, tls: 'required' }), { to: 'x@acme.test' })
      expect(outcomes(answer)).toEqual(['ETLS ehlo'])
      expect(answer.recipients[0]?.reply.text).toMatch(/behind the answer to STARTTLS/)
      expect(received.map((command) => command.trim().split(' ')[0])).toEqual(['EHLO', 'STARTTLS'])
      await new Promise((resolve) => server.close(resolve))
    },
  )
})

describe('MTA-STS (RFC 8461)', () => {
  const site = testCertificate({ names: ['mta-sts.acme.test'] })
  let policy = ''
  let serve: (response: ServerResponse) => void
  let fetched = 0
  let close = async () => {}

  beforeEach(async () => {
    fetched = 0
    serve = (response) => response.end(policy)
    const web = createServer({ ...site }, (request, response) => {
      fetched++
      if (request.url === '/.well-known/mta-sts.txt') serve(response)
      else response.end()
    })
    await new Promise<void>((resolve) => web.listen(0, '127.0.4.9', resolve))
    // a policy is asked for at port 443, which not everybody may listen on
    const address = web.address()
    const port = typeof address === 'object' && address ? address.port : 0
    const { createConnection } = globalAgent
    globalAgent.createConnection = (options, done) => {
      expect(options).toMatchObject({ port: 443 })
      return createConnection.call(globalAgent, { ...options, port }, done)
    }
    globalAgent.options.ca = site.cert
    w.dns.zone.set('_mta-sts.acme.test', [{ type: 'TXT', value: 'v=STSv1; id=20261120;' }])
    w.dns.zone.set('mta-sts.acme.test', [a('127.0.4.9')])
    close = async () => {
      delete globalAgent.options.ca
      globalAgent.createConnection = createConnection
      web.closeAllConnections()
      await new Promise((resolve) => web.close(resolve))
    }
  })

  afterEach(() => close())

  const says = (mode: string, host: string) => {
    policy = `version: STSv1\r\nmode: ${mode}\r\nmx: ${host}\r\nmax_age: 86400\r\n`
  }

  it.each([
    ['enforce', 'mx1.test', good, 'accepted'],
    ['enforce', 'mx1.test', wrong, 'ETLS ehlo'],
    ['enforce', 'mx1.test', expired, 'ETLS ehlo'],
    ['enforce', '*.other.test', good, 'ETLS greeting'],
    ['testing', 'mx1.test', wrong, 'accepted'],
    ['testing', '*.other.test', good, 'accepted'],
    ['none', '*.other.test', wrong, 'accepted'],
  ] as const)('%s for %s, %#: %s', async (mode, host, certificate, outcome) => {
    says(mode, host)
    const server = await withTls(certificate)
    expect((await travelled(server, { mtaSts: true })).outcome).toBe(outcome)
  })

  it('a policy is fetched once, and holds when DNS loses its record', async () => {
    says('enforce', 'mx1.test')
    const server = await withTls(good)
    const transport = w.transport({
      mtaSts: true,
      tlsOptions: { ca: trusted },
      dns: { minTtl: 1, maxTtl: 1 },
    })
    const message = { to: 'x@acme.test', hints: { messagesPerConnection: 1 } }
    expect(outcomes(await send(transport, message))).toEqual(['accepted'])
    w.dns.zone.delete('_mta-sts.acme.test')
    expect(outcomes(await send(transport, message))).toEqual(['accepted'])
    await server.close()
    await w.server('mx1.test', '127.0.4.1', { tls: { mode: 'starttls', certificate: wrong } })
    expect(outcomes(await send(transport, message))).toEqual(['ETLS ehlo'])
    expect(fetched).toBe(1)
  })

  it.each([
    ['sends it away', (response: ServerResponse) => response.writeHead(302, { location: '/other' }).end()],
    [
      'talks without end',
      (response: ServerResponse) => {
        const piece = `mx: ${'x'.repeat(1000)}\r\n`.repeat(20)
        const more = () => {
          while (!response.destroyed && response.write(piece));
          if (!response.destroyed) response.once('drain', more)
        }
        more()
      },
    ],
    ['is broken', (response: ServerResponse) => response.destroy()],
    ['says something else', (response: ServerResponse) => response.end('<html>mode: enforce</html>')],
  ] as const)('a site that %s has no policy', async (_what, answer) => {
    serve = answer
    const server = await withTls(wrong)
    expect((await travelled(server, { mtaSts: true })).outcome).toBe('accepted')
    expect(fetched).toBe(1)
  })

  it('a site that takes its time is waited for half a minute, and no message more than once', async () => {
    let begun = () => {}
    const asked = new Promise<void>((resolve) => {
      begun = resolve
    })
    serve = (response) => {
      response.write('version: STSv1\r\n')
      begun()
    }
    const server = await withTls(wrong)
    const clock = manualClock()
    const settings = parseMxOptions({
      name: 'mail.us.test',
      port: w.port,
      allowLocal: true,
      dane: false,
      dns: { servers: [w.dns.address] },
    })
    const transport = makeMxTransport(settings, { clock, isRecycle: () => false })
    const answer = send(transport, { to: 'x@acme.test' })
    await asked
    await clock.advance(30_000)
    expect(outcomes(await answer)).toEqual(['accepted'])
    expect(outcomes(await send(transport, { to: 'y@acme.test' }))).toEqual(['accepted'])
    expect(fetched).toBe(1)
    expect(server.counts.messages).toBe(2)
    transport.close()
  })

  it('two records are none (RFC 8461 §3.1)', async () => {
    says('enforce', 'mx1.test')
    const record = (id: string) => ({ type: 'TXT' as const, value: `v=STSv1; id=${id};` })
    w.dns.zone.set('_mta-sts.acme.test', [record('1'), record('2')])
    const server = await withTls(wrong)
    expect((await travelled(server, { mtaSts: true })).outcome).toBe('accepted')
    expect(fetched).toBe(0)
  })

  it("does not bind other domains with the same hosts, nor lend them its sessions' trust", async () => {
    says('enforce', 'mx1.test')
    const server = await withTls(wrong)
    w.domain('free.test', 'mx1.test')
    const transport = w.transport({ mtaSts: true, tlsOptions: { ca: trusted } })
    expect(outcomes(await send(transport, { to: ['x@acme.test', 'y@free.test'] }))).toEqual([
      'ETLS ehlo',
      'accepted',
    ])
    expect(server.messages.map(({ to }) => to)).toEqual([['y@free.test']])
  })
})

describe('DANE (RFC 7672)', () => {
  const tlsa = ({ cert }: TestCertificate) => {
    const key = new X509Certificate(cert).publicKey.export({ type: 'spki', format: 'der' })
    return [{ type: 'TLSA' as const, value: `030101${createHash('sha256').update(key).digest('hex')}` }]
  }
  const name = () => `_${w.port}._tcp.mx1.test`

  it('a certificate that matches its TLSA record is verified, whoever signed it', async () => {
    const server = await withTls(expired)
    w.dns.authentic = true
    w.dns.zone.set(name(), tlsa(expired))
    expect(await travelled(server, { dane: true, tls: 'verified' })).toMatchObject({
      outcome: 'accepted',
      secure: true,
    })
  })

  it('one that does not is refused, even by opportunistic TLS', async () => {
    const server = await withTls(good)
    w.dns.authentic = true
    w.dns.zone.set(name(), tlsa(wrong))
    expect(await travelled(server, { dane: true })).toMatchObject({ outcome: 'ETLS ehlo' })
  })

  it('records that cannot be checked make TLS a must, with any certificate', async () => {
    const server = await withTls(wrong)
    w.dns.authentic = true
    w.dns.zone.set(name(), [{ type: 'TLSA', value: `020101${'00'.repeat(32)}` }])
    expect(await travelled(server, { dane: true })).toMatchObject({ outcome: 'accepted', secure: true })
    await server.close()
    const plain = await w.server('mx1.test', '127.0.4.1')
    expect((await travelled(plain, { dane: true })).outcome).toBe('ETLS ehlo')
  })

  it('records that DNSSEC does not vouch for bind nobody', async () => {
    const server = await withTls(good)
    w.dns.zone.set(name(), tlsa(wrong))
    expect((await travelled(server, { dane: true })).outcome).toBe('accepted')
  })

  it('a look-up that fails is waited for, not passed over', async () => {
    const server = await withTls(good)
    w.dns.authentic = true
    w.dns.zone.set(name(), 'SERVFAIL')
    const { reply } = await travelled(server, { dane: true })
    expect(reply && classifyReply(reply)).toMatchObject({ persistence: 'transient', cause: 'dns' })
  })
})

describe('IPv6', () => {
  it('is used where a host has nothing else', async () => {
    const server = await w.server('mx6.test', '::1')
    w.domain('six.test', 'mx6.test')
    expect(outcomes(await send(w.transport(), { to: 'x@six.test' }))).toEqual(['accepted'])
    expect(outcomes(await send(w.transport(), { to: 'x@[IPv6:::1]' }))).toEqual(['accepted'])
    expect(server.counts.messages).toBe(2)
    expect(outcomes(await send(w.transport({ ip: 'ipv4' }), { to: 'x@six.test' }))).toEqual(['EDNS unknown'])
  })

  it.each([
    ['ipv4-first', '127.0.4.1'],
    ['ipv6-first', '::1'],
    ['ipv4', '127.0.4.1'],
    ['ipv6', '::1'],
  ] as const)('%s: a host with both is asked at %s', async (ip, address) => {
    const four = await w.server('mx46.test', '127.0.4.1')
    const six = await w.server('mx46.test', '::1')
    w.dns.zone.set('mx46.test', [a('127.0.4.1'), a('::1')])
    w.dns.zone.set('both.test', [mx('mx46.test')])
    expect(outcomes(await send(w.transport({ ip }), { to: 'x@both.test' }))).toEqual(['accepted'])
    expect([four, six].find(({ counts }) => counts.messages === 1)?.host).toBe(address)
  })
})
