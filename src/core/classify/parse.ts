// Text → Reply: finds the codes and the phase in whatever a server, a relay or a log line left us.
// Lines are joined, log prefixes skipped, control characters dropped. Not here: what a reply means.

import type { Phase, Reply } from '../reply.ts'

/** Longest text that is looked at, in characters; RFC 5321 §4.5.3.1.5 allows 512 a line. */
export const TEXT_CAP = 4096

/** The part of a text that is looked at: its beginning, and where it is very long its last line too. */
export function capped(text: string): string {
  if (text.length <= TEXT_CAP) return text
  return `${text.slice(0, TEXT_CAP - 512)} ${text.slice(-511)}`
}

// biome-ignore lint/complexity/useRegexLiterals: control characters read better escaped
const CONTROL = new RegExp(
  '[\\u0000-\\u001f\\u007f-\\u009f\\u200b-\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff]+',
  'g',
)

/**
 * A reply's text made safe to print: control and direction characters become spaces, at most `max` characters.
 * @param max characters, an ellipsis included @default 500
 */
export function showReply(text: string, max = 500): string {
  const plain = capped(text).replace(CONTROL, ' ').trim()
  return plain.length <= max ? plain : `${plain.slice(0, max - 1)}…`
}

// biome-ignore lint/complexity/useRegexLiterals: control characters read better escaped
const UNPRINTABLE = new RegExp(
  '[\\u0000-\\u0009\\u000b-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]',
)

/** The reply as it is kept and told: its text capped, without control characters; line ends stay. */
export function printable(reply: Reply): Reply {
  const { text } = reply
  if (text.length <= TEXT_CAP && !UNPRINTABLE.test(text)) return reply
  const lines = capped(text).split(/\r?\n/)
  return { ...reply, text: lines.map((line) => line.replace(CONTROL, ' ')).join('\n') }
}

const STARTS = /^\W{0,3}([2-5]\d\d)(?=[- #\t:.]|$)/
// After these words a log line or a bounce repeats what the server said.
const PREFIX =
  /(?:said|refused to talk to me|responded(?: with)?|returned|smtp;|reply|response|from remote mail server after [a-z ]{3,24}(?::?<[^>]{0,200}>)?[^:]{0,60}|error|message|diagnostic-code|status|failed)\W{0,4}([245]\d\d)(?=[- #\t:])/i
const ANY_CODE = /(?:^|[\s:;('"<>])([45]\d\d)(?=[- ]#?[245]\.\d{1,3}\.\d{1,3})/
const ENHANCED_FIRST = /^\W{0,3}[2-5]\d\d[- ]\W{0,2}([245]\.\d{1,3}\.\d{1,3})(?![.\d])/
const ENHANCED = /(?:^|[^.\d])([245]\.[0-7]\.\d{1,3})(?![.\d])/

/** The enhanced status code a text states, if any; version numbers and addresses are not taken for one. */
export function enhancedIn(text: string): string | undefined {
  return (ENHANCED_FIRST.exec(text) ?? ENHANCED.exec(text))?.[1]
}

interface Found {
  readonly code: number
  /** Where the server's own words begin. */
  readonly at: number
}

/** The basic code of a text and where the reply begins in it; a leading code wins over those that it quotes. */
export function codeIn(text: string): Found | undefined {
  for (const pattern of [STARTS, PREFIX, ANY_CODE]) {
    const found = pattern.exec(text)
    if (found?.[1] !== undefined)
      return { code: Number(found[1]), at: found.index + found[0].lastIndexOf(found[1]) }
  }
  return undefined
}

const IN_REPLY_TO: readonly (readonly [RegExp, Phase])[] = [
  [/end of data/i, 'dot'],
  [/rcpt to/i, 'rcpt'],
  [/mail from/i, 'mail'],
  [/data command|initial data|data$/i, 'data'],
  [/[eh][he]lo/i, 'ehlo'],
  [/auth/i, 'auth'],
  [/initial connection|connect/i, 'greeting'],
]
const REPLY_TO = /in reply to ([^)]{1,40})|from remote mail server after ([a-z ]{3,24})/i

/** The phase that a relay's log line names, as in `(in reply to RCPT TO command)`. */
export function phaseIn(text: string): Phase | undefined {
  if (/refused to talk to me/i.test(text)) return 'greeting'
  const named = REPLY_TO.exec(text)
  const words = named?.[1] ?? named?.[2]
  if (words === undefined) return undefined
  return IN_REPLY_TO.find(([pattern]) => pattern.test(words))?.[1]
}

const HOST_SAID =
  /\bhost ([a-z0-9][a-z0-9.-]{2,120})\s{0,2}(?:\[[0-9a-f.:x]{2,45}\])?:? (?:said|refused|smtp error)/i

/** The host that a relay's log line quotes, as in `host mx1.example.net[192.0.2.1] said:`. */
export function quotedHost(text: string): string | undefined {
  return HOST_SAID.exec(text)?.[1]?.toLowerCase()
}

/**
 * Makes a Reply of text: one server's lines, a relay's log line, or a sentence without a code.
 * Never throws; what the text does not say is left out. Text beyond 4,096 characters is not looked at.
 * @param phase where in the session it was said; without it, what a log line names, else `unknown`
 */
export function parseReply(text: string, phase?: Phase): Reply {
  const head = capped(text)
  const found = codeIn(head)
  const said = found === undefined ? head : head.slice(found.at)
  const enhanced = enhancedIn(said)
  // what begins with a 250 is the server itself, not somebody who quotes one
  const host = found?.at === 0 && found.code < 400 ? undefined : quotedHost(head)
  if (found !== undefined && enhanced !== undefined && host === undefined && phase !== undefined)
    return { code: found.code, enhanced, text: head, phase } // the usual reply, without spreads
  return {
    ...(found === undefined ? {} : { code: found.code }),
    ...(enhanced === undefined ? {} : { enhanced }),
    text: head,
    phase: phase ?? phaseIn(head) ?? 'unknown',
    ...(host === undefined ? {} : { host }),
  }
}
