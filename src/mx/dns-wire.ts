// DNS messages (RFC 1035, EDNS0 of RFC 6891) for the few record types that mail needs. Pure.
// Not here: asking somebody (dns.ts).

/** What mail asks for. */
export const TYPES = {
  A: 1,
  CNAME: 5,
  SOA: 6,
  PTR: 12,
  MX: 15,
  TXT: 16,
  AAAA: 28,
  OPT: 41,
  TLSA: 52,
} as const

/** The record types that delivery asks for. */
export type RecordType = 'A' | 'AAAA' | 'MX' | 'TXT' | 'PTR' | 'TLSA'

/** A mail exchanger; the lowest number is asked first. */
export interface MxRecord {
  /** Lower case, without the last dot; empty for a null MX (RFC 7505). */
  readonly exchange: string
  readonly priority: number
}

/** As Node's `dns.resolveTlsa` gives it. */
export interface TlsaRecord {
  readonly certUsage: number
  readonly selector: number
  readonly match: number
  readonly data: Buffer
}

/** What a record of each type is read as. */
export interface RecordOf {
  A: string
  AAAA: string
  PTR: string
  MX: MxRecord
  TXT: readonly string[]
  TLSA: TlsaRecord
}

/** An answer as its server meant it. No records and `NOERROR`: the name exists, this type does not. */
export interface DnsAnswer<T extends RecordType = RecordType> {
  readonly status: 'NOERROR' | 'NXDOMAIN' | 'SERVFAIL' | 'REFUSED' | 'TIMEOUT' | 'BADRESP'
  readonly records: readonly RecordOf[T][]
  /** How long it may be kept; for a negative answer by the zone's SOA (RFC 2308). */
  readonly ttlMs: number
  /** Whether the resolver vouches for it by DNSSEC (the AD bit). */
  readonly authentic: boolean
}

/** Records kept of an answer: no host is tried after as many, and memory has room for many answers. */
const MOST_RECORDS = 50

/** Advised by DNS Flag Day 2020: fits every path without fragments. */
const PAYLOAD = 1232

export function encodeQuery(id: number, name: string, type: RecordType): Buffer {
  const header = Buffer.from([0, 0, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]) // RD, AD; one question, one OPT
  header.writeUInt16BE(id, 0)
  const question = Buffer.from([0, TYPES[type], 0, 1])
  const opt = Buffer.from([0, 0, TYPES.OPT, PAYLOAD >> 8, PAYLOAD & 255, 0, 0, 0, 0, 0, 0])
  return Buffer.concat([header, encodeName(name), question, opt])
}

export function encodeName(name: string): Buffer {
  const parts: Buffer[] = []
  for (const label of name.split('.')) {
    if (label === '') continue
    const bytes = Buffer.from(label, 'latin1')
    if (bytes.length > 63) throw new RangeError(`a label of more than 63 octets in '${name}'`)
    parts.push(Buffer.from([bytes.length]), bytes)
  }
  parts.push(Buffer.from([0]))
  return Buffer.concat(parts)
}

export interface Decoded<T extends RecordType> {
  readonly answer: DnsAnswer<T>
  /** The answer did not fit: ask again over TCP. */
  readonly truncated: boolean
}

const STATUS: Readonly<Record<number, DnsAnswer['status']>> = {
  0: 'NOERROR',
  2: 'SERVFAIL',
  3: 'NXDOMAIN',
  5: 'REFUSED',
}

/** Reads the answer to our question; undefined for anything else, forged or broken. */
export function decodeAnswer<T extends RecordType>(
  message: Buffer,
  id: number,
  name: string,
  type: T,
): Decoded<T> | undefined {
  try {
    return decode(message, id, name.toLowerCase().replace(/\.$/, ''), type)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

function decode<T extends RecordType>(
  message: Buffer,
  id: number,
  name: string,
  type: T,
): Decoded<T> | undefined {
  const flags = message.readUInt16BE(2)
  if (message.readUInt16BE(0) !== id || (flags & 0x8000) === 0 || message.readUInt16BE(4) !== 1)
    return undefined
  const question = readName(message, 12)
  if (question.name !== name || message.readUInt16BE(question.next) !== TYPES[type]) return undefined
  const truncated = (flags & 0x0200) !== 0
  const status = STATUS[flags & 15] ?? 'BADRESP'
  const found = readRecords(message, question.next + 4, name, type)
  const answer = { status, ...found, authentic: (flags & 0x20) !== 0 }
  return {
    answer: status === 'NOERROR' || status === 'NXDOMAIN' ? answer : { ...answer, records: [], ttlMs: 0 },
    truncated,
  }
}

function readRecords<T extends RecordType>(
  message: Buffer,
  from: number,
  name: string,
  type: T,
): { records: RecordOf[T][]; ttlMs: number } {
  const answers = message.readUInt16BE(6)
  const authorities = message.readUInt16BE(8)
  const aliases = new Set([name])
  const records: RecordOf[T][] = []
  let ttl = Number.POSITIVE_INFINITY
  let negativeTtl = 0
  let at = from
  for (let i = 0; i < answers + authorities; i++) {
    const owner = readName(message, at)
    const kind = message.readUInt16BE(owner.next)
    const seconds = message.readUInt32BE(owner.next + 4)
    const length = message.readUInt16BE(owner.next + 8)
    const start = owner.next + 10
    const end = start + length
    if (end > message.length) throw new RangeError('a record beyond the end')
    at = end
    if (i >= answers) {
      // the last field of SOA is how long to remember that something is not there
      if (kind === TYPES.SOA) negativeTtl = Math.min(seconds, message.readUInt32BE(end - 4))
    } else if (aliases.has(owner.name)) {
      if (kind === TYPES.CNAME) aliases.add(readName(message, start).name)
      else if (kind !== TYPES[type]) continue
      else if (records.length < MOST_RECORDS) records.push(readRecord(message, start, end, type))
      ttl = Math.min(ttl, seconds)
    }
  }
  return { records, ttlMs: 1000 * (records.length > 0 ? ttl : negativeTtl) }
}

function readRecord<T extends RecordType>(message: Buffer, start: number, end: number, type: T): RecordOf[T] {
  const readers: { [K in RecordType]: () => RecordOf[K] } = {
    A: () => {
      if (end - start !== 4) throw new RangeError('an A record of another length')
      return [...message.subarray(start, end)].join('.')
    },
    AAAA: () => {
      if (end - start !== 16) throw new RangeError('an AAAA record of another length')
      const words = Array.from({ length: 8 }, (_, i) => message.readUInt16BE(start + 2 * i).toString(16))
      return new URL(`http://[${words.join(':')}]`).hostname.slice(1, -1)
    },
    PTR: () => readName(message, start).name,
    MX: () => ({ priority: message.readUInt16BE(start), exchange: readName(message, start + 2).name }),
    TXT: () => {
      const texts: string[] = []
      for (let at = start; at < end; at += 1 + message.readUInt8(at)) {
        texts.push(message.toString('utf8', at + 1, Math.min(end, at + 1 + message.readUInt8(at))))
      }
      return texts
    },
    TLSA: () => ({
      certUsage: message.readUInt8(start),
      selector: message.readUInt8(start + 1),
      match: message.readUInt8(start + 2),
      data: Buffer.from(message.subarray(start + 3, end)),
    }),
  }
  return readers[type]()
}

/** A name with its compression (RFC 1035 §4.1.4) undone, lower case. Pointers only lead back, so it ends. */
export function readName(message: Buffer, from: number): { name: string; next: number } {
  const labels: string[] = []
  let at = from
  let next: number | undefined
  let lowest = from
  for (let length = 0; length < 256; ) {
    const head = message.readUInt8(at)
    if (head === 0) return { name: labels.join('.').toLowerCase(), next: next ?? at + 1 }
    if (head >= 0xc0) {
      const target = message.readUInt16BE(at) & 0x3fff
      next ??= at + 2
      if (target >= lowest) throw new RangeError('a pointer that does not lead back')
      lowest = target
      at = target
      continue
    }
    if (head > 63 || at + 1 + head > message.length) throw new RangeError('a bad label')
    const label = message.toString('latin1', at + 1, at + 1 + head)
    if (label.includes('.')) throw new RangeError('a label with a dot')
    labels.push(label)
    length += head + 1
    at += head + 1
  }
  throw new RangeError('a name of more than 255 octets')
}
