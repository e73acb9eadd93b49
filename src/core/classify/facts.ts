// Reply → Facts: the one form all layers match against, made once per reply.
// `flat` keeps the server's spelling for provider rules; `folded` is what the general rules read: lower case,
// no accents, with addresses, IPs and links replaced by marks, so that their words are not taken for reasons.

import type { Phase, Reply } from '../reply.ts'
import type { ReplyContext } from '../verdict.ts'
import { capped, codeIn, enhancedIn, phaseIn, quotedHost } from './parse.ts'

export interface Facts {
  readonly reply: Reply
  readonly code: number | undefined
  readonly enhanced: string | undefined
  readonly phase: Phase
  readonly flat: string
  readonly folded: string
  /** Keys of the words in `flat` and `folded`; see `keyOf`. */
  readonly keys: readonly number[]
  readonly host: string | undefined
  readonly errno: string | undefined
}

// biome-ignore lint/complexity/useRegexLiterals: control characters read better escaped
const SPACES = new RegExp('[\\u0000-\\u0020\\u007f-\\u00a0\\u200b-\\u200f\\u2028-\\u202e\\ufeff]+', 'g')
const UNTIDY = /[^\u0020-\u007e]| {2}/
// A line's repeated code: at a line's start, or folded into the middle of a log line.
const CONTINUED = /\n\s{0,8}[2-5]\d\d(?:[- ]|$)#?(?:[245]\.\d{1,3}\.\d{1,3}(?![.\d]))?/g
const FOLDED_IN = / [45]\d\d-(?:[45]\.\d{1,3}\.\d{1,3} )?/g
const LAST_CODE = / [45]\d\d [45]\.\d{1,3}\.\d{1,3} /g
const LEADING =
  /^[\s"'<([#*-]{0,3}(?:[2-5]\d\d(?:[- ]|$))?[\s#([-]{0,2}(?:[245]\.\d{1,3}\.\d{1,3}(?![.\d]))?[\s:.-]*/
const TAG = /<\/?[a-z][a-z0-9]{0,9}(?: [^<>]{0,200})?\/?>/gi
const NON_ASCII = /[^\u0000-\u007f]/
const MARKS = /([a-z])\p{M}{1,4}/gu
const IPV4 = /(?:\b|_)[\dx]{1,3}(?:\.[\dx#*]{1,3}){3}(?![\d.]*[a-z])/
const IPV6 = /^\W*(?:ipv6:)?[0-9a-f]{1,4}(?::[0-9a-f]{0,4}){3,7}/
const LETTERS: Readonly<Record<string, string>> = {
  ł: 'l',
  ß: 'ss',
  ø: 'o',
  đ: 'd',
  ı: 'i',
  æ: 'ae',
  '’': "'",
  '‘': "'",
  '“': '"',
  '”': '"',
  '–': '-',
  '—': '-',
}
const SPECIAL = /[łßøđıæ’‘“”–—]/g

function unaccented(text: string): string {
  return text
    .replace(SPECIAL, (letter) => LETTERS[letter] ?? letter)
    .normalize('NFD')
    .replace(MARKS, '$1')
    .normalize('NFC')
}

// What Postfix puts before any refusal at DATA is no reason.
const WRAPPER = /\b(?:data|end-of-data)(?: command)? rejected: (?=\S)/

const MASKABLE = /[@:.]./
const LINK_PATH = /[^a-z0-9.-]/

/** One word with addresses, links and IPs replaced by `mailaddr`, `href:host` and `ipaddr`. */
function masked(word: string): string {
  const link = word.indexOf('://')
  if (link >= 0) {
    const rest = word.slice(link + 3)
    const end = rest.search(LINK_PATH)
    const last = word[word.length - 1]
    const tail = last !== undefined && '.,;)'.includes(last) ? last : ''
    return `href:${end < 0 ? rest : rest.slice(0, end)}${tail}`
  }
  const at = word.indexOf('@')
  if (at > 0 && at < word.length - 1) {
    const last = word[word.length - 1] ?? ''
    const second = word[word.length - 2] ?? ''
    const tail = ':;,.)'.includes(last) ? (second === '>' ? `>${last}` : last) : last === '>' ? '>' : ''
    return word[0] === '<' ? `<mailaddr${tail}` : `mailaddr${tail}`
  }
  if (word.includes('.')) return IPV4.test(word) ? word.replace(IPV4, 'ipaddr') : word
  return word.includes(':') && IPV6.test(word) ? 'ipaddr' : word
}

/** A number for the first four characters of a word, by which rules are indexed. */
export function keyOf(word: string): number {
  let key = 0
  const end = Math.min(4, word.length)
  for (let at = 0; at < end; at++) key = key * 256 + (word.charCodeAt(at) & 255)
  return key
}

/** The key of texts with a letter beyond ASCII. */
export const FOREIGN_KEY = 1

const MASKED = ['ipaddr', 'mailaddr', 'href'].map(keyOf)

function keysOf(folded: string, given: readonly number[]): number[] {
  const keys = new Set<number>(given)
  let key = 0
  let length = 0
  for (let at = 0; at <= folded.length; at++) {
    const c = at < folded.length ? folded.charCodeAt(at) : 32
    if ((c >= 97 && c <= 122) || (c >= 48 && c <= 57)) {
      if (length < 4) key = key * 256 + (c & 255)
      length++
    } else if (length > 0) {
      keys.add(key)
      key = 0
      length = 0
    }
  }
  return [...keys]
}

const PLACEHOLDER =
  /\$\([a-z_]{1,12}\)|\{ip(?: address)?\}|\[ip(?: address)?\]|<ip(?: address)?>|x\.xx\.xx\.xx?/g

/** Everything the layers need to know of a reply, in the form they match against. */
export function factsOf(reply: Reply, context: ReplyContext): Facts {
  const text = capped(reply.text)
  const found = reply.errno === undefined ? codeIn(text) : undefined
  const own = found === undefined || found.at === 0 ? text : text.slice(found.at)
  const lines = own.includes('\n') ? own.replace(CONTINUED, ' ') : own
  let flat = (UNTIDY.test(lines) ? lines.replace(SPACES, ' ') : lines).trim()
  if (flat.includes('-5.') || flat.includes('-4.'))
    flat = flat.replace(FOLDED_IN, ' ').replace(LAST_CODE, ' ')
  const lower = flat.toLowerCase()
  const foreign = NON_ASCII.test(lower)
  const plain = foreign ? unaccented(lower) : lower
  let folded = plain.replace(LEADING, '')
  if (folded.includes('<')) folded = folded.replace(TAG, ' ')
  if (folded.includes('rejected: ')) folded = folded.replace(WRAPPER, '')
  if (/[$[{<x]/.test(folded)) folded = folded.replace(PLACEHOLDER, 'ipaddr')
  const words = folded.split(' ')
  for (let at = 0; at < words.length; at++) {
    const word = words[at]
    if (word !== undefined && word.length > 4 && MASKABLE.test(word)) words[at] = masked(word)
  }
  folded = words.join(' ')
  const given = context.phase ?? reply.phase
  return {
    reply,
    code: reply.code ?? found?.code,
    enhanced: reply.enhanced ?? enhancedIn(own),
    phase: given === 'unknown' ? (phaseIn(text) ?? 'unknown') : given,
    flat,
    folded,
    keys: keysOf(plain, foreign ? [...MASKED, FOREIGN_KEY] : MASKED),
    host: reply.host ?? quotedHost(text),
    errno: reply.errno,
  }
}
