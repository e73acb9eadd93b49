// Addresses as strings: which domain they belong to, whether they can go on the wire, how they are shown.
// Not here: parsing of header lists; recipients come from nodemailer's own envelope.

import { domainToASCII } from 'node:url'
import { SteadymailError, show } from './core/error.ts'

const PLAIN_DOMAIN = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$/

/**
 * The domain of an address as a lane key: the text after the last `@` outside quotes, lower case,
 * without a trailing dot, internationalised names in ASCII, address literals in one canonical form.
 * Empty when there is none.
 */
export function domainOf(address: string): string {
  return normalizeDomain(address.slice(atSign(address) + 1 || address.length))
}

/** One spelling per domain: `Example.TEST.`, `münchen.de` and `[IPv6:::0:1]` each have many. */
export function normalizeDomain(domain: string): string {
  const lower = domain.trim().toLowerCase()
  if (PLAIN_DOMAIN.test(lower) && !lower.includes('xn--')) return lower
  if (lower.startsWith('[') && lower.endsWith(']')) return normalizeLiteral(lower.slice(1, -1))
  const bare = lower.replace(/\.+$/, '')
  // domainToASCII gives '' for what it cannot map; such a domain still needs a lane of its own
  return domainToASCII(bare) || bare
}

function normalizeLiteral(content: string): string {
  const tagged = content.startsWith('ipv6:')
  const host = tagged ? content.slice('ipv6:'.length) : content
  if (!host.includes(':')) return `[${host}]`
  try {
    return `[ipv6:${new URL(`http://[${host}]`).hostname.slice(1, -1)}]`
  } catch {
    return `[${content}]`
  }
}

/** Position of the `@` before the domain, or -1. A domain literal may hold a further `@`. */
function atSign(address: string): number {
  if (address.endsWith(']')) {
    const literal = address.lastIndexOf('@[')
    if (literal >= 0) return literal
  }
  if (!address.includes('"')) return address.lastIndexOf('@')
  let quoted = false
  let at = -1
  for (let i = 0; i < address.length; i++) {
    const c = address[i]
    if (quoted && c === '\\') i++
    else if (c === '"') quoted = !quoted
    else if (c === '@' && !quoted) at = i
  }
  return at
}

/** The address with its domain in lower case and without a trailing dot: what goes on the wire. */
export function wireAddress(address: string): string {
  const at = atSign(address)
  if (at < 0) return address
  const domain = address.slice(at + 1)
  return (
    address.slice(0, at + 1) + (domain.startsWith('[') ? domain : domain.toLowerCase().replace(/\.+$/, ''))
  )
}

/** A key that is the same for two spellings of one mailbox: the local part exact, the domain normalised. */
export function addressKey(address: string): string {
  const at = atSign(address)
  return at < 0 ? address : address.slice(0, at + 1) + normalizeDomain(address.slice(at + 1))
}

/**
 * Refuses an address that cannot be in an SMTP envelope.
 * @throws SteadymailError `BAD_MESSAGE` for CR, LF, NUL, an empty local part or no domain
 */
export function checkAddress(address: string, path: string): void {
  if (/[\r\n\0]/.test(address)) {
    throw badAddress(path, 'an address without CR, LF or NUL', address)
  }
  if (atSign(address) < 1) throw badAddress(path, "an address with a domain, as 'name@example.com'", address)
  if (domainOf(address) === '')
    throw badAddress(path, "an address with a domain, as 'name@example.com'", address)
}

function badAddress(path: string, expected: string, address: string): SteadymailError {
  return new SteadymailError('BAD_MESSAGE', `${path}: expected ${expected}, got ${show(address)}`, { path })
}

/** For logs: enough to recognise one's own recipient, too little to write to it: `j…@example.com`. */
export function shortenAddress(address: string): string {
  const at = atSign(address)
  const clean = (text: string) => text.replace(/[\u0000-\u001f\u007f]/g, '')
  if (at < 0) return `${clean(address).slice(0, 1)}…`
  const [first = ''] = clean(address.slice(0, at))
  return `${first}…@${clean(address.slice(at + 1))}`
}
