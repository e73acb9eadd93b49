// Asks a resolver, over UDP and, where the answer does not fit, TCP. Our own stub, because Node's `dns` gives
// no TTL for MX, no SOA for what is not there, no TLSA before 22.15 and never the AD bit that DANE rests on.
// It needs a recursive resolver that can be trusted, as /etc/resolv.conf names one.
// Not here: memory of the answers (resolver.ts).

import { randomInt } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { getServers } from 'node:dns'
import { connect, isIPv6 } from 'node:net'
import type { Clock } from '../clock.ts'
import { badOption } from '../core/error.ts'
import { type Decoded, type DnsAnswer, decodeAnswer, encodeQuery, type RecordType } from './dns-wire.ts'

/** Asks for the records of a name. Never rejects: failures are answers too. */
export type DnsQuery = <T extends RecordType>(name: string, type: T) => Promise<DnsAnswer<T>>

interface Server {
  readonly host: string
  readonly port: number
}

/** Questions under way at a time: a resolver drops what comes in a flood. */
const MAX_ASKED = 64

/** How often all servers are asked before it counts as a timeout. */
const ROUNDS = 2

/** A stub resolver. @throws SteadymailError `BAD_OPTION` for a server that is no address */
export function dnsClient(
  clock: Clock,
  timeoutMs: number,
  servers?: readonly string[],
  path = 'dns',
): DnsQuery {
  const given = servers?.map((server, i) => parseServer(server, `${path}.servers[${i}]`))
  const turn = turnstile(MAX_ASKED)
  return async (name, type) => {
    await turn.enter()
    try {
      // the system's may change, as on a laptop
      const targets = given ?? getServers().map((server) => parseServer(server, `${path}.servers`))
      return await ask(clock, timeoutMs, targets, name, type)
    } finally {
      turn.leave()
    }
  }
}

async function ask<T extends RecordType>(
  clock: Clock,
  timeoutMs: number,
  servers: readonly Server[],
  name: string,
  type: T,
): Promise<DnsAnswer<T>> {
  const failed = (status: DnsAnswer['status']) => ({ status, records: [], ttlMs: 0, authentic: false })
  let last: DnsAnswer['status'] = 'TIMEOUT'
  for (let round = 0; round < ROUNDS; round++) {
    for (const server of servers) {
      const id = randomInt(65_536)
      const query = questionOf(id, name, type)
      if (!query) return failed('NXDOMAIN') // no such name can exist
      const read = (message: Buffer) => decodeAnswer(message, id, name, type)
      let decoded = await overUdp(clock, timeoutMs, server, query, read)
      if (decoded?.truncated) decoded = await overTcp(clock, timeoutMs, server, query, read)
      if (!decoded) continue
      last = decoded.answer.status
      if (last === 'NOERROR' || last === 'NXDOMAIN') return decoded.answer
    }
  }
  return failed(last)
}

function questionOf(id: number, name: string, type: RecordType): Buffer | undefined {
  try {
    return encodeQuery(id, name, type)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function turnstile(room: number): { enter(): Promise<void> | undefined; leave(): void } {
  let inside = 0
  const waiting: (() => void)[] = []
  return {
    enter() {
      if (inside++ < room) return undefined
      return new Promise((resolve) => waiting.push(resolve))
    },
    leave() {
      inside--
      waiting.shift()?.()
    },
  }
}

type Read<T extends RecordType> = (message: Buffer) => Decoded<T> | undefined

function overUdp<T extends RecordType>(
  clock: Clock,
  timeoutMs: number,
  { host, port }: Server,
  query: Buffer,
  read: Read<T>,
): Promise<Decoded<T> | undefined> {
  return new Promise((resolve) => {
    // a socket of its own: a fresh source port is half of what a forger has to guess (RFC 5452)
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4')
    const timer = clock.after(timeoutMs, () => finish(undefined))
    let open = true
    const finish = (decoded: Decoded<T> | undefined) => {
      if (!open) return
      open = false
      timer.cancel()
      socket.close()
      resolve(decoded)
    }
    socket.on('error', () => finish(undefined))
    socket.on('message', (message) => {
      const decoded = read(message)
      if (decoded) finish(decoded)
    })
    socket.connect(port, host, () => {
      if (open) socket.send(query, (error) => error && finish(undefined))
    })
  })
}

function overTcp<T extends RecordType>(
  clock: Clock,
  timeoutMs: number,
  { host, port }: Server,
  query: Buffer,
  read: Read<T>,
): Promise<Decoded<T> | undefined> {
  return new Promise((resolve) => {
    const socket = connect(port, host)
    const timer = clock.after(timeoutMs, () => finish(undefined))
    const finish = (decoded: Decoded<T> | undefined) => {
      timer.cancel()
      socket.destroy()
      resolve(decoded)
    }
    let received: Buffer = Buffer.alloc(0)
    socket.on('error', () => finish(undefined))
    socket.on('close', () => finish(undefined))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      const length = received.length < 2 ? Number.POSITIVE_INFINITY : received.readUInt16BE(0)
      if (received.length >= length + 2) finish(read(received.subarray(2, length + 2)))
    })
    const prefix = Buffer.alloc(2)
    prefix.writeUInt16BE(query.length)
    socket.write(Buffer.concat([prefix, query]))
  })
}

function parseServer(text: string, path: string): Server {
  const bare = isIPv6(text) ? `[${text}]` : text
  const [, host, port = '53'] = /^(\[[0-9a-f:.]+\]|\d+\.\d+\.\d+\.\d+)(?::(\d{1,5}))?$/i.exec(bare) ?? []
  if (host === undefined) throw badOption(path, "an address with or without a port, as '192.0.2.53:53'", text)
  return { host: host.replace(/[[\]]/g, ''), port: Number(port) }
}
