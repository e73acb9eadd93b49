// Values that tests of decisions start from: one delivery, one reply, one verdict, each with what the test says.

import type { Cause } from '../../src/core/cause.ts'
import type { Delivery } from '../../src/core/delivery.ts'
import type { ProviderPolicy } from '../../src/core/policy.ts'
import { type EffectivePolicy, type PolicyBook, policyBook } from '../../src/core/policy-book.ts'
import type { Reply } from '../../src/core/reply.ts'
import type { Verdict } from '../../src/core/verdict.ts'

export const T0 = 1_800_000_000_000
export const MIN = 60_000
export const HOUR = 60 * MIN
export const DAY = 24 * HOUR

/** Chance at its middle: jitter that goes both ways vanishes. */
export const middle = () => 0.5

export function bookOf(
  user: readonly ProviderPolicy[] = [],
  builtin: readonly ProviderPolicy[] = [],
  defaults: { readonly ttlMs?: number } = {},
): PolicyBook {
  return policyBook(user, builtin, () => () => verdictOf('unknown'), defaults)
}

export function policyOf(user: readonly ProviderPolicy[] = [], domain = 'example.com'): EffectivePolicy {
  return bookOf(user).forDomain(domain)
}

export function deliveryOf(given: Partial<Delivery> = {}): Delivery {
  return {
    id: 1,
    ticket: 't1',
    address: 'ann@example.com',
    domain: 'example.com',
    lane: 'example.com',
    sender: 'shop.test',
    priority: 1,
    state: 'claimed',
    attempts: 0,
    tries: 0,
    uncounted: 0,
    uncertain: 0,
    crashes: 0,
    dueAt: T0,
    createdAt: T0,
    expiresAt: T0 + 5 * DAY,
    ...given,
  }
}

export function replyOf(given: Partial<Reply> = {}): Reply {
  return { code: 451, text: '451 4.3.0 not now', phase: 'rcpt', ...given }
}

const SCOPE: { readonly [C in Cause]?: Verdict['scope'] } = {
  'rate-limit': 'lane',
  concurrency: 'lane',
  'connection-recycle': 'connection',
  'reputation-ip': 'lane',
  'reputation-domain': 'lane',
  blocklist: 'lane',
  'reverse-dns': 'lane',
  'tls-required': 'lane',
  'server-busy': 'lane',
  network: 'connection',
  'auth-credentials': 'sender',
  'quota-sender': 'sender',
  authentication: 'sender',
  'sender-rejected': 'sender',
  greylist: 'recipient',
  'recipient-unknown': 'recipient',
  'recipient-disabled': 'recipient',
  'mailbox-full': 'recipient',
  'recipient-rate': 'recipient',
  'recipient-unverified': 'recipient',
  'relay-denied': 'recipient',
  dns: 'recipient',
}

export function verdictOf(cause: Cause, given: Partial<Verdict> = {}): Verdict {
  return {
    persistence: 'transient',
    cause,
    scope: SCOPE[cause] ?? 'message',
    rule: `test-${cause}`,
    layer: 'general',
    advice: 'wait',
    waitingHelps: true,
    ...given,
  }
}
