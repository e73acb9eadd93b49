// Why direct delivery has a session of its own: what nodemailer's SMTPConnection does in each major, measured
// against it, beside what ours does with the same server. A major that mends one of these shows here.

import { createRequire } from 'node:module'
import { createServer, type Socket } from 'node:net'
import { createSecureContext, TLSSocket } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testCertificate } from '../../src/testing/smtp-server.ts'
import { a } from './dns-server.ts'
import { outcomes, send, type World, world } from './world.ts'

const require = createRequire(import.meta.url)
const MAJORS = [
  ['7', 'nodemailer7'],
  ['8', 'nodemailer8'],
  ['9', 'nodemailer9'],
  ['10', 'nodemailer'],
] as const

interface SMTPConnection {
  readonly secure: boolean
  readonly lastServerResponse: string | false
  readonly _supportedAuth: readonly string[]
  on(event: 'error', listener: (error: Error) => void): void
  connect(callback: (error?: Error) => void): void
  send(
    envelope: { from: string; to: string[] },
    message: string,
    callback: (error: Error | null, info?: unknown) => void,
  ): void
  close(): void
}

let w: World
let undo: (() => Promise<void>)[]

beforeEach(async () => {
  w = await world()
  undo = []
})

afterEach(async () => {
  for (const one of undo.reverse()) await one()
  await w.close()
})

function smtpConnection(name: string, options: object): SMTPConnection {
  const Connection = require(`${name}/lib/smtp-connection`) as new (options: object) => SMTPConnection
  const connection = new Connection({ host: '127.0.6.1', ...options })
  undo.push(async () => connection.close())
  return connection
}

/** Its answer, or its error event: whatever comes first. */
function connected(connection: SMTPConnection): Promise<Error | undefined> {
  return new Promise((resolve) => {
    connection.on('error', resolve)
    connection.connect(resolve)
  })
}

/** A server as bare as a socket, at the address that mx1.test has in this world. */
async function bareServer(on: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.write('220 mx1.test\r\n')
    on(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.6.1', resolve))
  undo.push(() => new Promise((resolve) => server.close(() => resolve())))
  w.domain('acme.test', 'mx1.test')
  w.dns.zone.set('mx1.test', [a('127.0.6.1')])
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

describe.each(MAJORS)("nodemailer %s's SMTPConnection", (major, name) => {
  it('does not say which recipient a 421 was for; 7 to 9 lose the 421 itself', async () => {
    const script = { on: 'rcpt' as const, to: 'b@acme.test', answer: '421 4.7.0 Enough for now' as const }
    await w.server('mx1.test', '127.0.6.1', { script })
    w.domain('acme.test', 'mx1.test')
    const to = ['a@acme.test', 'b@acme.test', 'c@acme.test']
    const connection = smtpConnection(name, { port: w.port, ignoreTLS: true })
    const error = await new Promise<Error & Record<string, unknown>>((resolve) => {
      connection.on('error', resolve as (error: Error) => void)
      connection.connect(() =>
        connection.send({ from: 's@us.test', to }, 'Subject: hi\r\n\r\nhi', (failed) =>
          resolve(failed as never),
        ),
      )
    })
    expect(error.rejectedErrors).toBeUndefined()
    expect(error.recipient).toBeUndefined()
    if (major === '10') expect(error.message).toContain('421 4.7.0 Enough for now')
    else expect(error.message).toBe('Connection closed unexpectedly')

    const answer = await send(w.transport(), { to })
    expect(outcomes(answer)).toEqual(['421 rcpt', '421 rcpt', '421 rcpt'])
    expect(answer.recipients[1]?.reply.text).toContain('Enough for now')
  })

  it('says HELO to a server that answered EHLO with 4xx, not now', async () => {
    const script = { on: 'ehlo' as const, answer: '451 4.3.2 Not now' as const }
    const server = await w.server('mx1.test', '127.0.6.1', { script })
    w.domain('acme.test', 'mx1.test')
    const verbs = () =>
      server.log.filter(({ kind }) => kind === 'command').map(({ text }) => text.split(' ')[0])
    await connected(smtpConnection(name, { port: w.port, ignoreTLS: true }))
    expect(verbs()).toEqual(['EHLO', 'HELO'])

    expect(outcomes(await send(w.transport(), { to: 'a@acme.test' }))).toEqual(['451 ehlo'])
    expect(verbs().filter((verb) => verb === 'HELO')).toHaveLength(1)
  })

  it('7 and 8 read text from before TLS as if TLS had protected it (CVE-2011-0411)', async () => {
    const context = createSecureContext(testCertificate({ names: ['mx1.test'] }))
    const port = await bareServer((socket) => {
      socket.on('data', function plain(command: Buffer) {
        if (String(command).startsWith('EHLO')) socket.write('250-mx1.test\r\n250 STARTTLS\r\n')
        if (!String(command).startsWith('STARTTLS')) return
        socket.off('data', plain)
        socket.write('220 go\r\n250 AUTH PLAIN') // a man in the middle adds the beginning of a reply
        const secure = new TLSSocket(socket, { isServer: true, secureContext: context })
        secure.on('error', () => {})
        secure.on('data', () => secure.write('250-mx1.test\r\n250 PIPELINING\r\n'))
      })
    })
    const connection = smtpConnection(name, { port, requireTLS: true, tls: { rejectUnauthorized: false } })
    expect(await connected(connection)).toBeUndefined()
    expect(connection.secure).toBe(true)
    const injected = Number(major) <= 8
    expect(connection._supportedAuth).toEqual(injected ? ['PLAIN'] : [])

    const answer = await send(w.transport({ port, tls: 'required' }), { to: 'a@acme.test' })
    expect(outcomes(answer)).toEqual(['ETLS ehlo'])
  })

  it('7 to 9 keep a reply of any length', async () => {
    const lines = `250-${'x'.repeat(500)}\r\n`.repeat(100)
    // 10 has a maximum of 1 MiB; those before it search all of it again with every piece, for seconds
    const MOST = major === '10' ? 1_200_000 : 300_000
    const port = await bareServer((socket) => {
      socket.once('data', () => {
        let said = 0
        const more = () => {
          while (said < MOST) {
            said += lines.length
            if (!socket.write(lines)) {
              socket.once('drain', more)
              return
            }
          }
          socket.write('250 that is all\r\n')
        }
        more()
      })
    })
    const connection = smtpConnection(name, { port, ignoreTLS: true })
    const error = await connected(connection)
    if (major === '10') expect(error?.message).toMatch(/exceeds maximum/)
    else expect(String(connection.lastServerResponse).length).toBeGreaterThan(MOST)

    const answer = await send(w.transport({ port }), { to: 'a@acme.test' })
    expect(outcomes(answer)).toEqual(['EPROTOCOL ehlo'])
    expect(answer.recipients[0]?.reply.text.length).toBeLessThan(500)
  })
})
