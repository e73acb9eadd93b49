// Whether the name we introduce ourselves by is the one DNS knows us by: what receivers check first.

import { isIP, isIPv6 } from 'node:net'
import type { ConnectSettings } from './connect.ts'
import type { RouteResolver } from './resolver.ts'

/** What is amiss, one sentence each; empty when all is well. */
export async function checkIdentity(settings: ConnectSettings, resolver: RouteResolver): Promise<string[]> {
  const { name, localIPv4, localIPv6, family } = settings
  if (name.startsWith('[')) {
    return [
      `mxTransport introduces itself as ${name}, an address literal, which most providers refuse: set 'name' to the host name in your address's PTR record`,
    ]
  }
  if (!name.includes('.')) {
    return [
      `mxTransport introduces itself as '${name}', which is no full host name: set 'name' as in 'mail.example.com'`,
    ]
  }
  const [a, aaaa] = await Promise.all([resolver.lookup(name, 'A'), resolver.lookup(name, 'AAAA')])
  const unanswered = [a, aaaa].find(({ status }) => status !== 'NOERROR' && status !== 'NXDOMAIN')
  if (unanswered)
    return [
      `The addresses of ${name} could not be looked up (${unanswered.status}), so its identity is not checked`,
    ]
  const named = [...a.records, ...(family === 'ipv4' ? [] : aaaa.records)]
  if (named.length === 0) {
    return [
      `${name} has no A or AAAA record: add one with the address that mail is sent from, and a PTR record for that address`,
    ]
  }
  const local = [localIPv4, localIPv6].filter((address) => address !== undefined)
  const missing = local.filter((address) => !named.includes(address))
  const warnings = missing.map(
    (address) =>
      `${name} has the address ${named.join(', ')}, but mail is sent from ${address}: add it to the name's records`,
  )
  for (const address of local.length > 0 ? local : named) {
    const reverse = await resolver.lookup(reverseName(address), 'PTR')
    if (reverse.records.includes(name.toLowerCase())) continue
    const found = reverse.records.length > 0 ? `is '${reverse.records.join(', ')}'` : 'does not exist'
    warnings.push(
      `The PTR record of ${address} ${found}, but mxTransport introduces itself as '${name}': many providers refuse mail until whoever owns the address sets the PTR record to this name`,
    )
  }
  return warnings
}

/** The name under which an address's PTR record is kept (RFC 1035 §3.5, RFC 3596 §2.5). */
export function reverseName(address: string): string {
  if (isIP(address) !== 0 && !isIPv6(address)) return `${address.split('.').reverse().join('.')}.in-addr.arpa`
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::')
  const words = (text: string) => (text === '' ? [] : text.split(':'))
  const before = words(head)
  const after = words(tail ?? '')
  const all = [...before, ...new Array<string>(8 - before.length - after.length).fill('0'), ...after]
  const digits = all.map((word) => word.padStart(4, '0')).join('')
  return `${[...digits].reverse().join('.')}.ip6.arpa`
}
