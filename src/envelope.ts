// Who a mail is from and for: read where it is plain, checked before nodemailer tidies it up, each mailbox once.
// Not here: building the mail (sibling.ts), or its bytes (freeze.ts).

import { randomUUID } from 'node:crypto'
import { addressKey, checkAddress, domainOf, wireAddress } from './address.ts'
import { SteadymailError, show } from './core/error.ts'

/** What `sendMail` takes, of whatever shape. */
export type Mail = Readonly<Record<string, unknown>>

export interface Envelope {
  /** Empty for the null reverse-path. */
  readonly from: string
  readonly to: readonly string[]
  /** What the user gave beyond addresses, as `size` and `use8BitMime`. */
  readonly extras?: Readonly<Record<string, unknown>>
}

const PLAIN_ADDRESS = /^[\w+-]+(?:\.[\w+-]+)*@[a-z0-9-]+(?:\.[a-z0-9-]+)+$/i
const LOWER_ADDRESS =
  /^[\w+-]+(?:\.[\w+-]+)*@[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/
const NAMED_ADDRESS = /^[\w .'-]{0,100}<([^<>]+)>$/

/** Whether an address is already what goes on the wire: nothing in it to check, quote or fold. */
function isPlain(address: string | undefined): boolean {
  return address !== undefined && address.length <= 320 && LOWER_ADDRESS.test(address)
}

function plainAddress(value: unknown): string | undefined {
  if (typeof value !== 'string' || value.length > 320) return undefined
  if (PLAIN_ADDRESS.test(value)) return value
  const named = NAMED_ADDRESS.exec(value)?.[1]
  return named !== undefined && PLAIN_ADDRESS.test(named) ? named : undefined
}

/** The envelope, where nodemailer's address parser could not see anything else in it. */
export function plainEnvelope(mail: Mail): Envelope | undefined {
  const given = mail.envelope
  const source = isRecord(given) ? given : mail
  const to: string[] = []
  for (const field of ['to', 'cc', 'bcc']) {
    const value = source[field]
    if (value === undefined || value === null) continue
    for (const one of Array.isArray(value) ? value : [value]) {
      const address = plainAddress(one)
      if (address === undefined) return undefined
      to.push(address)
    }
  }
  if (isRecord(given)) {
    const from = given.from ? plainAddress(given.from) : ''
    return from === undefined ? undefined : { from, to, ...extrasOf(given) }
  }
  // custom headers may hold further addresses
  const from = plainAddress(source.from)
  return from === undefined || source.headers || source.envelope ? undefined : { from, to }
}

const ADDRESS_FIELDS = ['from', 'to', 'cc', 'bcc'] as const

/**
 * The same mail with its boundary drawn, its plain addresses parsed and its Message-ID made, which nodemailer does at
 * ten times the cost: it asks the system for each boundary, and parses the addresses anew for each of several uses.
 */
export function prepared(mail: Mail): Mail {
  return mail.baseBoundary ? addressed(mail) : { ...addressed(mail), baseBoundary: boundary() }
}

/** As nodemailer's, 16 hexadecimal digits; Node draws the chance of many UUIDs at a time. */
function boundary(): string {
  const uuid = randomUUID()
  return uuid.slice(19, 23) + uuid.slice(24)
}

function addressed(mail: Mail): Mail {
  if (mail.envelope || mail.headers || mail.raw) return mail
  const parsed: Record<string, unknown> = {}
  for (const field of ADDRESS_FIELDS) {
    const value = mail[field]
    if (value === undefined || value === null) continue
    const list = (Array.isArray(value) ? value : [value]).map(parsedAddress)
    if (list.includes(undefined)) return mail
    parsed[field] = list
  }
  const from = Array.isArray(parsed.from) ? parsed.from[0]?.address : undefined
  if (typeof from !== 'string') return mail
  const messageId = mail.messageId || `<${randomUUID()}@${domainOf(from)}>`
  return { ...mail, ...parsed, messageId }
}

function parsedAddress(value: unknown): { name: string; address: string } | undefined {
  const address = plainAddress(value)
  if (address === undefined || typeof value !== 'string') return undefined
  const name = value === address ? '' : value.slice(0, value.indexOf('<')).trim()
  // quotes and dots in a name are nodemailer's to read
  return /^[\w ]*$/.test(name) ? { name, address } : undefined
}

/** The envelope that nodemailer made. */
export function readEnvelope(envelope: Readonly<Record<string, unknown>>): Envelope {
  const to = Array.isArray(envelope.to) ? envelope.to.map(String) : []
  return { from: envelope.from ? String(envelope.from) : '', to, ...extrasOf(envelope) }
}

const ENVELOPE_ADDRESSES = new Set(['from', 'to', 'cc', 'bcc'])

function extrasOf(envelope: Readonly<Record<string, unknown>>): Pick<Envelope, 'extras'> {
  const extras: Record<string, unknown> = {}
  let found = false
  for (const [key, value] of Object.entries(envelope)) {
    if (ENVELOPE_ADDRESSES.has(key) || value === undefined) continue
    extras[key] = value
    found = true
  }
  return found ? { extras } : {}
}

/**
 * Refuses what SMTP cannot use, and leaves each mailbox once.
 * @throws SteadymailError `BAD_MESSAGE`
 */
export function checkEnvelope(envelope: Envelope): Envelope {
  if (envelope.to.length === 0) {
    throw badMessage('mail.to', 'mail.to: expected at least one recipient, got none')
  }
  if (envelope.to.length === 1 && isPlain(envelope.to[0]) && isPlain(envelope.from)) return envelope
  const to = new Map<string, string>()
  envelope.to.forEach((address, i) => {
    checkAddress(address, `envelope.to[${i}]`)
    const key = addressKey(address)
    if (!to.has(key)) to.set(key, wireAddress(address))
  })
  if (envelope.from !== '') checkAddress(envelope.from, 'envelope.from')
  return { ...envelope, from: wireAddress(envelope.from), to: [...to.values()] }
}

// ---- refusals ---------------------------------------------------------------------------------------------

/**
 * Refuses a mail by what its fields say, before nodemailer sees it.
 * @throws SteadymailError `BAD_MESSAGE`
 */
export function checkMail(mail: unknown): Mail {
  if (!isRecord(mail)) {
    throw badMessage('mail', `mail: expected an object as nodemailer's sendMail takes, got ${show(mail)}`)
  }
  if (mail.auth !== undefined && mail.auth !== null) {
    throw badMessage(
      'mail.auth',
      'mail.auth: expected no per-message login, because credentials are not stored; set auth on the transporter',
    )
  }
  const envelope = mail.envelope
  if (isRecord(envelope)) {
    for (const field of ['from', 'to', 'cc', 'bcc']) checkField(envelope[field], `mail.envelope.${field}`)
  } else {
    for (const field of ['from', 'sender', 'to', 'cc', 'bcc']) checkField(mail[field], `mail.${field}`)
  }
  return mail
}

/**
 * nodemailer turns control characters into spaces and drops what has no `@`; here the caller hears of it.
 * A line break after a comma is left: it is how long lists are written.
 */
function checkField(value: unknown, path: string): void {
  if (value === undefined || value === null || value === '' || value === false) return
  if (Array.isArray(value)) {
    value.forEach((one, i) => {
      checkField(one, `${path}[${i}]`)
    })
    return
  }
  if (isRecord(value)) {
    if (Array.isArray(value.group)) checkField(value.group, `${path}.group`)
    else if (typeof value.address === 'string') checkText(value.address, path)
    return
  }
  if (typeof value === 'string') checkText(value, path)
}

function checkText(text: string, path: string): void {
  if (/[\r\n\0]/.test(text) && /[\r\n\0]/.test(text.replace(/,[ \t]*\r?\n[ \t]*/g, ',').trim())) {
    throw badMessage(path, `${path}: expected an address without CR, LF or NUL, got ${show(text)}`)
  }
  // a group, as 'undisclosed-recipients:;', may be without addresses
  if (!text.includes('@') && !text.includes(':')) {
    throw badMessage(
      path,
      `${path}: expected an address with a domain, as 'name@example.com', got ${show(text)}`,
    )
  }
}

export function badMessage(path: string, message: string): SteadymailError {
  return new SteadymailError('BAD_MESSAGE', message, { path })
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
