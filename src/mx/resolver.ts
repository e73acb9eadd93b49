// Who takes mail for a domain: MX records in RFC 5321 §5.1's order, the domain itself where it has none, an
// address literal as it stands; remembered for as long as the DNS allows, and no longer.
// Not here: addresses and connections (connect.ts), or which lane a host belongs to (core/policy-book).

import { isIP } from 'node:net'
import { normalizeDomain } from '../address.ts'
import { type Clock, systemClock } from '../clock.ts'
import { fields, span, whole } from '../core/check.ts'
import type { Reply } from '../core/reply.ts'
import type { Duration } from '../core/units.ts'
import { Cache } from './cache.ts'
import { type DnsQuery, dnsClient } from './dns.ts'
import type { DnsAnswer, MxRecord, RecordType } from './dns-wire.ts'

/** Where names are looked up, and how long the answers are kept. */
export interface DnsOptions {
  /** Recursive resolvers, as `'192.0.2.53'` or `'[::1]:5353'`. @default the system's */
  readonly servers?: readonly string[]
  /** Asks in place of `servers`, for DNS over HTTPS and the like. */
  readonly query?: DnsQuery
  /** How long one server may take; each is asked twice. @default '3s' */
  readonly timeout?: Duration
  /** An answer is kept at least this long, whatever its TTL. @default '30s' */
  readonly minTtl?: Duration
  /** And at most this long. @default '1h' */
  readonly maxTtl?: Duration
  /** Answers kept; the oldest make room. @default 10000 */
  readonly maxAnswers?: number
}

/** The hosts that take mail for a domain. */
export interface MxRoute {
  readonly kind: 'route'
  readonly domain: string
  /** By preference, then name. */
  readonly hosts: readonly MxRecord[]
  /** The same for all domains with these hosts. */
  readonly key: string
}

/** Why nobody takes mail for a domain; `reply` says whether for good. */
export interface NoRoute {
  readonly kind: 'none'
  readonly domain: string
  readonly reply: Reply
}

/** Finds the MX hosts of domains. */
export interface MxResolver {
  /**
   * The best MX host of a domain, and for how long that is known. Never rejects: a domain that cannot be
   * resolved stands for itself, and is asked for again soon.
   */
  resolve(domain: string): Promise<{ readonly mx: string; readonly ttlMs: number }>
  /** The same from memory; undefined when it would have to be looked up. */
  peek(domain: string): string | undefined
}

/** The resolver as the direct transport sees it. */
export interface RouteResolver extends MxResolver {
  route(domain: string): Promise<MxRoute | NoRoute>
  /** From memory, so that a message need not wait for a promise. */
  peekRoute(domain: string): MxRoute | NoRoute | undefined
  lookup<T extends RecordType>(name: string, type: T): Promise<DnsAnswer<T>>
}

/** Failures are asked for again after this; NXDOMAIN and the like by their SOA. */
const FAILURE_TTL_MS = 30_000
/** RFC 2308 §5 advises one to three hours at most; mail waits for new domains, so less. */
const MAX_NEGATIVE_TTL_MS = 300_000

/**
 * Makes a resolver, for `resolveMx` of a wrapped relay.
 * @throws SteadymailError `BAD_OPTION`
 */
export function mxResolver(options: DnsOptions = {}): MxResolver {
  return routeResolver(options, systemClock)
}

export function routeResolver(options: DnsOptions, clock: Clock, path = 'dns'): RouteResolver {
  fields(options, path, ['servers', 'query', 'timeout', 'minTtl', 'maxTtl', 'maxAnswers'])
  const { servers, maxAnswers = 10_000 } = options
  const ms = (name: 'timeout' | 'minTtl' | 'maxTtl', fallback: number) => {
    const value = options[name]
    return value === undefined ? fallback : span(value, `${path}.${name}`)
  }
  const minTtl = ms('minTtl', 30_000)
  const maxTtl = ms('maxTtl', 3_600_000)
  whole(maxAnswers, `${path}.maxAnswers`)
  const query = options.query ?? dnsClient(clock, ms('timeout', 3000), servers, path)
  const answers = new Cache<DnsAnswer>(maxAnswers)
  const routes = new Cache<MxRoute | NoRoute>(maxAnswers)
  const asking = new Map<string, Promise<DnsAnswer>>()

  const keepFor = (answer: DnsAnswer): number => {
    if (answer.status !== 'NOERROR' && answer.status !== 'NXDOMAIN') return FAILURE_TTL_MS
    const most = answer.records.length > 0 ? maxTtl : Math.min(maxTtl, MAX_NEGATIVE_TTL_MS)
    return Math.min(Math.max(answer.ttlMs, minTtl), most)
  }

  async function lookup<T extends RecordType>(name: string, type: T): Promise<DnsAnswer<T>> {
    const key = `${type} ${name}`
    const known = answers.get(key, clock.now())
    if (known) return known as DnsAnswer<T>
    const already = asking.get(key)
    if (already) return (await already) as DnsAnswer<T>
    const asked: Promise<DnsAnswer<T>> = query(name, type).then(
      (answer) => answer,
      () => ({ status: 'SERVFAIL' as const, records: [], ttlMs: 0, authentic: false }),
    )
    asking.set(key, asked)
    const answer = await asked
    asking.delete(key)
    answers.set(key, answer, clock.now() + keepFor(answer))
    return answer
  }

  async function route(given: string): Promise<MxRoute | NoRoute> {
    const domain = normalizeDomain(given)
    const known = routes.get(domain, clock.now())
    if (known) return known
    if (domain.startsWith('[') || isIP(domain) !== 0) {
      const literal = literalRoute(domain)
      routes.set(domain, literal, Number.POSITIVE_INFINITY)
      return literal
    }
    const answer = await lookup(domain, 'MX')
    const found = routeFrom(domain, answer)
    routes.set(domain, found, clock.now() + keepFor(answer))
    return found
  }

  const best = (found: MxRoute | NoRoute) =>
    (found.kind === 'route' && found.hosts[0]?.exchange) || found.domain

  return {
    lookup,
    route,
    peekRoute: (domain) => routes.get(domain, clock.now()),
    peek(domain) {
      const known = routes.get(domain, clock.now()) ?? routes.get(normalizeDomain(domain), clock.now())
      return known && best(known)
    },
    async resolve(domain) {
      const mx = best(await route(domain))
      return { mx, ttlMs: Math.max(0, routes.expiryOf(normalizeDomain(domain)) - clock.now()) }
    },
  }
}

function literalRoute(domain: string): MxRoute | NoRoute {
  const address = domain.replace(/^\[(?:ipv6:)?|\]$/g, '')
  if (isIP(address) === 0) {
    return none(domain, { enhanced: '5.1.2', text: `5.1.2 ${domain} is no address of a host` })
  }
  return { kind: 'route', domain, hosts: [{ exchange: address, priority: 0 }], key: domain }
}

function routeFrom(domain: string, answer: DnsAnswer<'MX'>): MxRoute | NoRoute {
  if (answer.status === 'NXDOMAIN') {
    return none(domain, { errno: 'ENOTFOUND', text: `NXDOMAIN: the domain ${domain} does not exist` })
  }
  if (answer.status !== 'NOERROR') {
    return none(domain, {
      errno: 'EDNS',
      text: `${answer.status}: the MX records of ${domain} could not be looked up, a temporary failure`,
    })
  }
  // RFC 5321 §5.1: without MX records the domain is its own host, of preference 0
  const records = answer.records.length > 0 ? answer.records : [{ exchange: domain, priority: 0 }]
  const named = records.filter(({ exchange }) => exchange !== '')
  if (named.length === 0) {
    return none(domain, { errno: 'ENODATA', text: `null MX: the domain ${domain} takes no mail (RFC 7505)` })
  }
  const hosts = named
    .filter(({ exchange }) => HOST_NAME.test(exchange))
    .sort((a, b) => a.priority - b.priority || (a.exchange < b.exchange ? -1 : 1))
    .slice(0, MAX_HOSTS)
  if (hosts.length === 0) {
    return none(domain, {
      errno: 'EDNS',
      text: `no MX record of ${domain} names a host, a temporary failure`,
    })
  }
  const key = hosts.map(({ exchange, priority }) => `${priority} ${exchange}`).join(', ')
  return { kind: 'route', domain, hosts, key }
}

/** DNS allows any octets in a name; a host has letters, digits and hyphens (RFC 1123 §2.1), some an underscore. */
const HOST_NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*$/
/** More than any real domain has; what is known of a route stays small. */
const MAX_HOSTS = 20

function none(domain: string, reply: Omit<Reply, 'phase'>): NoRoute {
  return { kind: 'none', domain, reply: { ...reply, phase: 'unknown' } }
}
