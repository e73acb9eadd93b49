// Sessions: shared by the domains of one MX host set, reused while they are good, bounded in number.

import { stat } from 'node:fs'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import { createTransport } from 'nodemailer'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OwnAnswer } from '../../src/answer.ts'
import { parseMxOptions } from '../../src/mx/options.ts'
import { makeMxTransport } from '../../src/mx/transport.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'
import { greylist, maxConnections, maxMessagesPerConnection } from '../../src/testing/smtp-server.ts'
import { a, mx } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

let w: World

beforeEach(async () => {
  w = await world()
})

afterEach(() => w.close())

const commands = (server: { log: readonly { kind: string; text: string }[] }) =>
  server.log.filter(({ kind }) => kind === 'command').map(({ text }) => text)

describe('a session', () => {
  it('is shared by all domains behind the same MX hosts', async () => {
    const server = await w.server('mx.hosting.test', '127.0.2.1')
    w.domain('one.test', 'mx.hosting.test')
    w.domain('two.test', 'mx.hosting.test')
    const transport = w.transport()
    await send(transport, { to: 'a@one.test' })
    await send(transport, { to: 'b@two.test' })
    expect(server.counts).toMatchObject({ connections: 1, messages: 2 })
    const both = await send(transport, { to: ['c@one.test', 'd@two.test'] })
    expect(outcomes(both)).toEqual(['accepted', 'accepted'])
    expect(server.messages[2]?.to).toEqual(['c@one.test', 'd@two.test'])
  })

  it('carries no more messages than the lane allows, and says goodbye', async () => {
    const server = await w.server('mx1.test', '127.0.2.1')
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    for (let i = 0; i < 5; i++)
      await send(transport, { to: 'a@acme.test', hints: { messagesPerConnection: 2 } })
    expect(server.sessions.map(({ messages }) => messages)).toEqual([2, 2, 1])
    expect(commands(server).filter((text) => text === 'QUIT')).toHaveLength(2)
  })

  it('ends after as many messages as the server was seen to allow; the one too many costs nothing', async () => {
    const server = await w.server('mx1.test', '127.0.2.1', { script: maxMessagesPerConnection(3) })
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    const answers = []
    for (let i = 0; i < 9; i++) answers.push(...outcomes(await send(transport, { to: 'a@acme.test' })))
    expect(answers).toEqual(new Array(9).fill('accepted'))
    expect(server.sessions.map(({ messages }) => messages)).toEqual([3, 3, 3])
    expect(server.log.filter(({ text }) => text.startsWith('421'))).toHaveLength(1)
  })

  it('that was closed with a 421 while idle is seen before it is used', async () => {
    const server = await w.server('mx1.test', '127.0.2.1')
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    await send(transport, { to: 'a@acme.test' })
    expect(server.endIdle('421 4.4.2 Idle for too long')).toBe(1)
    expect(outcomes(await send(transport, { to: 'b@acme.test' }))).toEqual(['accepted'])
    expect(server.counts).toMatchObject({ connections: 2, messages: 2 })
  })

  it.each(['a callback of the network', 'a timer'] as const)(
    'that was closed unseen, in a turn in which nobody looked at its socket, is seen from %s',
    async (from) => {
      // a server that leaves its side open, so that it hears whoever has not seen its goodbye
      const heard: string[] = []
      const sockets: Socket[] = []
      const server = createServer({ allowHalfOpen: true }, (socket) => {
        socket.setNoDelay(true) // what it says is there at once
        const nth = sockets.push(socket)
        const lines = createInterface(socket)
        let inBody = false
        lines.on('line', (line) => {
          heard.push(`${nth} ${line}`)
          if (inBody && line !== '.') return
          inBody = line === 'DATA'
          socket.write(line.startsWith('EHLO') ? '250 mx1.test\r\n' : inBody ? '354 go\r\n' : '250 ok\r\n')
        })
        socket.on('error', () => {})
        socket.write('220 mx1.test\r\n')
      })
      await new Promise<void>((resolve) => server.listen(0, '127.0.2.1', resolve))
      try {
        w.dns.zone.set('mx1.test', [a('127.0.2.1')])
        w.domain('acme.test', 'mx1.test')
        const transport = w.transport({ port: (server.address() as AddressInfo).port })
        await send(transport, { to: 'a@acme.test' })
        const second = await new Promise<OwnAnswer>((resolve, reject) => {
          const act = () => {
            sockets[0]?.write('421 4.4.2 Idle for too long\r\n')
            Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 40)
            send(transport, { to: 'b@acme.test' }).then(resolve, reject)
          }
          if (from === 'a timer') setTimeout(act, 0)
          else stat('.', act)
        })
        expect(outcomes(second)).toEqual(['accepted'])
        expect(heard.filter((line) => line.includes('MAIL FROM')).map((line) => line[0])).toEqual(['1', '2'])
        transport.close()
      } finally {
        for (const socket of sockets) socket.destroy()
        await new Promise((resolve) => server.close(resolve))
      }
    },
  )

  it('that turns out to be closed when used costs the message nothing', async () => {
    const server = await w.server('mx1.test', '127.0.2.1', {
      script: (event) =>
        event.phase === 'mail' && event.session.transactions > 1 ? '421 4.4.2 Too late' : undefined,
    })
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    await send(transport, { to: 'a@acme.test' })
    const answer = await send(transport, { to: 'b@acme.test' })
    expect(outcomes(answer)).toEqual(['accepted'])
    expect(server.counts).toMatchObject({ connections: 2, messages: 2 })
  })

  it('is asked to forget a refused message before the next', async () => {
    const server = await w.server('mx1.test', '127.0.2.1', { script: greylist({ seconds: 60 }) })
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    expect(outcomes(await send(transport, { to: 'a@acme.test' }))).toEqual(['451 rcpt'])
    expect(outcomes(await send(transport, { to: 'b@acme.test' }))).toEqual(['451 rcpt'])
    expect(server.counts.connections).toBe(1)
    expect(commands(server)).toContain('RSET')
  })

  it('ends after eight refusals, before a server begins to slow it down for them', async () => {
    const server = await w.server('mx1.test', '127.0.2.1', {
      script: { on: 'rcpt', answer: '450 4.2.0 Greylisted' },
    })
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    for (let i = 0; i < 10; i++) await send(transport, { to: `a${i}@acme.test` })
    // DATA without a recipient is refused as well
    expect(server.sessions.map(({ transactions }) => transactions)).toEqual([4, 4, 2])
  })

  it('says goodbye when it has been idle for its time, and when the transport closes', async () => {
    const server = await w.server('mx1.test', '127.0.2.1')
    w.domain('acme.test', 'mx1.test')
    const clock = manualClock()
    const settings = parseMxOptions({
      name: 'mail.us.test',
      port: w.port,
      allowLocal: true,
      mtaSts: false,
      dane: false,
      idleTimeout: '10s',
      dns: { servers: [w.dns.address] },
    })
    const transport = makeMxTransport(settings, { clock, isRecycle: () => false })
    await send(transport, { to: 'a@acme.test' })
    await clock.advance(9000)
    expect(commands(server)).not.toContain('QUIT')
    await clock.advance(1000)
    await server.seen(({ text }) => text === 'QUIT')
    await send(transport, { to: 'b@acme.test' })
    transport.close()
    await server.next(({ kind }) => kind === 'close')
    expect(commands(server).filter((text) => text === 'QUIT')).toHaveLength(2)
    expect(outcomes(await send(transport, { to: 'c@acme.test' }))).toEqual(['ECONNECTION unknown'])
  })
})

describe('sockets', () => {
  it('are as few as the lane asks for; messages wait their turn', async () => {
    const server = await w.server('mx1.test', '127.0.2.1', { script: maxConnections(2) })
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport()
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => send(transport, { to: 'a@acme.test', hints: { concurrency: 2 } })),
    )
    expect(answers.flatMap(outcomes)).toEqual(new Array(40).fill('accepted'))
    expect(server.counts).toMatchObject({ connections: 2, messages: 40, deferred: 0 })
  })

  it('are bounded overall: 1,000 domains with 1,000 MX hosts at once', async () => {
    const server = await w.server('mx.test', '127.0.2.1', { record: false })
    for (let i = 0; i < 1000; i++) {
      w.dns.zone.set(`d${i}.test`, [mx(`mx.d${i}.test`)])
      w.dns.zone.set(`mx.d${i}.test`, [a('127.0.2.1')])
    }
    const transport = w.transport({ maxConnections: 50 })
    const answers = await Promise.all(
      Array.from({ length: 1000 }, (_, i) => send(transport, { to: `a@d${i}.test` })),
    )
    expect(answers.flatMap(outcomes).filter((outcome) => outcome !== 'accepted')).toEqual([])
    // a socket that has said QUIT may still be closing while the next is opened
    expect(server.counts.peak).toBeLessThanOrEqual(60)
    expect(transport.steadymail.connections).toBeLessThanOrEqual(50)
  })

  it('are given up by idle sessions when others wait', async () => {
    const server = await w.server('mx.test', '127.0.2.1')
    for (const domain of ['one.test', 'two.test', 'three.test']) {
      w.domain(domain, `mx.${domain}`)
      w.dns.zone.set(`mx.${domain}`, [a('127.0.2.1')])
    }
    const transport = w.transport({ maxConnections: 1 })
    for (const domain of ['one.test', 'two.test', 'three.test']) {
      expect(outcomes(await send(transport, { to: `a@${domain}` }))).toEqual(['accepted'])
    }
    expect(server.counts).toMatchObject({ connections: 3, messages: 3 })
  })

  it('are left alone by an attempt that is aborted', async () => {
    const server = await w.server('mx1.test', '127.0.2.1', {
      script: { on: 'mail', times: 1, answer: 'hang' },
    })
    w.domain('acme.test', 'mx1.test')
    const transport = w.transport({ maxConnections: 1 })
    const stop = new AbortController()
    const first = send(transport, { to: 'a@acme.test', signal: stop.signal })
    const second = send(transport, { to: 'b@acme.test', signal: stop.signal })
    await server.seen(({ text }) => text.startsWith('MAIL'))
    stop.abort()
    expect(outcomes(await first)).toEqual(['EABORT mail'])
    expect(outcomes(await second)).toEqual(['EABORT unknown'])
    expect(outcomes(await send(transport, { to: 'c@acme.test' }))).toEqual(['accepted'])
    expect(server.messages.map(({ to }) => to)).toEqual([['c@acme.test']])
  })
})

describe('an MX that changes', () => {
  it('is followed when its TTL is over', async () => {
    const old = await w.server('old.test', '127.0.2.1')
    const fresh = await w.server('new.test', '127.0.2.2')
    w.dns.zone.set('acme.test', [mx('old.test', 10, 0)])
    const transport = w.transport({ dns: { minTtl: 1 } })
    await send(transport, { to: 'a@acme.test' })
    w.dns.zone.set('acme.test', [mx('new.test', 10, 0)])
    while (transport.steadymail.peek('acme.test') !== undefined) await new Promise(setImmediate)
    await send(transport, { to: 'b@acme.test' })
    expect([old.messages.length, fresh.messages.length]).toEqual([1, 1])
  })
})

describe('as a plain nodemailer transport', () => {
  it('splits a mail by domain and puts the answers together', async () => {
    const one = await w.server('mx1.test', '127.0.2.1')
    const two = await w.server('mx2.test', '127.0.2.2', {
      script: { on: 'rcpt', to: 'gone@two.test', answer: '550 5.1.1 No such user' },
    })
    w.domain('one.test', 'mx1.test')
    w.domain('two.test', 'mx2.test')
    const transporter = createTransport(w.transport() as never)
    const info = await transporter.sendMail({
      from: 'a@us.test',
      to: ['x@one.test', 'gone@two.test', 'y@two.test', 'z@nowhere.test'],
      bcc: 'secret@one.test',
      subject: 'hello',
      text: '.\nhello',
    })
    expect(info.accepted).toEqual(['x@one.test', 'y@two.test', 'secret@one.test'])
    expect(info.rejected).toEqual(['gone@two.test', 'z@nowhere.test'])
    expect(info.rejectedErrors).toMatchObject([
      { recipient: 'gone@two.test', responseCode: 550, command: 'RCPT TO' },
      { recipient: 'z@nowhere.test', code: 'ENOTFOUND' },
    ])
    expect(info.response).toMatch(/^250 /)
    expect(one.messages[0]?.to).toEqual(['x@one.test', 'secret@one.test'])
    expect(two.messages[0]?.to).toEqual(['y@two.test'])
    expect(one.messages[0]?.text).toContain('\r\n.\r\nhello')
    expect(one.messages[0]?.text).not.toContain('secret')
    expect(one.messages[0]?.text).toContain(info.messageId)
  })

  it('rejects when nobody was accepted', async () => {
    await w.server('mx1.test', '127.0.2.1', { script: { on: 'rcpt', answer: '450 4.2.1 Busy' } })
    w.domain('one.test', 'mx1.test')
    const transporter = createTransport(w.transport() as never)
    await expect(
      transporter.sendMail({ from: 'a@us.test', to: 'x@one.test', text: 'hello' }),
    ).rejects.toMatchObject({
      code: 'EENVELOPE',
      command: 'RCPT TO',
      responseCode: 450,
      response: '450 4.2.1 Busy',
      rejected: ['x@one.test'],
    })
  })
})
