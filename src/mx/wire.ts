// SMTP as octets: replies cut out of what arrives, commands written with what the server offers, the body
// made safe for DATA (RFC 5321 §4.5.2). Pure: no sockets here (session.ts).

import type { Phase, Reply, ReplyTls } from '../core/reply.ts'

/** A reply with all its lines, codes included, joined by `\n`. */
export interface WireReply {
  readonly code: number
  readonly text: string
}

/** Who a reply came from, and over what. */
export interface Speaker {
  /** The MX host's name, or an address. */
  readonly host: string
  readonly address: string
  readonly tls: ReplyTls | false
}

/** What the server offers (EHLO keywords, upper case) and the largest message it takes, 0 for no limit. */
export interface Offers {
  readonly keywords: ReadonlySet<string>
  readonly maxSize: number
}

export const NO_OFFERS: Offers = { keywords: new Set(), maxSize: 0 }

/** Delivery status notification parameters (RFC 3461), as nodemailer's `dsn`. */
export interface Dsn {
  readonly ret?: string
  readonly envid?: string
  readonly notify?: string
  readonly orcpt?: string
}

/** A server that goes on for longer is broken or hostile. EHLO answers of real servers stay under 2 KiB. */
const MAX_REPLY = 65_536
/** What is kept of a reply's text: the classifier reads no further. */
const KEPT = 4096

/** Cuts replies out of the stream; `feed` gives `undefined` once the server has broken the protocol. */
export interface ReplyReader {
  feed(chunk: string): WireReply[] | undefined
  /** Whether part of a reply has arrived. */
  readonly pending: boolean
  /** What has arrived of it, for a message about it. */
  readonly rest: string
}

export function replyReader(): ReplyReader {
  let rest = ''
  let lines: string[] = []
  let size = 0
  return {
    get pending() {
      return rest !== '' || lines.length > 0
    },
    get rest() {
      return readable([...lines, rest].join('\n'))
    },
    feed(chunk) {
      const replies: WireReply[] = []
      const text = rest === '' ? chunk : rest + chunk
      let from = 0
      for (;;) {
        const end = text.indexOf('\n', from)
        if (end < 0) break
        const line = text.slice(from, text.charCodeAt(end - 1) === 13 ? end - 1 : end)
        from = end + 1
        size += line.length
        if (size > MAX_REPLY || !isReplyLine(line)) {
          rest = line
          return undefined
        }
        lines.push(line)
        if (line[3] === '-') continue
        replies.push({ code: Number(line.slice(0, 3)), text: readable(lines.join('\n')) })
        lines = []
        size = 0
      }
      rest = text.slice(from)
      return size + rest.length > MAX_REPLY ? undefined : replies
    },
  }
}

function isReplyLine(line: string): boolean {
  const first = line.charCodeAt(0)
  if (first < 50 || first > 53) return false // 2 to 5
  for (let i = 1; i < 3; i++) {
    const digit = line.charCodeAt(i)
    if (!(digit >= 48 && digit <= 57)) return false
  }
  return line.length === 3 || line[3] === ' ' || line[3] === '-'
}

/** Octets arrive as latin1; replies are UTF-8 more often than anything else, and are shown to people. */
function readable(octets: string): string {
  const text = octets.length > KEPT ? `${octets.slice(0, KEPT)}…` : octets
  if (!/[\x80-\xff]/.test(text)) return text
  const utf8 = Buffer.from(text, 'latin1').toString('utf8')
  return utf8.includes('\ufffd') ? text : utf8
}

const ENHANCED = /^[245]\d\d[ -]([245]\.\d{1,3}\.\d{1,3})(?=[ \n]|$)/

/** The shared vocabulary's form of what was said. */
export function toReply({ code, text }: WireReply, phase: Phase, { host, address, tls }: Speaker): Reply {
  const enhanced = ENHANCED.exec(text)?.[1]
  return enhanced === undefined
    ? { code, text, phase, host, address, tls }
    : { code, enhanced, text, phase, host, address, tls }
}

/** Reads an EHLO answer (RFC 5321 §4.1.1.1). */
export function readOffers(text: string): Offers {
  const keywords = new Set<string>()
  let maxSize = 0
  for (const line of text.split('\n').slice(1)) {
    const [keyword = '', parameter] = line.slice(4).trim().toUpperCase().split(/[ =]+/, 2)
    if (keyword === '') continue
    keywords.add(keyword)
    if (keyword === 'SIZE' && parameter !== undefined && /^\d{1,15}$/.test(parameter))
      maxSize = Number(parameter)
  }
  return { keywords, maxSize }
}

export interface MailParameters {
  /** Octets of the body, where known. */
  readonly size: number | undefined
  readonly eightBit: boolean
  readonly utf8: boolean
  readonly requireTls: boolean
  readonly dsn: Dsn | undefined
}

export function mailCommand(from: string, p: MailParameters, { keywords }: Offers): string {
  let command = `MAIL FROM:<${from}>`
  if (p.size !== undefined && keywords.has('SIZE')) command += ` SIZE=${p.size}`
  if (p.eightBit && keywords.has('8BITMIME')) command += ' BODY=8BITMIME'
  if (p.utf8) command += ' SMTPUTF8'
  if (p.requireTls) command += ' REQUIRETLS'
  if (p.dsn && keywords.has('DSN')) {
    if (p.dsn.ret) command += ` RET=${p.dsn.ret}`
    if (p.dsn.envid) command += ` ENVID=${p.dsn.envid}`
  }
  return command
}

export function rcptCommand(to: string, dsn: Dsn | undefined, { keywords }: Offers): string {
  let command = `RCPT TO:<${to}>`
  if (dsn && keywords.has('DSN')) {
    if (dsn.notify) command += ` NOTIFY=${dsn.notify}`
    if (dsn.orcpt) command += ` ORCPT=${dsn.orcpt}`
  }
  return command
}

/** nodemailer's `dsn` field in the form in which it goes on the wire. Gives a sentence for what is not valid. */
export function readDsn(dsn: unknown): Dsn | string | undefined {
  if (dsn === undefined || dsn === null || dsn === false) return undefined
  const field = (...names: string[]) => {
    for (const name of names) {
      const value = (dsn as Record<string, unknown>)[name]
      if (value !== undefined && value !== null && value !== '') return value
    }
    return undefined
  }
  const given = field('ret', 'return')
  const ret = given === undefined ? undefined : RETURNS[String(given).toUpperCase()]
  if (given !== undefined && ret === undefined)
    return `dsn.ret: expected 'full' or 'headers', got '${String(given)}'`
  const envid = field('envid', 'id')
  const asked = field('notify')
  const notify = (Array.isArray(asked) ? asked : String(asked ?? '').split(','))
    .map((one) => String(one).trim().toUpperCase())
    .filter(Boolean)
  const known = notify.every((one) => ['NEVER', 'SUCCESS', 'FAILURE', 'DELAY'].includes(one))
  if (!known || (notify.length > 1 && notify.includes('NEVER'))) {
    return `dsn.notify: expected 'never', or some of 'success', 'failure' and 'delay', got '${notify.join(',')}'`
  }
  const orcpt = field('recipient', 'orcpt')
  const typed = orcpt === undefined ? undefined : /^([a-z0-9.-]+;)?(.*)$/is.exec(String(orcpt))
  return {
    ...(ret && { ret }),
    ...(envid !== undefined && { envid: xtext(String(envid)) }),
    ...(notify.length > 0 && { notify: notify.join(',') }),
    ...(typed && { orcpt: (typed[1] ?? 'rfc822;') + xtext(typed[2] ?? '') }),
  }
}

const RETURNS: Readonly<Record<string, string>> = {
  FULL: 'FULL',
  BODY: 'FULL',
  HDRS: 'HDRS',
  HEADERS: 'HDRS',
}

/** RFC 3461 §4. */
function xtext(value: string): string {
  let out = ''
  for (const byte of Buffer.from(value, 'utf8')) {
    const plain = byte > 32 && byte < 127 && byte !== 43 && byte !== 61
    out += plain ? String.fromCharCode(byte) : `+${byte.toString(16).toUpperCase().padStart(2, '0')}`
  }
  return out
}

/** Whether an address can stand between the angle brackets of MAIL and RCPT without becoming a command. */
export function fitsOnWire(address: string): boolean {
  if (!UNFIT.test(address)) return true
  // a space may be quoted, nothing else
  return !UNFIT.test(address.replace(/"(?:[^"\\]|\\.)*"/g, (quoted) => quoted.replaceAll(' ', '')))
}

const UNFIT = /[\u0000-\u0020\u007f<>]/

/**
 * Makes a body safe piece by piece: every line ends in CRLF, bare CR and bare LF included, so that no server
 * sees an end of data where another sees text (SMTP smuggling, CVE-2023-51764), and leading dots are doubled.
 */
export interface Stuffer {
  /** The piece itself where nothing had to be changed. */
  push(piece: Uint8Array): Uint8Array
  /** What ends the data. */
  end(): string
}

const CR = 13
const LF = 10
const DOT = 46

export function stuffer(): Stuffer {
  let last = LF
  return {
    push(piece) {
      const safe = safeUpTo(piece, last)
      if (safe === piece.length) {
        if (safe > 0) last = piece[safe - 1] as number // not empty
        return piece
      }
      let previous = safe === 0 ? last : (piece[safe - 1] as number) // in range
      const out = Buffer.allocUnsafe(safe + (piece.length - safe) * 3)
      out.set(piece.subarray(0, safe))
      let at = safe
      for (let i = safe; i < piece.length; i++) {
        const byte = piece[i] as number // in range
        if (previous === CR && byte !== LF) {
          out[at++] = LF
          previous = LF
        } else if (byte === LF && previous !== CR) out[at++] = CR
        if (byte === DOT && previous === LF) out[at++] = DOT
        out[at++] = byte
        previous = byte
      }
      last = previous
      return out.subarray(0, at)
    },
    end: () => (last === LF ? '.\r\n' : last === CR ? '\n.\r\n' : '\r\n.\r\n'),
  }
}

/** How many octets of a piece can go as they are. Nearly all octets of mail are no control characters: one look at four. */
function safeUpTo(piece: Uint8Array, last: number): number {
  const { length, buffer, byteOffset } = piece
  if (length === 0) return 0
  const [first] = piece
  if (last === CR ? first !== LF : first === LF || (last === LF && first === DOT)) return 0
  const aligned = Math.min(length, -byteOffset & 3)
  let unsafe = unsafeIn(piece, 0, aligned)
  if (unsafe >= 0) return unsafe
  const words = new Int32Array(buffer, byteOffset + aligned, (length - aligned) >> 2)
  for (let i = 0; i < words.length; i++) {
    const word = words[i] as number // in range
    // no octet of it is below 14: CR and LF are
    if (((word - 0x0e0e0e0e) & ~word & 0x80808080) === 0) continue
    unsafe = unsafeIn(piece, aligned + 4 * i, aligned + 4 * i + 4)
    if (unsafe >= 0) return unsafe
  }
  unsafe = unsafeIn(piece, aligned + 4 * words.length, length)
  return unsafe < 0 ? length : unsafe
}

function unsafeIn(piece: Uint8Array, from: number, to: number): number {
  for (let i = from; i < to; i++) {
    const byte = piece[i] as number // in range
    if (byte > CR) continue
    if (byte === CR) {
      // what follows is seen with the next piece
      if (i + 1 < piece.length && piece[i + 1] !== LF) return i + 1
    } else if (byte === LF) {
      if (i > 0 && piece[i - 1] !== CR) return i
      if (i + 1 < piece.length && piece[i + 1] === DOT) return i + 1
    }
  }
  return -1
}
