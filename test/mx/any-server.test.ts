// Whatever two MX hosts answer, and whenever they hang up: every message gets an answer, none counts as accepted
// that its server did not get, and no socket is kept.

import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { mxTransport } from '../../src/mx.ts'
import { outcomes, send } from './world.ts'

const MESSAGES = 300
// more than there are connections: messages wait, and follow each other on a session
const SENDERS = 40
const servers: Server[] = []

afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve))
})

/** The same numbers from the same seed: a linear congruential generator. */
function dice(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff
    return state / 0x7fff_ffff
  }
}

type Misbehaviour = (socket: Socket, ok: string) => void

const MISBEHAVIOURS: readonly Misbehaviour[] = [
  (socket) => socket.write('450 4.2.1 Later\r\n'),
  (socket) => socket.write('550 5.1.1 No\r\n'),
  (socket) => socket.write('421 4.7.0 Bye\r\n'),
  (socket) => socket.end('421 4.7.0 Bye\r\n'),
  (socket) => socket.write('354 Go on\r\n'),
  (socket) => socket.write('\0\xff<html>\r\n', 'latin1'),
  (socket) => socket.write('250-part', () => socket.destroy()),
  (socket) => socket.destroy(),
  (socket, ok) => socket.write(`${ok}250 And another\r\n`),
  (socket, ok) => setTimeout(() => socket.write(ok), 30),
  () => {}, // hangs
  (socket, ok) => socket.write(ok.replace(/^(\d+) /, '$1-One\r\n$1 ')),
  (socket, ok) => {
    socket.write(ok.slice(0, 5))
    setTimeout(() => socket.write(ok.slice(5)), 10)
  },
  (socket, ok) => socket.end(ok),
]

/** An SMTP server that misbehaves in every fourth answer. What it got to the end is in `got`. */
async function anyServer(
  host: string,
  port: number,
  random: () => number,
  got: Set<string>,
): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const say = (ok: string) => {
      const which = MISBEHAVIOURS[Math.floor(random() * MISBEHAVIOURS.length)]
      if (random() < 0.75 || !which) socket.write(ok)
      else which(socket, ok)
    }
    let body: string[] | undefined
    let rest = ''
    say('220 Hi\r\n')
    socket.on('data', (chunk) => {
      const lines = (rest + chunk.toString('latin1')).split('\r\n')
      rest = lines.pop() ?? ''
      for (const line of lines) {
        if (body && line !== '.') body.push(line)
        else if (body) {
          got.add(body[0] ?? '')
          body = undefined
          say('250 Queued\r\n')
        } else if (line === 'DATA' && random() < 0.85) {
          body = []
          socket.write('354 Go on\r\n')
        } else if (line === 'DATA') socket.write('503 No\r\n')
        else if (line.startsWith('EHLO')) say(random() < 0.7 ? '250-mx\r\n250 PIPELINING\r\n' : '250 mx\r\n')
        else if (line === 'QUIT') say('221 Bye\r\n')
        else say('250 Ok\r\n')
      }
    })
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(port, host, resolve))
  const address = server.address()
  return typeof address === 'object' && address ? address.port : 0
}

it.each([1, 2])(
  'loses nothing and keeps nothing, whatever its servers say (%i)',
  { timeout: 60_000 },
  async (seed) => {
    const random = dice(seed)
    const got = new Set<string>()
    const port = await anyServer('127.0.8.1', 0, random, got)
    await anyServer('127.0.8.2', port, random, got)
    const records = (name: string, type: string): readonly unknown[] => {
      if (type === 'MX') return ['mx1.test', 'mx2.test'].map((exchange, priority) => ({ exchange, priority }))
      return type === 'A' ? [name === 'mx1.test' ? '127.0.8.1' : '127.0.8.2'] : []
    }
    const transport = mxTransport({
      name: 'mail.us.test',
      port,
      allowLocal: true,
      mtaSts: false,
      maxConnections: 8,
      maxConnectionsPerHost: 4,
      greetingTimeout: '150ms',
      commandTimeout: '150ms',
      dataTimeout: '150ms',
      idleTimeout: '200ms',
      dns: {
        query: async (name, type) => {
          return {
            status: 'NOERROR',
            records: records(name, type) as never[],
            ttlMs: 3_600_000,
            authentic: false,
          }
        },
      },
    })
    const accepted: string[] = []
    const sender = async (first: number) => {
      for (let i = first; i < MESSAGES; i += SENDERS) {
        const subject = `Subject: ${i}`
        const stop = new AbortController()
        if (random() < 0.1) setTimeout(() => stop.abort(), random() * 50)
        // asked at once, or a turn later
        const gate = random() < 0.5 ? () => {} : () => new Promise<void>((resolve) => setImmediate(resolve))
        const body = `${subject}\r\n\r\nhello\r\n`
        const answer = await send(transport, { to: `u@d${i % 3}.test`, body, gate, signal: stop.signal })
        if (outcomes(answer)[0] === 'accepted') accepted.push(subject)
      }
    }
    await Promise.all(Array.from({ length: SENDERS }, (_, i) => sender(i)))
    expect(accepted.length).toBeGreaterThan(MESSAGES / 4)
    // what one server answered too soon may still be on its way to it
    while (accepted.some((subject) => !got.has(subject)))
      await new Promise((resolve) => setImmediate(resolve))
    transport.close()
    while (transport.steadymail.connections > 0) await new Promise((resolve) => setImmediate(resolve))
  },
)
