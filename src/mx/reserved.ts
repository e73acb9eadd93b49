// Addresses that no mail from the internet belongs to: one's own machine and network, and what is reserved.
// A recipient's DNS is anybody's to write; without this it could have us talk to machines of our own.

import { BlockList, isIPv6 } from 'node:net'

// IANA's special-purpose registries (RFC 6890), but for those that are globally reachable
const RESERVED: readonly (readonly [string, number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 128],
  ['::1', 128],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001:2::', 48],
  ['2001:db8::', 32],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
]

const list = new BlockList()
for (const [network, prefix] of RESERVED) list.addSubnet(network, prefix, isIPv6(network) ? 'ipv6' : 'ipv4')

/** Whether an address is local or reserved; IPv4 within IPv6 (mapped, NAT64, 6to4) counts as the IPv4 it leads to. */
export function isReserved(address: string): boolean {
  if (!isIPv6(address)) return list.check(address, 'ipv4')
  const inner = embedded(address)
  return list.check(address, 'ipv6') || (inner !== undefined && list.check(inner, 'ipv4'))
}

function embedded(address: string): string | undefined {
  const words = expand(address)
  const ipv4 = (high: number, low: number) => `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`
  const [w0 = 0, w1 = 0, w2 = 0, , , w5 = 0, w6 = 0, w7 = 0] = words
  const zero = words.slice(0, 5).every((word) => word === 0)
  if (zero && (w5 === 0xffff || w5 === 0)) return ipv4(w6, w7)
  if (w0 === 0x64 && w1 === 0xff9b) return ipv4(w6, w7)
  if (w0 === 0x2002) return ipv4(w1, w2)
  return undefined
}

function expand(address: string): number[] {
  const canonical = new URL(`http://[${address.replace(/%.*$/, '')}]`).hostname.slice(1, -1)
  const [head = '', tail] = canonical.split('::')
  const words = (text: string) =>
    text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16))
  const before = words(head)
  if (tail === undefined) return before
  const after = words(tail)
  return [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after]
}
