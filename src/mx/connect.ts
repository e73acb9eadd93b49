// From a route to a session: mx-connect goes through the MX hosts' addresses, each session is opened as far
// as EHLO and TLS, and the next host is asked when that fails (RFC 5321 §5.1).
// Not here: which sessions exist already (pool.ts).

import { isIP } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import type mxConnect from 'mx-connect'
import type { Clock } from '../clock.ts'
import { SteadymailError } from '../core/error.ts'
import type { Reply } from '../core/reply.ts'
import { Dials } from './dials.ts'
import type { DnsAnswer, MxRecord } from './dns-wire.ts'
import type { Hosts } from './hosts.ts'
import { isReserved } from './reserved.ts'
import type { MxRoute, RouteResolver } from './resolver.ts'
import { type Patience, Session } from './session.ts'
import type { Stop } from './stop.ts'
import type { StsMode, StsPolicies } from './sts.ts'
import { stricter, type TlsLevel } from './tls.ts'

export interface ConnectSettings {
  readonly name: string
  readonly port: number
  readonly localIPv4: string | undefined
  readonly localIPv6: string | undefined
  readonly family: 'ipv4-first' | 'ipv6-first' | 'ipv4' | 'ipv6'
  readonly allowLocal: boolean
  readonly connectMs: number
  readonly patience: Patience
  readonly tlsOptions: ConnectionOptions
  /** Ask for TLS where it is offered. */
  readonly tlsAttempt: boolean
  readonly dane: boolean
}

/** A session, or why there is none, with what was said on the way. */
export type Opened =
  | { readonly session: Session; readonly lines: readonly string[] }
  | { readonly session: undefined; readonly reply: Reply; readonly lines: readonly string[] }

export interface OpenWish {
  readonly route: MxRoute
  readonly need: TlsLevel
  readonly sts: StsMode
  /** Addresses not to be asked again for this message; those that refuse are added. */
  readonly tried: Set<string>
  readonly stop: Stop | undefined
  /** Whether it may still begin, after it has waited. */
  readonly mayBegin: () => boolean
  /** Gives the socket it may open to others until the promise resolves, and has one again when this does. */
  readonly standAside: (until: Promise<void>) => Promise<void>
  readonly onClosed: () => void
}

/** Addresses asked for one message: a domain with hundreds of dead ones must not keep a slot for hours. */
const MAX_TRIED = 10

/** The one certificate usage that mx-connect can check: it never sees the chain that usage 2 is about. */
const DANE_EE = 3

type Connect = (options: mxConnect.Options) => Promise<mxConnect.Connection>

export class Connector {
  readonly #settings: ConnectSettings
  readonly #clock: Clock
  readonly #resolver: RouteResolver
  readonly #hosts: Hosts
  readonly #policies: StsPolicies
  readonly #dials: Dials
  #connect: Promise<Connect> | undefined

  constructor(
    settings: ConnectSettings,
    parts: { clock: Clock; resolver: RouteResolver; hosts: Hosts; policies: StsPolicies },
  ) {
    this.#settings = settings
    this.#clock = parts.clock
    this.#resolver = parts.resolver
    this.#hosts = parts.hosts
    this.#policies = parts.policies
    this.#dials = new Dials(parts.clock)
  }

  /** Addresses that are being connected to. */
  get dialing(): number {
    return this.#dials.size
  }

  /** Asks host after host until one takes a session. */
  async open(wish: OpenWish): Promise<Opened> {
    const search = new Search(wish, this.#shuffled(this.#connectable(wish.route.hosts)))
    // those that rest come last: they are asked all the same before the message is given up
    for (const skipped of [this.#hosts.restingAddresses(), []]) {
      for (;;) {
        const connection = await this.#next(search, [...wish.tried, ...skipped])
        if (search.crowded !== undefined) {
          this.#passOver(search, search.crowded)
          continue
        }
        if (!connection) break
        const session = await this.#introduce(search, connection)
        if (session) return { session, lines: [...search.lines, ...session.opening] }
        if (wish.stop?.aborted) break
      }
      if (skipped.length === 0 || wish.stop?.aborted) break
    }
    return { session: undefined, reply: search.outcome(), lines: search.lines }
  }

  /** Whether to connect to this address: when not too many others are doing so, and as long as that is worth waiting for. */
  async #takeTurn(search: Search, address: string): Promise<boolean> {
    const { wish } = search
    for (;;) {
      if (wish.stop?.aborted || wish.tried.size >= MAX_TRIED || !wish.mayBegin()) return false
      if (!this.#dials.isBusy(address)) {
        search.dialing = address
        this.#dials.begin(address)
        return true
      }
      if (this.#hosts.resting(address) || this.#dials.isSlow(address)) {
        search.crowded = address
        return false
      }
      await wish.standAside(this.#dials.wait(address))
    }
  }

  /** Others are connecting to this address, and it does not answer: what they know of it is enough. */
  #passOver(search: Search, address: string): void {
    const text = `others are connecting to ${address}, and have not been answered`
    const reply = this.#hosts.resting(address) ?? { text, phase: 'greeting', errno: 'ETIMEDOUT' }
    search.refused({ ...reply, ...search.where(address) })
    search.lines.push(`* ${text}`)
    search.wish.tried.add(address)
  }

  async #next(search: Search, ignored: readonly string[]): Promise<mxConnect.Connection | undefined> {
    const { wish } = search
    const connect = await this.#load()
    search.crowded = undefined
    try {
      const connection = await connect({
        ...this.#options(wish.route.domain, search),
        mx: search.hosts,
        ignoreMXHosts: ignored,
        mtaSts: { enabled: wish.sts !== 'none', cache: this.#policies.cache },
        dane: { enabled: this.#settings.dane, resolveTlsa: (name) => this.#tlsa(search, name) },
        connectHook: (_delivery, { host }, callback) => {
          this.#takeTurn(search, host).then((isOurs) => {
            // an error ends the search: nobody waits any more, enough have been asked, or others ask in vain
            callback(isOurs ? undefined : new Error('no further host is asked'))
          })
        },
        connectError: (error, _delivery, { host }) => {
          const reply = search.refusal(error, host)
          search.refused(reply)
          search.lines.push(`* ${reply.text}`)
          if (host === undefined) return
          wish.tried.add(host)
          if (error.category === 'network') this.#hosts.refused(host, reply)
          this.#failed(search)
        },
      })
      if (search.dialing !== undefined) this.#dials.end(search.dialing)
      search.dialing = undefined
      return connection
    } catch (error) {
      this.#failed(search)
      if (!(error instanceof Error)) throw error
      if (search.crowded !== undefined) return undefined
      // mx-connect repeats the first host's error, and has one of its own when nobody was left to ask
      if (!search.isRefused) search.unresolved(search.refusal(error as mxConnect.Failure))
      return undefined
    }
  }

  #failed(search: Search): void {
    if (search.dialing !== undefined) this.#dials.fail(search.dialing)
    search.dialing = undefined
  }

  async #introduce(search: Search, connection: mxConnect.Connection): Promise<Session | undefined> {
    const { wish } = search
    const { host: address, hostname, socket, daneVerifier } = connection
    if (wish.stop?.aborted) {
      socket.destroy()
      return undefined
    }
    const dane = daneVerifier ? 'verified' : search.unverifiable.has(hostname) ? 'encrypted' : 'none'
    const need = stricter(wish.need, dane)
    const { name, patience, tlsOptions, tlsAttempt } = this.#settings
    const session = new Session({
      clock: this.#clock,
      socket,
      host: hostname,
      address,
      name,
      patience,
      tls: {
        need,
        attempt: tlsAttempt && !this.#hosts.isPlain(hostname, address),
        options: tlsOptions,
        dane: daneVerifier,
      },
      onClosed: () => {
        if (opened) wish.onClosed()
      },
    })
    let opened = false
    if (wish.stop) wish.stop.act = () => session.abort('aborted')
    const refusal = await session.open()
    if (wish.stop) wish.stop.act = undefined
    if (!refusal) {
      opened = true
      this.#hosts.accepted(address)
      return session
    }
    search.lines.push(...session.opening)
    if (refusal.errno === 'ETLS' && need === 'none' && !this.#hosts.isPlain(hostname, address)) {
      // opportunistic: the same host once more, without
      this.#hosts.tlsFailed(hostname, address)
      return undefined
    }
    search.refused(refusal)
    wish.tried.add(address)
    // what a domain's policy makes of a certificate says nothing of the host
    if (!wish.stop?.aborted && refusal.errno !== 'ETLS') this.#hosts.refused(address, refusal)
    return undefined
  }

  /** RFC 5321 §5.1: equal preferences in random order, so that the load spreads. */
  #shuffled(hosts: readonly MxRecord[]): MxRecord[] {
    return hosts
      .map((host) => ({ host, order: this.#clock.random() }))
      .sort((a, b) => a.host.priority - b.host.priority || a.order - b.order)
      .map(({ host }) => host)
  }

  #options(domain: string, search: Search | undefined) {
    const { port, connectMs, localIPv4, localIPv6, family } = this.#settings
    return {
      target: domain,
      port,
      maxConnectTime: connectMs,
      localAddressIPv4: localIPv4,
      localAddressIPv6: localIPv6,
      dnsOptions: {
        ignoreIPv6: family === 'ipv4',
        preferIPv6: family === 'ipv6-first',
        resolve: this.#resolveFor(search),
      },
    }
  }

  /** mx-connect's look-ups, answered from our memory and without what must not be connected to. */
  #resolveFor(search: Search | undefined): mxConnect.Resolve {
    return (name: string, type: unknown, callback?: unknown) => {
      const done = (callback ?? type) as (error: Error | null, records?: readonly unknown[]) => void
      const kind = typeof type === 'string' ? type : 'A'
      this.#records(name, kind, search).then(
        (records) => done(null, records),
        (error) => done(error),
      )
    }
  }

  async #records(name: string, type: string, search: Search | undefined): Promise<readonly unknown[]> {
    if (type === 'TXT') return this.#policies.record(name)
    if (type !== 'A' && type !== 'AAAA') throw dnsError('ENODATA', name)
    if (type === 'A' && this.#settings.family === 'ipv6') throw dnsError('ENODATA', name)
    const addresses = recordsOf(await this.#resolver.lookup(name, type), name)
    return addresses.filter((address) => {
      const allowed = this.#allows(address)
      if (allowed) search?.found(name, address)
      else search?.blocked(name, address)
      return allowed
    })
  }

  #allows(address: string): boolean {
    return mayConnect(this.#settings, address)
  }

  /** Without those that are given as addresses which may not be connected to; names are judged when looked up. */
  #connectable(hosts: readonly MxRecord[]): readonly MxRecord[] {
    return hosts.filter(({ exchange }) => isIP(exchange) === 0 || this.#allows(exchange))
  }

  /** Whether none of the hosts may be connected to, and why not. */
  refuses(route: MxRoute): Reply | undefined {
    if (this.#connectable(route.hosts).length > 0) return undefined
    const [{ exchange } = { exchange: '' }] = route.hosts
    return { text: blockedText(route.domain, exchange), phase: 'unknown', errno: 'EDNS' }
  }

  /** TLSA records, as far as DNSSEC vouches for them and for the way to them (RFC 7672 §2.2). */
  async #tlsa(search: Search, name: string): Promise<readonly unknown[]> {
    const host = name.replace(/^_\d+\._tcp\./, '')
    const mx = await this.#resolver.lookup(search.wish.route.domain, 'MX')
    if (!mx.authentic) return []
    const [a, aaaa] = await Promise.all([
      this.#resolver.lookup(host, 'A'),
      this.#resolver.lookup(host, 'AAAA'),
    ])
    if (!a.authentic && !aaaa.authentic) return []
    const answer = await this.#resolver.lookup(name, 'TLSA')
    const records = recordsOf(answer, name)
    if (!answer.authentic) return []
    const usable = records.filter(({ certUsage }) => certUsage === DANE_EE)
    if (usable.length === 0) search.unverifiable.add(host)
    return usable.map(({ certUsage, selector, match, data }) => {
      return { usage: certUsage, selector, mtype: match, cert: data }
    })
  }

  /** Only when first needed: the package is an optional peer. */
  #load(): Promise<Connect> {
    this.#connect ??= import('mx-connect').then(
      (loaded) => loaded.default,
      (cause) => {
        const text =
          "mxTransport: expected the package mx-connect, which is not installed: run 'npm install mx-connect'"
        throw new SteadymailError('BAD_OPTION', text, { cause })
      },
    )
    return this.#connect
  }
}

/** Whether an address that somebody's DNS names may be connected to. */
export function mayConnect({ allowLocal }: Pick<ConnectSettings, 'allowLocal'>, address: string): boolean {
  return allowLocal || !isReserved(address)
}

/** One message's way through the hosts of a route. */
class Search {
  readonly wish: OpenWish
  readonly hosts: readonly MxRecord[]
  readonly lines: string[] = []
  /** Hosts whose TLSA records are none that can be checked: TLS is a must, its certificate is not (RFC 7672 §2.2). */
  readonly unverifiable = new Set<string>()
  /** The address that is being connected to. */
  dialing: string | undefined
  /** The address that enough others are connecting to. */
  crowded: string | undefined
  #refusal: Reply | undefined
  #unresolved: Reply | undefined
  #blocked: { readonly name: string; readonly address: string } | undefined
  readonly #names = new Map<string, string>()

  constructor(wish: OpenWish, hosts: readonly MxRecord[]) {
    this.wish = wish
    this.hosts = hosts
  }

  get isRefused(): boolean {
    return this.#refusal !== undefined
  }

  refused(reply: Reply): void {
    this.#refusal = telling(this.#refusal, reply)
  }

  unresolved(reply: Reply): void {
    this.#unresolved = reply
  }

  /** An MX host's address. */
  found(name: string, address: string): void {
    this.#names.set(address, name)
  }

  blocked(name: string, address: string): void {
    this.#blocked = { name, address }
  }

  /** The host at an address. */
  where(address: string): Pick<Reply, 'host' | 'address'> {
    return { host: this.#names.get(address) ?? address, address }
  }

  /** What mx-connect says of the host at this address, or of all, as a reply. */
  refusal(error: mxConnect.Failure, address?: string): Reply {
    const host =
      address === undefined ? this.wish.route.hosts[0]?.exchange : (this.#names.get(address) ?? address)
    return {
      ...replyFrom(error, this.wish.route.domain),
      ...(host !== undefined && { host }),
      ...(address !== undefined && { address }),
    }
  }

  outcome(): Reply {
    const { domain } = this.wish.route
    if (this.#refusal) return this.#refusal
    if (this.#blocked) {
      return { text: blockedText(this.#blocked.name, this.#blocked.address), phase: 'unknown', errno: 'EDNS' }
    }
    const text = `none of the MX hosts of ${domain} could be reached`
    return this.#unresolved ?? { text, phase: 'greeting', errno: 'ECONNECTION' }
  }
}

/** Of two refusals the one that says more: a server's words before a lost connection, the preferred host's first. */
export function telling(first: Reply | undefined, second: Reply): Reply {
  if (!first) return second
  return first.code === undefined && second.code !== undefined ? second : first
}

function blockedText(name: string, address: string): string {
  return `${name} has the local or reserved address ${address}, which is not connected to unless allowLocal is set`
}

function replyFrom(error: mxConnect.Failure, domain: string): Reply {
  switch (error.category) {
    case 'policy':
      return { text: error.message, phase: 'greeting', errno: 'ETLS' }
    case 'dns':
    case 'dane': {
      // RFC 5321 §5.1: an MX host without an address is an error of their DNS, which may be mended
      const text = `temporary DNS failure: no usable address for the MX hosts of ${domain} (${error.code ?? error.message})`
      return { text, phase: 'unknown', errno: 'EDNS' }
    }
    default: {
      const timedOut = /timed out/i.test(error.message)
      return {
        text: error.message,
        phase: 'greeting',
        errno: error.code ?? (timedOut ? 'ETIMEDOUT' : 'ECONNECTION'),
      }
    }
  }
}

function recordsOf<T extends DnsAnswer>(answer: T, name: string): T['records'] {
  if (answer.records.length > 0) return answer.records
  const code = { NOERROR: 'ENODATA', NXDOMAIN: 'ENOTFOUND', TIMEOUT: 'ETIMEOUT' } as Record<string, string>
  throw dnsError(code[answer.status] ?? 'ESERVFAIL', name)
}

/** An error for mx-connect to read. Without a stack, which nobody reads and which costs more than the rest of a look-up. */
function dnsError(code: string, name: string): Error {
  const error: Error = Object.create(Error.prototype)
  return Object.assign(error, { message: `${code} ${name}`, code })
}
