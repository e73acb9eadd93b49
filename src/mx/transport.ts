// A nodemailer transport that delivers to the recipients' own servers.
// Not here: retries, pacing and holds, which wrapTransport adds; bare, it tries once.

import type { Clock } from '../clock.ts'
import type { Reply } from '../core/reply.ts'
import { Connector, mayConnect } from './connect.ts'
import { converse } from './converse.ts'
import { Hosts } from './hosts.ts'
import { checkIdentity } from './identity.ts'
import { infoFrom, type MxInfo } from './info.ts'
import type { MxSettings } from './options.ts'
import { Pool } from './pool.ts'
import { type Mail, Post } from './post.ts'
import { type MxResolver, routeResolver } from './resolver.ts'
import { StsPolicies } from './sts.ts'
import { stsSite } from './sts-site.ts'

/** What the transport says of itself, and of the domains it knows. */
export interface MxFacts extends MxResolver {
  readonly route: 'direct'
  /** How many messages it can have under way. */
  readonly maxConnections: number
  /** Messages that it makes use of beside the one on each connection. */
  readonly ahead: number
  readonly quickSignal: true
  /** Sockets open now, or being opened. */
  readonly connections: number
}

/** A nodemailer transport plugin, made to be wrapped. */
export interface MxTransport {
  readonly name: string
  readonly version: string
  readonly supportsAbortSignal: true
  readonly steadymail: MxFacts
  send(mail: never, callback: (error: Error | null, info: MxInfo) => void): void
  /** Checks name, PTR and address records against each other; what is amiss is told to `onWarning`. */
  verify(callback?: (error: Error | null, success?: true) => void): Promise<true> | undefined
  /** Ends idle sessions, and busy ones after their message. */
  close(): void
}

/** With one whose envelope is on its way and one more, a connection waits neither for a reply nor for the next message. */
const AHEAD = 2

export interface MxParts {
  readonly clock: Clock
  /** Whether a reply only asks for another connection. */
  readonly isRecycle: (reply: Reply) => boolean
}

export function makeMxTransport(settings: MxSettings, { clock, isRecycle }: MxParts): MxTransport {
  const resolver = routeResolver(settings.dns, clock, 'mxTransport.dns')
  const hosts = new Hosts(clock)
  const policies = new StsPolicies(
    clock,
    stsSite(clock, resolver, (address) => mayConnect(settings.connect, address)),
  )
  const connector = new Connector(settings.connect, { clock, resolver, hosts, policies })
  const pool = new Pool(settings.pool, clock, connector)
  const talk = { pool, hosts, isRecycle }
  const post = new Post(settings, {
    clock,
    resolver,
    connector,
    policies,
    converse: (parcel) => converse(parcel, talk),
  })
  const transport = {
    name: 'MX',
    version: '0.1.0',
    supportsAbortSignal: true as const,
    steadymail: {
      route: 'direct' as const,
      maxConnections: settings.pool.maxConnections,
      ahead: AHEAD,
      quickSignal: true as const,
      get connections() {
        return pool.open
      },
      resolve: resolver.resolve,
      peek: resolver.peek,
    },
    send(mail: Mail, callback: (error: Error | null, info?: MxInfo) => void): void {
      const answered = post.deliver(mail).then((conversation) => infoFrom(mail, conversation))
      answered.then((info) => callback(null, info), callback)
    },
    verify(callback?: (error: Error | null, success?: true) => void) {
      const verified = checkIdentity(settings.connect, resolver).then((warnings): true => {
        for (const warning of warnings) settings.warn(warning)
        return true
      })
      if (callback === undefined) return verified
      verified.then((ok) => callback(null, ok), callback)
      return undefined
    },
    close() {
      post.isClosed = true
      pool.close()
    },
  }
  return transport as unknown as MxTransport
}
