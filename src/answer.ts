// What nodemailer answered, read into one Reply per recipient. Its error codes differ between majors and
// its top-level code may be any recipient's, so everything here comes from the replies themselves: those in
// rejectedErrors, and those nodemailer noted in the envelope object that was lent to it.
// Not here: the try itself (attempt.ts), or what a reply means (core/classify).

import { addressKey } from './address.ts'
import { capped, parseReply } from './core/classify/parse.ts'
import type { Phase, Reply } from './core/reply.ts'
import type { Target } from './transporter.ts'

/** What became of one recipient in one try. `uncertain`: the message may have been delivered all the same. */
export type RecipientOutcome =
  | { readonly accepted: true; readonly reply: Reply }
  | { readonly accepted: false; readonly reply: Reply; readonly uncertain: boolean }

/** How a transport written for steadymail answers, under `steadymail` of its info or error. */
export interface OwnAnswer {
  readonly recipients: readonly {
    readonly address: string
    readonly accepted: boolean
    readonly reply: Reply
    /** @default false */
    readonly uncertain?: boolean
  }[]
  readonly transcript?: readonly string[]
}

/** The envelope object lent to nodemailer's SMTPConnection, which keeps its progress in it. */
export interface EnvelopeInUse {
  readonly from: string
  readonly to: readonly string[]
  readonly accepted?: unknown
  readonly rejected?: unknown
  readonly rejectedErrors?: unknown
  /** nodemailer 10 pipelines: the refusal of MAIL waits here for the replies to what was sent along. */
  readonly mailError?: unknown
}

/** How far a try had come. */
export interface Progress {
  readonly kind: Target['kind']
  readonly host: string | undefined
  /** The last one lent; none while there was no usable connection. */
  readonly envelope: EnvelopeInUse | undefined
  /** Replies that came, but that nodemailer did not come to; only a pool lets us see them. */
  readonly unread: readonly string[]
  /** Whether the connection had carried a message before. */
  readonly reused: boolean
  /** Whether the body was asked for. */
  readonly read: boolean
  /** Whether the body was handed over to its end. */
  readonly handedOver: boolean
}

/** The reply that stands for every recipient without one of its own. */
export interface Failure {
  readonly reply: Reply
  readonly uncertain: boolean
}

interface Given {
  readonly recipients: readonly string[]
  readonly info: unknown
  readonly error: unknown
  readonly failure: Failure | undefined
  readonly envelope: EnvelopeInUse | undefined
  readonly target: Target
  readonly handedOver: boolean
}

type Fields = Readonly<Record<string, unknown>>

export function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** One outcome per recipient, in their order. */
export function readAnswer(given: Given): {
  readonly outcomes: readonly RecipientOutcome[]
  readonly transcript?: readonly string[]
} {
  const own = ownAnswer(given.error) ?? ownAnswer(given.info)
  const outcomes = own ? fromOwn(own, given) : fromNodemailer(given)
  return own?.transcript ? { outcomes, transcript: own.transcript } : { outcomes }
}

function ownAnswer(value: unknown): OwnAnswer | undefined {
  const own = isRecord(value) ? value.steadymail : undefined
  return isRecord(own) && Array.isArray(own.recipients) ? (own as unknown as OwnAnswer) : undefined
}

function fromOwn(own: OwnAnswer, given: Given): readonly RecipientOutcome[] {
  const [only] = own.recipients
  // the usual case, without a table of one
  if (
    only &&
    own.recipients.length === 1 &&
    given.recipients.length === 1 &&
    only.address === given.recipients[0]
  )
    return [outcomeOf(only)]
  const byAddress = new Map(own.recipients.map((one) => [addressKey(one.address), one]))
  return given.recipients.map((address) => {
    const said = byAddress.get(addressKey(address))
    return said ? outcomeOf(said) : elsewise(given)
  })
}

function outcomeOf(said: OwnAnswer['recipients'][number]): RecipientOutcome {
  const { accepted, uncertain = false } = said
  const text = harmless(said.reply.text)
  const reply = text === said.reply.text ? said.reply : { ...said.reply, text }
  return accepted ? { accepted, reply } : { accepted, reply, uncertain }
}

/** For a recipient that the answer does not name. */
function elsewise({ failure, info, target }: Given): RecipientOutcome {
  return failure ? { accepted: false, ...failure } : { accepted: true, reply: acceptedReply(info, target) }
}

function fromNodemailer(given: Given): readonly RecipientOutcome[] {
  const { recipients, info, error, envelope, target } = given
  const refusals = listOf(error, 'rejectedErrors') ?? listOf(info, 'rejectedErrors')
  // after a refused MAIL, the replies to its pipelined RCPTs only repeat that there was no MAIL
  const noted =
    given.failure && given.failure.reply.phase !== 'mail' ? listOf(envelope, 'rejectedErrors') : []
  const errors = refusals ?? noted ?? []
  const rejected = given.failure ? [] : (listOf(info, 'rejected') ?? [])
  const common = elsewise(given)
  if (errors.length === 0 && rejected.length === 0) return recipients.map(() => common)
  const byAddress = new Map<string, RecipientOutcome>()
  for (const one of rejected) {
    const reply: Reply = { text: 'rejected, without a reply', phase: 'rcpt', ...hostOf(target) }
    byAddress.set(addressKey(addressIn(one)), { accepted: false, reply, uncertain: false })
  }
  for (const one of errors) {
    if (!isRecord(one) || typeof one.recipient !== 'string') continue
    const phase = one.code === 'EMESSAGE' ? 'dot' : 'rcpt' // LMTP answers the dot once per recipient
    const reply = { ...replyIn(one, phase), ...hostOf(target) }
    byAddress.set(addressKey(one.recipient), { accepted: false, reply, uncertain: false })
  }
  return recipients.map((address) => byAddress.get(addressKey(address)) ?? common)
}

function acceptedReply(info: unknown, target: Target): Reply {
  const text = isRecord(info) && typeof info.response === 'string' ? info.response : ''
  const reply: { -readonly [K in keyof Reply]: Reply[K] } = parse(text, 'dot') // nobody else's yet
  if (target.host !== undefined) reply.host = target.host
  return reply
}

function hostOf({ host }: { readonly host: string | undefined }): Pick<Reply, 'host'> {
  return host === undefined ? {} : { host }
}

// ---- one failure ------------------------------------------------------------------------------------------

/** The failure of a whole try as a reply, with the phase it came in. */
export function failureOf(error: unknown, progress: Progress): Failure {
  const fields: Fields = isRecord(error) ? error : { message: String(error) }
  const spoken = replyIn(fields, phaseOf(fields, progress))
  const reply = spoken.code === undefined ? (lastWord(progress) ?? spoken) : spoken
  return {
    reply: { ...reply, ...hostOf(progress) },
    uncertain: reply.code === undefined && progress.handedOver && !isCertain(fields, progress),
  }
}

/**
 * What the server had said before the connection was lost, where nodemailer reports only the loss: 7 to 9 go
 * on after a 421 to one recipient, and 10 forgets replies that it had not come to when the connection closed.
 */
function lastWord({ envelope, handedOver, unread }: Progress): Reply | undefined {
  if (handedOver) return undefined
  if (isRecord(envelope?.mailError)) return replyIn(envelope.mailError, 'mail')
  const last = unread.at(-1)
  if (last !== undefined && /^[45]\d\d[ -]/.test(last)) {
    const answered = unread.length + answeredIn(envelope)
    return parse(last, answered > (envelope?.to.length ?? 0) ? 'data' : 'rcpt')
  }
  const refused = listOf(envelope, 'rejectedErrors')?.findLast(
    (one) => isRecord(one) && one.responseCode === 421,
  )
  return isRecord(refused) ? replyIn(refused, 'rcpt') : undefined
}

/** How many recipients have been answered. */
function answeredIn(envelope: EnvelopeInUse | undefined): number {
  return (listOf(envelope, 'accepted')?.length ?? 0) + (listOf(envelope, 'rejected')?.length ?? 0)
}

function replyIn(error: Fields, phase: Phase): Reply {
  const response = typeof error.response === 'string' ? error.response : ''
  const parsed = parse(response, phase)
  if (parsed.code !== undefined && parsed.code >= 400) return parsed
  const text = harmless(typeof error.message === 'string' ? error.message : response)
  const code = error.responseCode
  if (typeof code === 'number' && code >= 400 && code < 600) return { text, phase, code }
  return { text, phase, errno: errnoOf(error, text) }
}

/** Where in the session it failed: by what nodemailer says, else by how far it had come. */
function phaseOf({ command, code, response }: Fields, progress: Progress): Phase {
  const said = typeof command === 'string' ? command : ''
  if (code === 'EAUTH' || code === 'ENOAUTH' || code === 'NoAuth' || code === 'EOAUTH2') return 'auth'
  if (/^(EHLO|HELO|LHLO|STARTTLS)/.test(said)) return 'ehlo'
  if (said.startsWith('AUTH')) return 'auth'
  if (said === 'MAIL FROM') return 'mail'
  if (said === 'RCPT TO') return 'rcpt'
  if (said === 'DATA') return code === 'EMESSAGE' ? 'dot' : 'data'
  if (progress.kind === 'sendmail-only') return 'unknown'
  return phaseReached(progress, typeof response === 'string' && response !== '')
}

function phaseReached({ envelope, reused, read, handedOver, kind }: Progress, spoken: boolean): Phase {
  if (handedOver) return 'dot'
  if (read) return 'data'
  if (!envelope) return kind === 'plugin' ? 'unknown' : 'greeting'
  const answered = answeredIn(envelope)
  if (answered === envelope.to.length) return 'data'
  if (answered > 0) return 'rcpt'
  // nothing heard since MAIL: a connection that had been waiting was most likely gone before
  if (reused && !spoken) return 'idle'
  // nodemailer 10 pipelines, and reports a 421 to the first RCPT as one of the connection
  return spoken && Array.isArray(envelope.rejected) ? 'rcpt' : 'mail'
}

/**
 * Transports that take the message whole before they do anything with it: only an error that speaks of a lost
 * connection leaves open whether it went on from there.
 */
function isCertain({ code, name, $metadata, message }: Fields, { kind }: Progress): boolean {
  if (kind !== 'sendmail-only' && kind !== 'plugin') return false
  if (isRecord($metadata) && $metadata.httpStatusCode !== undefined) return true
  const text = `${String(code ?? '')} ${String(name ?? '')}`
  const lost = /ETIMEDOUT|ECONNRESET|ECONNECTION|ESOCKET|EABORT|AbortError|TimeoutError|NetworkingError/
  return !lost.test(text) || /ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(`${text} ${String(message)}`)
}

const SYSTEM_CODE = /\b(?:E(?:CONN[A-Z]+|HOSTUNREACH|NETUNREACH|HOSTDOWN|PIPE|ADDR[A-Z]+|ACCES|PERM|MFILE))\b/
const TLS_TROUBLE = /certificate|\bTLS\b|\bSSL\b|CERT_|wrong version number/i

/** The most telling code: nodemailer's own words for DNS, TLS and login, Node's for sockets, the SDK's for SES. */
function errnoOf({ code, originalCode, name }: Fields, text: string): string {
  const said = typeof code === 'string' ? code : ''
  const original = typeof originalCode === 'string' ? originalCode : ''
  if (
    said === 'ESES' ||
    (said === '' && typeof name === 'string' && /^[A-Z]\w+(Exception|Error)$/.test(name))
  ) {
    return typeof name === 'string' && name !== 'Error' ? name : said || 'EUNKNOWN'
  }
  if (said === 'EDNS') return 'EDNS'
  if (said === 'ESOCKET' && TLS_TROUBLE.test(`${original} ${text}`)) return 'ETLS'
  if (said === 'ESOCKET' || said === 'ECONNECTION') {
    const found = SYSTEM_CODE.exec(original)?.[0] ?? SYSTEM_CODE.exec(text)?.[0]
    return found && found !== 'ECONNECTION' ? found : said
  }
  if (said) return said
  // nodemailer 7 gives no code to these two
  return text.startsWith('Sendmail ')
    ? 'ESENDMAIL'
    : /connection|socket/i.test(text)
      ? 'ECONNECTION'
      : 'Error'
}

/** Control and direction characters, but for tab and line feed. */
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]+/
const ALL_UNSAFE = new RegExp(UNSAFE, 'g')

/** What a stranger sent, as it may be kept and shown: bounded, and with a space for what would act on a terminal. */
function harmless(text: string): string {
  const head = capped(text)
  return UNSAFE.test(head) ? head.replaceAll('\r\n', '\n').replace(ALL_UNSAFE, ' ') : head
}

/** A reply's text as a Reply; what is no SMTP reply, as SES's message id, stays a text. */
function parse(said: string, phase: Phase): Reply {
  const text = harmless(said)
  return /^[2-5]\d\d(?=[ -]|$)/.test(text) ? parseReply(text, phase) : { text, phase }
}

function addressIn(value: unknown): string {
  return isRecord(value) ? String(value.address) : String(value)
}

function listOf(value: unknown, field: string): readonly unknown[] | undefined {
  const list = isRecord(value) ? value[field] : undefined
  return Array.isArray(list) ? list : undefined
}
