// The next MX host is asked while none has been given the body, and never after.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import type { SmtpAnswer, SmtpPhase } from '../../src/testing/smtp-server.ts'
import { a, mx } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

let w: World

beforeEach(async () => {
  w = await world()
})

afterEach(() => w.close())

/** acme.test with two MX hosts, the first of which says this. */
async function pair(on: SmtpPhase, answer: SmtpAnswer) {
  const first = await w.server('mx1.test', '127.0.1.1', { script: { on, answer } })
  const second = await w.server('mx2.test', '127.0.1.2')
  w.domain('acme.test', 'mx1.test', 'mx2.test')
  return { first, second, transport: w.transport() }
}

describe('the next MX host takes over', () => {
  it.each([
    ['greeting', '421 4.3.2 Overloaded'],
    ['greeting', '554 5.7.1 Not you'],
    ['greeting', '450 4.7.1 Not now'],
    ['greeting', 'drop'],
    ['ehlo', '421 4.3.2 Overloaded'],
    ['ehlo', '451 4.3.2 Not now'],
    ['ehlo', 'drop'],
    ['mail', '421 4.7.0 Too many'],
    ['mail', 'drop'],
    ['rcpt', '421 4.7.0 Too many'],
    ['rcpt', 'drop'],
    ['data', '421 4.3.2 Going down'],
    ['data', 'drop'],
  ] as const)('after %s: %s', async (on, answer) => {
    const { first, second, transport } = await pair(on, answer)
    expect(outcomes(await send(transport, { to: ['a@acme.test', 'b@acme.test'] }))).toEqual([
      'accepted',
      'accepted',
    ])
    expect(first.messages).toHaveLength(0)
    expect(second.messages.map(({ to }) => to)).toEqual([['a@acme.test', 'b@acme.test']])
  })

  it('when the first is dead', async () => {
    const { first, second, transport } = await pair('quit', '221 bye')
    await first.close()
    expect(outcomes(await send(transport, { to: 'a@acme.test' }))).toEqual(['accepted'])
    expect(second.messages).toHaveLength(1)
  })

  it('when the first speaks another protocol', async () => {
    const { transport } = await pair('greeting', { reply: 'HTTP/1.1 400 Bad Request' })
    expect(outcomes(await send(transport, { to: 'a@acme.test' }))).toEqual(['accepted'])
  })

  it('without HELO after a 4xx to EHLO, but with it for a server that does not know EHLO', async () => {
    const { first, transport } = await pair('ehlo', '451 4.3.2 Not now')
    await send(transport, { to: 'a@acme.test' })
    expect(first.log.filter(({ kind }) => kind === 'command').map(({ text }) => text.split(' ')[0])).toEqual([
      'EHLO',
      'QUIT',
    ])

    const old = await w.server('old.test', '127.0.1.3', {
      script: (event) => (event.command.startsWith('EHLO') ? '502 5.5.1 What?' : undefined),
    })
    w.domain('old-school.test', 'old.test')
    expect(outcomes(await send(transport, { to: 'a@old-school.test' }))).toEqual(['accepted'])
    expect(old.messages).toHaveLength(1)
  })

  it('for those not yet answered: a refusal of one recipient stands', async () => {
    const { second, transport } = await pair('rcpt', 'pass')
    await w.server('mx0.test', '127.0.1.4', {
      script: [
        { on: 'rcpt', to: 'gone@acme.test', answer: '550 5.1.1 No such user' },
        { on: 'rcpt', to: 'c@acme.test', answer: '421 4.7.0 Enough' },
      ],
    })
    w.domain('acme.test', 'mx0.test', 'mx2.test')
    const answer = await send(transport, { to: ['a@acme.test', 'gone@acme.test', 'c@acme.test'] })
    expect(outcomes(answer)).toEqual(['accepted', '550 rcpt', 'accepted'])
    expect(second.messages.map(({ to }) => to)).toEqual([['a@acme.test', 'c@acme.test']])
  })
})

describe('hosts of equal preference', () => {
  it('share the load, and no less preferred one is asked (RFC 5321 §5.1)', async () => {
    const first = await w.server('mx1.test', '127.0.1.1')
    const second = await w.server('mx2.test', '127.0.1.2')
    const last = await w.server('mx9.test', '127.0.1.9')
    w.dns.zone.set('acme.test', [mx('mx1.test', 10), mx('mx2.test', 10), mx('mx9.test', 20)])
    const transport = w.transport()
    for (let i = 0; i < 40; i++)
      await send(transport, { to: 'a@acme.test', hints: { messagesPerConnection: 1 } })
    // forty fair coins: fewer than five of either side is one in ten million
    expect(first.counts.messages).toBeGreaterThanOrEqual(5)
    expect(second.counts.messages).toBeGreaterThanOrEqual(5)
    expect(last.counts.connections).toBe(0)
  })
})

describe('no other host is asked', () => {
  it.each([
    ['dot', '421 4.3.2 Going down', '421 dot'],
    ['dot', '451 4.3.0 Try again', '451 dot'],
    ['dot', 'drop', 'ECONNRESET dot uncertain'],
    ['body', 'drop', 'ECONNRESET'],
    ['body', '552 5.3.4 Too big', '552 dot'],
    ['mail', '451 4.7.1 Slow down', '451 mail'],
    ['rcpt', '450 4.2.1 Busy', '450 rcpt'],
    ['data', '451 4.3.0 Not now', '451 data'],
  ] as const)('after %s: %s', async (on, answer, outcome) => {
    const { second, transport } = await pair(on, answer)
    const [said] = outcomes(await send(transport, { to: 'a@acme.test', body: 'x'.repeat(200_000) }))
    expect(said).toContain(outcome)
    expect(second.counts.connections).toBe(0)
  })

  it('and a body that was cut is not uncertain', async () => {
    const { transport } = await pair('body', 'drop')
    const [said] = outcomes(
      await send(transport, { to: 'a@acme.test', body: Buffer.alloc(20_000_000, 'x\r\n') }),
    )
    expect(said).toMatch(/^E\w+ data$/)
  })
})

describe('hosts are remembered', () => {
  it('one that refused rests, and the next message does not ask it', async () => {
    const { first, second, transport } = await pair('greeting', '421 4.3.2 Overloaded')
    await send(transport, { to: 'a@acme.test' })
    await send(transport, { to: 'b@acme.test', hints: { messagesPerConnection: 1 } })
    await send(transport, { to: 'c@acme.test' })
    expect(first.counts.connections).toBe(1)
    expect(second.messages).toHaveLength(3)
  })

  it('but is asked when no other is left', async () => {
    const { first, second, transport } = await pair('greeting', '421 4.3.2 Overloaded')
    await send(transport, { to: 'a@acme.test' })
    await second.close()
    first.use((event) => (event.phase === 'greeting' ? '220 mx1.test ready' : undefined))
    await send(transport, { to: 'b@acme.test' })
    expect(first.counts.connections).toBe(2)
  })
})

describe('a whole set that refuses', () => {
  it('is told with the words of the host preferred most', async () => {
    const { transport } = await pair('greeting', '421 4.7.0 Too many connections from your address')
    await (
      await w.server('mx3.test', '127.0.1.5', { script: { on: 'greeting', answer: '421 4.3.2 Third' } })
    ).close()
    w.domain('acme.test', 'mx3.test', 'mx1.test')
    const answer = await send(transport, { to: 'a@acme.test' })
    expect(answer.recipients[0]?.reply).toEqual({
      code: 421,
      enhanced: '4.7.0',
      text: '421 4.7.0 Too many connections from your address',
      phase: 'greeting',
      host: 'mx1.test',
      address: '127.0.1.1',
      tls: false,
    })
    expect(answer.transcript?.join('\n')).toMatch(/ECONNREFUSED|refused/i)
    expect(answer.transcript?.join('\n')).toContain('S: 421 4.7.0 Too many connections')
  })

  it('says which host could not be reached, and where', async () => {
    await (await w.server('mx1.test', '127.0.1.1')).close()
    w.domain('acme.test', 'nowhere.test', 'mx1.test')
    const answer = await send(w.transport(), { to: 'a@acme.test' })
    expect(answer.recipients[0]?.reply).toMatchObject({
      errno: 'ECONNREFUSED',
      phase: 'greeting',
      host: 'mx1.test',
      address: '127.0.1.1',
    })
  })

  it('keeps its 421 when there is no other host to ask', async () => {
    await w.server('mx1.test', '127.0.1.1', { script: { on: 'rcpt', answer: '421 4.7.0 [TSS04] Deferred' } })
    w.domain('acme.test', 'mx1.test')
    const answer = await send(w.transport(), { to: 'a@acme.test' })
    expect(outcomes(answer)).toEqual(['421 rcpt'])
  })
})

describe('domains nobody takes mail for', () => {
  const verdictOf = async (domain: string, options = {}) => {
    const answer = await send(w.transport(options), { to: `a@${domain}` })
    const reply = answer.recipients[0]?.reply
    return reply && classifyReply(reply, { route: 'direct' })
  }

  it('fail for good when they do not exist, or say so with a null MX', async () => {
    w.dns.zone.set('null.test', [mx('', 0)])
    expect(await verdictOf('nowhere.test')).toMatchObject({ persistence: 'permanent' })
    expect(await verdictOf('null.test')).toMatchObject({ persistence: 'permanent' })
  })

  it('wait, whatever else is wrong with their DNS', async () => {
    w.dns.zone.set('broken.test', 'SERVFAIL')
    w.dns.zone.set('silent.test', 'silence')
    w.dns.zone.set('hollow.test', [mx('gone.hollow.test')])
    w.dns.zone.set('text-only.test', [{ type: 'TXT', value: 'no mail here' }])
    for (const domain of ['broken.test', 'silent.test', 'hollow.test', 'text-only.test']) {
      expect(await verdictOf(domain), domain).toMatchObject({ persistence: 'transient', cause: 'dns' })
    }
  })

  it('are never our own machines, unless that is allowed', async () => {
    const server = await w.server('mx1.test', '127.0.1.1')
    w.domain('acme.test', 'mx1.test')
    w.dns.zone.set('private.test', [a('10.1.2.3'), a('fd00::1'), a('::ffff:127.0.0.1')])
    w.dns.zone.set('ip.test', [mx('127.0.1.1')])
    for (const domain of ['acme.test', 'private.test', 'ip.test', '[127.0.1.1]', '[IPv6:::1]']) {
      const answer = await send(w.transport({ allowLocal: false }), { to: `a@${domain}` })
      expect(answer.recipients[0]?.reply.text, domain).toMatch(/local or reserved address/)
    }
    expect(server.counts.connections).toBe(0)
    expect(outcomes(await send(w.transport(), { to: 'a@[127.0.1.1]' }))).toEqual(['accepted'])
  })
})
