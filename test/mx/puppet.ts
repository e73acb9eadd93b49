// An SMTP server on a string: it answers as a test says and when it says, and shows which octets came together.

import { createServer, type Socket } from 'node:net'

/** The answer to a line, without its end; `hold` until the test says it; nothing for the usual one. */
export type Answering = (line: string, session: PuppetSession) => string | undefined

export interface PuppetSession {
  readonly id: number
  readonly socket: Socket
  /** What arrived, as it arrived. */
  readonly segments: string[]
  /** Commands, lines of messages, and dots. */
  readonly lines: string[]
  /** Answers what is held, and goes on. */
  say(answer: string): void
}

export interface Puppet {
  readonly port: number
  readonly sessions: readonly PuppetSession[]
  /** Resolves once a session has been sent such a line so many times, over all sessions. */
  heard(line: string | RegExp, times?: number): Promise<void>
  close(): Promise<void>
}

const OFFERS = ['PIPELINING', 'SIZE 100000', '8BITMIME', 'SMTPUTF8', 'DSN']

export async function puppet(
  address: string,
  answering: Answering,
  offers: readonly string[] = OFFERS,
): Promise<Puppet> {
  const sessions: PuppetSession[] = []
  let watching: (() => void)[] = []
  const server = createServer((socket) => {
    let rest = ''
    let inBody = false
    let held = false
    const queue: string[] = []
    const session: PuppetSession = {
      id: sessions.length + 1,
      socket,
      segments: [],
      lines: [],
      say(answer) {
        held = false
        socket.write(`${answer}\r\n`)
        go()
      },
    }
    sessions.push(session)
    const go = () => {
      for (;;) {
        const line = held ? undefined : queue.shift()
        if (line === undefined) return
        if (inBody && line !== '.') continue
        inBody = false
        const answer = answering(line, session) ?? usual(line)
        if (answer === 'drop') socket.destroy()
        else if (answer === 'hold') held = true
        else socket.write(`${answer}\r\n`)
        if (line === 'DATA') inBody = answer.startsWith('354')
      }
    }
    const usual = (line: string) => {
      if (line.startsWith('EHLO'))
        return ['250-mx', ...offers.map((o) => `250-${o}`), '250 HELP'].join('\r\n')
      if (line === 'DATA') return '354 Go on'
      return line === 'QUIT' ? '221 Bye' : '250 2.0.0 Ok'
    }
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      const text = chunk.toString('latin1')
      session.segments.push(text)
      const parts = (rest + text).split('\r\n')
      rest = parts.pop() ?? ''
      session.lines.push(...parts)
      queue.push(...parts)
      go()
      for (const look of watching) look()
    })
    socket.write('220 mx\r\n')
  })
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  const at = server.address()
  return {
    port: typeof at === 'object' && at ? at.port : 0,
    sessions,
    heard(line, times = 1) {
      const isSuch = (one: string) => (typeof line === 'string' ? one === line : line.test(one))
      return new Promise((resolve) => {
        const look = () => {
          if (sessions.flatMap((one) => one.lines).filter(isSuch).length < times) return
          watching = watching.filter((one) => one !== look)
          resolve()
        }
        watching.push(look)
        look()
      })
    },
    async close() {
      for (const { socket } of sessions) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
