// Scripts that behave as providers do: greylisting, rates that count refused tries, limits on connections
// and on messages per connection. Each keeps its own state and goes by the server's clock.
// Not here: how scripts are combined (script.ts).

import type { SmtpAnswer, SmtpEvent, SmtpPhase, SmtpScriptFunction } from './script.ts'

/** A reply, or a function that makes one. */
export type ReplyText = `${number} ${string}` | ((event: SmtpEvent) => `${number} ${string}`)

function said(reply: ReplyText, event: SmtpEvent): SmtpAnswer {
  return typeof reply === 'function' ? reply(event) : reply
}

/** How a greylist behaves. */
export interface GreylistOptions {
  /** How long a first contact has to wait. */
  readonly seconds: number
  /** @default '451 4.7.1 Greylisted, please try again in <n> seconds', with what is left */
  readonly reply?: ReplyText
}

/**
 * Defers each new triplet of client address, sender and recipient until it has waited. The wait runs from
 * the first try; trying too early does not lengthen it.
 */
export function greylist({ seconds, reply }: GreylistOptions): SmtpScriptFunction {
  const first = new Map<string, number>()
  return (event) => {
    if (event.phase !== 'rcpt') return undefined
    const triplet = JSON.stringify([event.session.remoteAddress, event.from, event.to])
    const since = first.get(triplet) ?? event.at
    first.set(triplet, since)
    const left = Math.ceil((since + seconds * 1000 - event.at) / 1000)
    if (left <= 0) return undefined
    return reply ? said(reply, event) : `451 4.7.1 Greylisted, please try again in ${left} seconds`
  }
}

/** What a rate limit counts and says. */
export interface RateLimitOptions {
  /** `<number>/<s|min|h|d>`, in a sliding window of that length. */
  readonly rate: `${number}/${'s' | 'min' | 'h' | 'd'}`
  /**
   * Whether a refused try counts as well, as at GMX and WEB.DE: then whoever keeps trying never gets through.
   * @default false
   */
  readonly countsRetries?: boolean
  /** What is counted and refused. @default 'mail' */
  readonly on?: SmtpPhase
  /** @default '421 4.7.0 Too many messages, try again later' */
  readonly reply?: ReplyText
  /** Only these recipients; needs `on: 'rcpt'`. `@example.com` means everybody there. */
  readonly to?: string
}

const WINDOW_MS: Readonly<Record<string, number>> = { s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 }

/** Refuses what exceeds a rate. */
export function rateLimit(options: RateLimitOptions): SmtpScriptFunction {
  const { rate, countsRetries = false, on = 'mail', to } = options
  const { reply = '421 4.7.0 Too many messages, try again later' } = options
  const [, amount, unit = ''] = /^(\d+(?:\.\d+)?)\/(s|min|h|d)$/.exec(rate) ?? []
  const windowMs = WINDOW_MS[unit]
  if (windowMs === undefined) throw new Error(`rate: expected '<number>/<s|min|h|d>', got '${rate}'`)
  const limit = Number(amount)
  let tries: number[] = []
  return (event) => {
    if (event.phase !== on) return undefined
    if (to !== undefined && !event.to.toLowerCase().endsWith(to.toLowerCase())) return undefined
    const since = event.at - windowMs
    if (tries.length > 0 && (tries[0] ?? 0) <= since) tries = tries.filter((at) => at > since)
    const over = tries.length >= limit
    if (!over || countsRetries) tries.push(event.at)
    return over ? said(reply, event) : undefined
  }
}

/** Refuses, at the greeting, every connection beyond `limit` open ones. */
export function maxConnections(
  limit: number,
  reply: ReplyText = '421 4.7.0 Too many concurrent connections from your address',
): SmtpScriptFunction {
  return (event) => (event.phase === 'greeting' && event.open > limit ? said(reply, event) : undefined)
}

/** Ends a connection when it begins one message more than `limit`. */
export function maxMessagesPerConnection(
  limit: number,
  reply: ReplyText = '421 4.7.0 Too many messages on this connection',
): SmtpScriptFunction {
  return (event) =>
    event.phase === 'mail' && event.session.messages >= limit ? said(reply, event) : undefined
}

/** Refuses recipients of one transaction beyond `limit` (RFC 5321 §4.5.3.1.10). */
export function maxRecipients(
  limit: number,
  reply: ReplyText = '452 4.5.3 Too many recipients',
): SmtpScriptFunction {
  return (event) =>
    event.phase === 'rcpt' && event.recipients.length >= limit ? said(reply, event) : undefined
}

/** One reply per recipient: `{ 'full@example.com': '452 4.2.2 Mailbox full', '@example.org': '550 …' }`. */
export function recipients(replies: Readonly<Record<string, SmtpAnswer>>): SmtpScriptFunction {
  const byAddress = new Map(
    Object.entries(replies).map(([address, answer]) => [address.toLowerCase(), answer]),
  )
  return (event) => {
    if (event.phase !== 'rcpt') return undefined
    const address = event.to.toLowerCase()
    return byAddress.get(address) ?? byAddress.get(address.slice(address.lastIndexOf('@')))
  }
}

/** Lets a script speak only in a span of the server's time: `until` an outage ends, `from` when one begins. */
export function during(
  span: { readonly from?: number; readonly until?: number },
  script: SmtpScriptFunction,
): SmtpScriptFunction {
  const { from = Number.NEGATIVE_INFINITY, until = Number.POSITIVE_INFINITY } = span
  return (event) => (event.at >= from && event.at < until ? script(event) : undefined)
}
