// Receivers and zones that are broken or mean harm: no message is lost to them, none is sent twice by our own
// doing, no slot is kept for ever, and what they say is shown only as text.

import { createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { classifyReply } from '../../src/builtin.ts'
import { a, mx } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

let w: World
let undo: (() => Promise<void>)[]

beforeEach(async () => {
  w = await world()
  w.domain('acme.test', 'mx1.test')
  undo = []
})

afterEach(async () => {
  await w.close()
  for (const one of undo) await one()
})

/** A server as bare as a socket, at the address of mx1.test; gives its port. */
async function bareServer(on: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    on(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.7.1', resolve))
  undo.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })
  w.dns.zone.set('mx1.test', [a('127.0.7.1')])
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

/** Calls back with each command, or line of a message. */
function lines(socket: Socket, on: (line: string) => void): void {
  let rest = ''
  socket.on('data', (chunk) => {
    const parts = (rest + chunk.toString('latin1')).split('\r\n')
    rest = parts.pop() ?? ''
    for (const part of parts) on(part)
  })
}

describe('a reply that cannot be the answer', () => {
  it.each([[['PIPELINING']], [[]]])('as 250 to DATA is no acceptance, with %j', async (extensions) => {
    const script = { on: 'data' as const, answer: '250 2.0.0 Fine' as const }
    const server = await w.server('mx1.test', '127.0.7.1', { extensions, script })
    const answer = await send(w.transport(), { to: ['a@acme.test', 'b@acme.test'] })
    expect(outcomes(answer)).toEqual(['EPROTOCOL data', 'EPROTOCOL data'])
    expect(answer.recipients[0] && classifyReply(answer.recipients[0].reply)).toMatchObject({
      persistence: 'transient',
    })
    expect(server.messages).toHaveLength(0)
  })

  it.each([
    ['mail', 'EPROTOCOL mail'],
    ['rcpt', 'EPROTOCOL rcpt'],
    ['dot', 'EPROTOCOL dot uncertain'],
  ] as const)('as 354 to %s neither', async (on, outcome) => {
    await w.server('mx1.test', '127.0.7.1', { script: { on, answer: '354 Go on' } })
    expect(outcomes(await send(w.transport(), { to: 'a@acme.test' }))).toEqual([outcome])
  })

  it('is not taken for the next message: who says one 250 too many gets each message once', async () => {
    let messages = 0
    const port = await bareServer((socket) => {
      let inBody = false
      socket.write('220 mx1.test\r\n')
      lines(socket, (line) => {
        if (inBody) {
          if (line !== '.') return
          inBody = false
          messages++
          socket.write('250 2.0.0 Queued\r\n')
          // comes when the next command has, or all at once
          setTimeout(() => socket.write('250 2.0.0 Queued\r\n'), messages % 3)
        } else if (line.startsWith('EHLO')) socket.write('250-mx1.test\r\n250 PIPELINING\r\n')
        else if (line === 'DATA') {
          inBody = true
          socket.write('354 Go on\r\n')
        } else socket.write(line === 'QUIT' ? '221 Bye\r\n' : '250 2.0.0 Ok\r\n')
      })
    })
    const transport = w.transport({ port })
    let accepted = 0
    for (let i = 0; i < 30; i++) {
      if (outcomes(await send(transport, { to: `a${i}@acme.test` }))[0] === 'accepted') accepted++
    }
    expect(accepted).toBeGreaterThan(0)
    // the last one may still be under way to it; what never arrives is waited for in vain
    while (messages < accepted) await new Promise((resolve) => setImmediate(resolve))
  })

  it('before anything was asked ends the session', async () => {
    const port = await bareServer((socket) => {
      socket.write(`220 hi\r\n${'250 yes\r\n'.repeat(5)}354 go\r\n250 taken\r\n`)
    })
    expect(outcomes(await send(w.transport({ port }), { to: 'a@acme.test' }))[0]).toMatch(/^E\w+ ehlo$/)
  })
})

describe('a server that does not let go', () => {
  it('but goes on talking while nobody asks is cut off, and its slot is free', async () => {
    const port = await bareServer((socket) => {
      let inBody = false
      socket.write('220 mx1.test\r\n')
      lines(socket, (line) => {
        if (line === '.') {
          inBody = false
          socket.write('250 2.0.0 Queued\r\n')
          // never closes, never stops
          const timer = setInterval(() => socket.write('250 2.0.0 And another thing\r\n'), 20)
          socket.on('close', () => clearInterval(timer))
        } else if (line === 'DATA') {
          inBody = true
          socket.write('354 Go on\r\n')
        } else if (!inBody) socket.write('250 2.0.0 Ok\r\n')
      })
    })
    const transport = w.transport({ port, maxConnections: 1 })
    for (let i = 0; i < 2; i++) {
      expect(outcomes(await send(transport, { to: 'a@acme.test' }))).toEqual(['accepted'])
      await new Promise((resolve) => setTimeout(resolve, 100)) // it talks
    }
    while (transport.steadymail.connections > 0) await new Promise((resolve) => setTimeout(resolve, 50))
  })

  it('whose greeting comes a letter at a time is waited for no longer than for any other', async () => {
    const port = await bareServer((socket) => {
      const timer = setInterval(() => socket.write('2'), 50)
      socket.on('close', () => clearInterval(timer))
    })
    const transport = w.transport({ port, greetingTimeout: '300ms' })
    expect(outcomes(await send(transport, { to: 'a@acme.test' }))).toEqual(['ETIMEDOUT greeting'])
  })

  it('that takes no octet of a large message is given up in time', async () => {
    const port = await bareServer((socket) => {
      socket.write('220 mx1.test\r\n')
      socket.on('data', (chunk) => {
        const text = chunk.toString('latin1')
        if (text.startsWith('EHLO')) socket.write('250-mx1.test\r\n250 PIPELINING\r\n')
        else if (text.startsWith('MAIL')) {
          socket.write('250 Ok\r\n250 Ok\r\n354 Go on\r\n')
          socket.pause()
        }
      })
    })
    const transport = w.transport({ port, commandTimeout: '300ms' })
    const answer = await send(transport, { to: 'a@acme.test', body: Buffer.alloc(30_000_000, 'x\r\n') })
    expect(outcomes(answer)).toEqual(['ETIMEDOUT data'])
  })
})

describe('what a server says', () => {
  it('is shown as text, whatever it would do to a terminal', async () => {
    const script = {
      on: 'rcpt' as const,
      answer: '550 5.1.1 \u001b[2J\u001b]0;owned\u0007 No \u0000such user' as const,
    }
    await w.server('mx1.test', '127.0.7.1', { script })
    const { transcript = [] } = await send(w.transport(), { to: 'a@acme.test' })
    expect(transcript.join('\n')).toContain('No  such user')
    expect(transcript.join('')).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/)
  })
})

describe('a hostile zone', () => {
  it('cannot have more than a few of its addresses asked for one message', async () => {
    const hosts = Array.from({ length: 60 }, (_, i) => `mx${i}.acme.test`)
    w.dns.zone.set(
      'acme.test',
      hosts.map((host, i) => mx(host, i)),
    )
    hosts.forEach((host, i) => {
      w.dns.zone.set(host, [a(`127.0.70.${i + 1}`), a(`127.0.71.${i + 1}`)])
    })
    const server = await w.server('alive.test', '127.0.7.1') // only for a port that nobody else listens on
    await server.close()
    const answer = await send(w.transport(), { to: 'a@acme.test' })
    expect(outcomes(answer)).toEqual(['ECONNREFUSED greeting'])
    expect(answer.transcript?.filter((line) => line.includes('127.0.7'))).toHaveLength(10)
    expect(w.dns.queries.length).toBeLessThanOrEqual(2 + 2 * 20)
  })

  it.each(['mx.acme.test\r\nRCPT TO:<x@y.test>', 'mx acme', '<mx>.test', '\u001b[2J.test'])(
    'cannot pass %j off as a host; that is an error which may be mended',
    async (exchange) => {
      w.dns.zone.set('acme.test', [mx(exchange)])
      const answer = await send(w.transport(), { to: 'a@acme.test' })
      expect(answer.recipients[0]?.reply.errno).toBe('EDNS')
      expect(answer.recipients[0] && classifyReply(answer.recipients[0].reply)).toMatchObject({
        persistence: 'transient',
        cause: 'dns',
      })
    },
  )

  it('cannot hide a machine of ours among its hosts', async () => {
    const ours = await w.server('ours.test', '127.0.7.1')
    w.dns.zone.set('acme.test', [mx('127.0.7.1', 5), mx('mx.acme.test', 10)])
    w.dns.zone.set('mx.acme.test', [a('127.0.7.1')])
    const answer = await send(w.transport({ allowLocal: false }), { to: 'a@acme.test' })
    expect(answer.recipients[0]?.reply.text).toMatch(/local or reserved address/)
    expect(ours.counts.connections).toBe(0)
  })

  it("cannot take TLS from others' mail by pointing a name at their server", async () => {
    const server = await w.server('mx1.test', '127.0.7.1', { tls: 'starttls' })
    w.domain('evil.test', 'mx.evil.test')
    w.dns.zone.set('mx.evil.test', [a('127.0.7.1')])
    const transport = w.transport()
    // as a server that refuses to shake hands under a name that is not its own
    const undoRefusal = server.use({ on: 'starttls', answer: { reply: '220 Go ahead', and: 'drop' } })
    expect(outcomes(await send(transport, { to: 'x@evil.test' }))).toEqual(['accepted'])
    undoRefusal()
    expect(outcomes(await send(transport, { to: 'a@acme.test' }))).toEqual(['accepted'])
    expect(server.messages.map(({ to, session }) => [to[0], session.secure])).toEqual([
      ['x@evil.test', false],
      ['a@acme.test', true],
    ])
  })

  it('with one such name among good ones is delivered to', async () => {
    await w.server('mx1.test', '127.0.7.1')
    w.dns.zone.set('acme.test', [mx('not a host', 5), mx('mx1.test', 10)])
    expect(outcomes(await send(w.transport(), { to: 'a@acme.test' }))).toEqual(['accepted'])
  })
})
