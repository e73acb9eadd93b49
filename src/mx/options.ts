// What a user tells mxTransport, parsed once, with errors that name the option.

import { isIP, isIPv4, isIPv6 } from 'node:net'
import { hostname } from 'node:os'
import type { ConnectionOptions } from 'node:tls'
import { callable, fields, flag, oneOf, span, whole } from '../core/check.ts'
import { badOption } from '../core/error.ts'
import type { Duration } from '../core/units.ts'
import type { ConnectSettings } from './connect.ts'
import type { PoolSettings } from './pool.ts'
import type { DnsOptions } from './resolver.ts'
import type { TlsLevel } from './tls.ts'

/** How direct delivery introduces itself, connects, and bounds what it keeps open. */
export interface MxTransportOptions {
  /**
   * The name to introduce ourselves by (EHLO). Its A or AAAA record must be our address, and our address's
   * PTR record this name: many providers refuse mail otherwise; `verify()` checks both. @default the machine's
   */
  readonly name?: string
  /** Addresses to send from, at most one IPv4 and one IPv6. @default the system chooses */
  readonly localAddress?: string | readonly string[]
  /** @default 25 */
  readonly port?: number
  /** Which addresses of a host to use, or to use first among hosts of equal preference. @default 'ipv4-first' */
  readonly ip?: 'ipv4-first' | 'ipv6-first' | 'ipv4' | 'ipv6'
  /**
   * `opportunistic`: TLS where it is offered, with any certificate, and without where it fails (RFC 7435).
   * `required`: TLS with any certificate. `verified`: with one that is valid for the MX host. `never`: none.
   * A provider policy, MTA-STS and DANE may ask for more, never for less. @default 'opportunistic'
   */
  readonly tls?: 'opportunistic' | 'required' | 'verified' | 'never'
  /** For `tls.connect`: `ca`, `minVersion`, `ciphers`… */
  readonly tlsOptions?: ConnectionOptions
  /** Respect MTA-STS policies (RFC 8461). @default true */
  readonly mtaSts?: boolean
  /** Respect TLSA records (RFC 7672) where the resolver vouches for them by DNSSEC. @default true */
  readonly dane?: boolean
  /** Deliver to local and reserved addresses too: for tests and closed networks. @default false */
  readonly allowLocal?: boolean
  readonly dns?: DnsOptions
  /** Sockets at a time. @default 100 */
  readonly maxConnections?: number
  /** Of them to one set of MX hosts; a lane's concurrency may ask for fewer. @default 10 */
  readonly maxConnectionsPerHost?: number
  /** A policy may ask for fewer, and servers that end sessions sooner are remembered. @default 100 */
  readonly messagesPerConnection?: number
  /** An unused session is closed after this. @default '10s' */
  readonly idleTimeout?: Duration
  /** For the TCP connection to one address. @default '30s' */
  readonly connectTimeout?: Duration
  /** For the greeting; RFC 5321 §4.5.3.2 allows five minutes. @default '2m' */
  readonly greetingTimeout?: Duration
  /** For the reply to any other command (RFC 5321 §4.5.3.2). @default '5m' */
  readonly commandTimeout?: Duration
  /** For the reply to the message (RFC 5321 §4.5.3.2.6). @default '10m' */
  readonly dataTimeout?: Duration
  /** Told what `verify()` finds amiss, one sentence each. @default process.emitWarning */
  readonly onWarning?: (text: string) => void
}

export interface MxSettings {
  readonly connect: ConnectSettings
  readonly pool: PoolSettings
  readonly need: TlsLevel
  readonly mtaSts: boolean
  readonly connectionsPerHost: number
  readonly messagesPerConnection: number
  readonly dns: DnsOptions
  readonly warn: (text: string) => void
}

const KEYS = [
  ...['name', 'localAddress', 'port', 'ip', 'tls', 'tlsOptions', 'mtaSts', 'dane', 'allowLocal', 'dns'],
  ...['maxConnections', 'maxConnectionsPerHost', 'messagesPerConnection', 'idleTimeout', 'connectTimeout'],
  ...['greetingTimeout', 'commandTimeout', 'dataTimeout', 'onWarning'],
]

/** @throws SteadymailError `BAD_OPTION` */
export function parseMxOptions(input: MxTransportOptions): MxSettings {
  const given = fields(input, 'mxTransport', KEYS)
  const at = (key: string) => `mxTransport.${key}`
  const read = <T>(
    key: keyof MxTransportOptions,
    fallback: T,
    parse: (value: unknown, path: string) => T,
  ): T => (given[key] === undefined ? fallback : parse(given[key], at(key)))
  const tls = read('tls', 'opportunistic', (value, path) =>
    oneOf(value, path, ['opportunistic', 'required', 'verified', 'never'] as const),
  )
  const local = localAddresses(given.localAddress)
  return {
    connect: {
      name: read('name', defaultName(), heloName),
      port: read('port', 25, (value, path) => whole(value, path)),
      localIPv4: local.find((address) => isIPv4(address)),
      localIPv6: local.find((address) => isIPv6(address)),
      family: read('ip', 'ipv4-first', (value, path) =>
        oneOf(value, path, ['ipv4-first', 'ipv6-first', 'ipv4', 'ipv6'] as const),
      ),
      allowLocal: read('allowLocal', false, flag),
      connectMs: read('connectTimeout', 30_000, (value, path) => span(value, path)),
      patience: {
        greeting: read('greetingTimeout', 120_000, (value, path) => span(value, path)),
        command: read('commandTimeout', 300_000, (value, path) => span(value, path)),
        dot: read('dataTimeout', 600_000, (value, path) => span(value, path)),
      },
      tlsOptions: (given.tlsOptions ?? {}) as ConnectionOptions,
      tlsAttempt: tls !== 'never',
      dane: read('dane', true, flag) && tls !== 'never',
    },
    pool: {
      maxConnections: read('maxConnections', 100, (value, path) => whole(value, path)),
      idleMs: read('idleTimeout', 10_000, (value, path) => span(value, path)),
    },
    need: tls === 'required' ? 'encrypted' : tls === 'verified' ? 'verified' : 'none',
    mtaSts: read('mtaSts', true, flag) && tls !== 'never',
    connectionsPerHost: read('maxConnectionsPerHost', 10, (value, path) => whole(value, path)),
    messagesPerConnection: read('messagesPerConnection', 100, (value, path) => whole(value, path)),
    dns: (given.dns ?? {}) as DnsOptions,
    warn: read('onWarning', emitWarning, (value, path) => callable(value, path) as (text: string) => void),
  }
}

function heloName(value: unknown, path: string): string {
  // RFC 5321 §4.1.1.1: a domain, or an address literal
  if (
    typeof value === 'string' &&
    /^(?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f.:]+\]|\[ipv6:[0-9a-f:.]+\])$/i.test(value)
  ) {
    return value
  }
  throw badOption(path, "a host name, as 'mail.example.com'", value)
}

function defaultName(): string {
  const name = hostname()
  return /^[a-z0-9-]+(?:\.[a-z0-9-]+)+$/i.test(name) ? name : '[127.0.0.1]'
}

function localAddresses(value: unknown): readonly string[] {
  if (value === undefined) return []
  const given: unknown[] = Array.isArray(value) ? value : [value]
  const addresses = given.map((one) => {
    if (typeof one === 'string' && isIP(one) !== 0) return one
    throw badOption('mxTransport.localAddress', "an IP address, as '192.0.2.7'", one)
  })
  if (
    addresses.filter((one) => isIPv4(one)).length > 1 ||
    addresses.filter((one) => isIPv6(one)).length > 1
  ) {
    throw badOption('mxTransport.localAddress', 'at most one IPv4 and one IPv6 address', value)
  }
  return addresses
}

function emitWarning(text: string): void {
  process.emitWarning(text, { type: 'SteadymailWarning', code: 'STEADYMAIL_IDENTITY' })
}
