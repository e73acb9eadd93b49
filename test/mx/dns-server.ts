// A DNS server on loopback, UDP and TCP on one port, that answers from a table: the zone of a test.
// Its encoder is its own, so that the one under test is not checked against itself; it compresses names,
// follows CNAMEs, sends SOA with what is not there, and cuts long UDP answers short.

import { createSocket } from 'node:dgram'
import { createServer, isIPv6 } from 'node:net'

export type ZoneRecord =
  | { readonly type: 'A' | 'AAAA' | 'PTR' | 'CNAME'; readonly value: string; readonly ttl?: number }
  | { readonly type: 'MX'; readonly value: string; readonly priority?: number; readonly ttl?: number }
  | { readonly type: 'TXT'; readonly value: string; readonly ttl?: number }
  | { readonly type: 'TLSA'; readonly value: string; readonly ttl?: number }

/** How a whole name answers, or fails to. */
export type ZoneEntry = readonly ZoneRecord[] | 'SERVFAIL' | 'REFUSED' | 'silence'

export interface DnsServer {
  /** As `dns.servers` takes it. */
  readonly address: string
  /** By name, lower case, no last dot. What is not here does not exist (NXDOMAIN). */
  readonly zone: Map<string, ZoneEntry>
  /** `MX example.test`, in order. */
  readonly queries: string[]
  /** Sets the AD bit, as a validating resolver does for signed zones. */
  authentic: boolean
  /** Largest UDP answer. */
  maxUdp: number
  close(): Promise<void>
}

const TYPE = { A: 1, CNAME: 5, SOA: 6, PTR: 12, MX: 15, TXT: 16, AAAA: 28, TLSA: 52 } as const
const HOST = '127.0.0.53'
const DEFAULT_TTL = 300
const NEGATIVE_TTL = 60

export const mx = (value: string, priority = 10, ttl = DEFAULT_TTL): ZoneRecord => ({
  type: 'MX',
  value,
  priority,
  ttl,
})
export const a = (value: string, ttl = DEFAULT_TTL): ZoneRecord => ({
  type: isIPv6(value) ? 'AAAA' : 'A',
  value,
  ttl,
})

export async function dnsServer(zone: Readonly<Record<string, ZoneEntry>> = {}): Promise<DnsServer> {
  const udp = createSocket('udp4')
  const server = {
    address: '',
    zone: new Map(Object.entries(zone)),
    queries: [] as string[],
    authentic: false,
    maxUdp: 1232,
    async close() {
      udp.close()
      await new Promise<void>((resolve) => tcp.close(() => resolve()))
    },
  }
  udp.on('message', (query, { port, address }) => {
    const answer = respond(query, server)
    if (answer) udp.send(answer.length > server.maxUdp ? truncated(answer) : answer, port, address)
  })
  const tcp = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (framed) => {
      const answer = respond(framed.subarray(2), server)
      if (!answer) return
      const length = Buffer.alloc(2)
      length.writeUInt16BE(answer.length)
      socket.end(Buffer.concat([length, answer]))
    })
  })
  // an address where no client has its own end: one port must be free for both
  await new Promise<void>((resolve) => tcp.listen(0, HOST, resolve))
  const listening = tcp.address()
  const port = typeof listening === 'object' && listening ? listening.port : 0
  await new Promise<void>((resolve) => udp.bind(port, HOST, resolve))
  server.address = `${HOST}:${port}`
  return server
}

function respond(
  query: Buffer,
  { zone, queries, authentic }: Pick<DnsServer, 'zone' | 'queries' | 'authentic'>,
): Buffer | undefined {
  const [name, end] = nameAt(query, 12)
  const type = query.readUInt16BE(end)
  const typeName = Object.entries(TYPE).find(([, code]) => code === type)?.[0] ?? String(type)
  queries.push(`${typeName} ${name}`)
  const writer = new Writer(query.subarray(0, end + 4), name)
  let at: string | undefined = name
  let rcode = 0
  while (at !== undefined) {
    const entry: ZoneEntry | undefined = zone.get(at)
    if (entry === 'silence') return undefined
    if (entry === 'SERVFAIL' || entry === 'REFUSED') return writer.finish(entry === 'SERVFAIL' ? 2 : 5, false)
    if (entry === undefined) rcode = 3
    const records: readonly ZoneRecord[] = entry ?? []
    const alias: ZoneRecord | undefined = records.find((record) => record.type === 'CNAME')
    for (const record of records) if (TYPE[record.type] === type || record === alias) writer.add(at, record)
    at = alias?.value
  }
  return writer.finish(rcode, authentic)
}

class Writer {
  private readonly parts: Buffer[]
  private length: number
  private answers = 0
  private readonly known = new Map<string, number>()

  constructor(question: Buffer, name: string) {
    this.parts = [Buffer.from(question)]
    this.length = question.length
    this.known.set(name, 12)
  }

  add(owner: string, record: ZoneRecord): void {
    this.answers++
    const ttl = record.ttl ?? DEFAULT_TTL
    this.push(this.name(owner))
    const head = Buffer.alloc(10)
    head.writeUInt16BE(TYPE[record.type], 0)
    head.writeUInt16BE(1, 2)
    head.writeUInt32BE(ttl, 4)
    this.push(head)
    const start = this.length
    this.value(record)
    head.writeUInt16BE(this.length - start, 8)
  }

  private value(record: ZoneRecord): void {
    switch (record.type) {
      case 'A':
        this.push(Buffer.from(record.value.split('.').map(Number)))
        return
      case 'AAAA':
        this.push(ipv6(record.value))
        return
      case 'MX': {
        const priority = record.priority ?? 10
        this.push(Buffer.from([priority >> 8, priority & 255]))
        this.push(this.name(record.value))
        return
      }
      case 'TXT':
        // in two strings, as long ones must be
        for (const text of [record.value.slice(0, 5), record.value.slice(5)]) {
          this.push(Buffer.from([Buffer.byteLength(text)]), Buffer.from(text))
        }
        return
      case 'TLSA':
        this.push(Buffer.from(record.value, 'hex'))
        return
      default:
        this.push(this.name(record.value))
    }
  }

  finish(rcode: number, authentic: boolean): Buffer {
    const negative = this.answers === 0 && (rcode === 0 || rcode === 3)
    if (negative) this.soa()
    const message = Buffer.concat(this.parts)
    message.writeUInt16BE(0x8180 | rcode | (authentic ? 0x20 : 0), 2)
    message.writeUInt16BE(this.answers, 6)
    message.writeUInt16BE(negative ? 1 : 0, 8)
    message.writeUInt16BE(0, 10)
    return message
  }

  private soa(): void {
    const numbers = Buffer.alloc(20)
    numbers.writeUInt32BE(NEGATIVE_TTL, 16)
    const value = Buffer.concat([Buffer.from([0, 0]), numbers])
    const head = Buffer.from([0, 0, TYPE.SOA, 0, 1, 0, 0, 1, 44, value.length >> 8, value.length & 255])
    this.push(head, value)
  }

  /** With a pointer to the longest ending that stands already. */
  private name(name: string): Buffer {
    const labels = name === '' ? [] : name.split('.')
    const parts: Buffer[] = []
    let at = this.length
    for (let i = 0; i < labels.length; i++) {
      const rest = labels.slice(i).join('.')
      const known = this.known.get(rest)
      if (known !== undefined)
        return Buffer.concat([...parts, Buffer.from([0xc0 | (known >> 8), known & 255])])
      this.known.set(rest, at)
      const label = Buffer.from(labels[i] ?? '')
      parts.push(Buffer.from([label.length]), label)
      at += label.length + 1
    }
    return Buffer.concat([...parts, Buffer.from([0])])
  }

  private push(...buffers: Buffer[]): void {
    for (const buffer of buffers) {
      this.parts.push(buffer)
      this.length += buffer.length
    }
  }
}

function nameAt(message: Buffer, from: number): [string, number] {
  const labels: string[] = []
  let at = from
  for (;;) {
    const length = message.readUInt8(at)
    if (length === 0) return [labels.join('.').toLowerCase(), at + 1]
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += length + 1
  }
}

function ipv6(address: string): Buffer {
  const [head = '', tail = ''] = address.split('::')
  const words = (text: string) =>
    (text === '' ? [] : text.split(':')).map((word) => Number.parseInt(word, 16))
  const before = words(head)
  const after = words(tail)
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Buffer.from(all.flatMap((word) => [word >> 8, word & 255]))
}

function truncated(answer: Buffer): Buffer {
  const [, end] = nameAt(answer, 12)
  const short = Buffer.from(answer.subarray(0, end + 4))
  short.writeUInt16BE(answer.readUInt16BE(2) | 0x0200, 2)
  short.writeUInt16BE(0, 6)
  short.writeUInt16BE(0, 8)
  return short
}
