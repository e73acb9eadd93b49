// One mail: split by who takes its recipients' mail, one conversation for each, the answers put together.
// Not here: the conversation (converse.ts), nodemailer's form of the answer (info.ts).

import { isAscii } from 'node:buffer'
import { domainOf } from '../address.ts'
import type { Clock } from '../clock.ts'
import type { Phase, Reply } from '../core/reply.ts'
import type { Connector } from './connect.ts'
import type { Conversation, Parcel } from './converse.ts'
import type { Said, Transaction } from './exchange.ts'
import type { MxSettings } from './options.ts'
import type { LaneWish } from './pool.ts'
import type { MxRoute, RouteResolver } from './resolver.ts'
import { Stop } from './stop.ts'
import type { StsMode, StsPolicies } from './sts.ts'
import { stricter } from './tls.ts'
import { type Dsn, fitsOnWire, readDsn } from './wire.ts'

/** What the transport reads of a mail; `takeBody` and `bodyFacts` only come with steadymail's own. */
export interface Mail {
  readonly data: {
    readonly steadymail?: unknown
    readonly signal?: AbortSignal
    readonly dsn?: unknown
    readonly requireTLSExtensionEnabled?: boolean
  }
  readonly message: {
    getEnvelope(): { readonly from?: string | false; readonly to: readonly string[] }
    messageId(): string
    createReadStream(): AsyncIterable<Uint8Array>
    takeBody?(): Uint8Array | Promise<Uint8Array>
    mayBegin?(): boolean
    bodyFacts?(): { readonly size: number; readonly eightBit: boolean }
  }
}

export interface PostParts {
  readonly clock: Clock
  readonly resolver: RouteResolver
  readonly connector: Connector
  readonly policies: StsPolicies
  readonly converse: (parcel: Parcel) => Promise<Conversation>
}

/** Recipients that can share a transaction, as they go on the wire. */
interface Part {
  readonly route: MxRoute
  readonly sts: StsMode
  readonly to: string[]
}

export class Post {
  isClosed = false
  readonly #settings: MxSettings
  readonly #parts: PostParts

  constructor(settings: MxSettings, parts: PostParts) {
    this.#settings = settings
    this.#parts = parts
  }

  /** What servers and the DNS say are answers; rejects only when the mail cannot be read. */
  async deliver(mail: Mail): Promise<Conversation> {
    const { from, to } = mail.message.getEnvelope()
    const sender = onWire(from || '')
    const dsn = readDsn(mail.data.dsn)
    const misuse = this.#misuse(sender, to, dsn)
    if (misuse || typeof dsn === 'string') return refused(to, misuse ?? { text: String(dsn) })
    const body = ownContents(mail) ?? (await foreignContents(mail))
    const spelled = to.map(onWire)
    // everything known beforehand goes without a pause; look-ups happen once per domain and TTL
    const parts = new Map<string, Part>()
    const lost: Conversation[] = []
    for (const [domain, addresses] of byDomain(spelled)) {
      const { resolver, connector, policies } = this.#parts
      const route = resolver.peekRoute(domain) ?? (await resolver.route(domain))
      const unreachable = route.kind === 'none' ? route.reply : connector.refuses(route)
      if (route.kind === 'none' || unreachable) {
        lost.push(refused(addresses, unreachable ?? NOWHERE))
        continue
      }
      const asked = this.#settings.mtaSts ? policies.mode(domain) : 'none'
      const sts = typeof asked === 'string' ? asked : await asked
      const key = sts === 'none' ? route.key : `${route.key} for ${domain}`
      const known = parts.get(key)
      if (known) known.to.push(...addresses)
      else parts.set(key, { route, sts, to: addresses })
    }
    const send = (part: Part) => this.#send(this.#parcel(mail, { sender, dsn, body }, part), mail.data.signal)
    const [part] = parts.values()
    if (part && parts.size === 1 && lost.length === 0) return together(to, spelled, [await send(part)])
    return together(to, spelled, [...lost, ...(await Promise.all([...parts.values()].map(send)))])
  }

  #misuse(sender: string, to: readonly string[], dsn: unknown): Said['reply'] | undefined {
    if (this.isClosed) return { text: 'the transport is closed', phase: 'unknown', errno: 'ECONNECTION' }
    if (typeof dsn === 'string') return { enhanced: '5.5.4', text: `5.5.4 ${dsn}`, phase: 'unknown' }
    const bad = fitsOnWire(sender) ? to.find((address) => !fitsOnWire(address)) : sender
    if (bad === undefined) return undefined
    return {
      enhanced: '5.1.3',
      text: `5.1.3 not an address for SMTP: ${JSON.stringify(bad)}`,
      phase: 'unknown',
    }
  }

  #parcel(mail: Mail, { sender, dsn, body }: Sealed, { route, sts, to }: Part): Parcel {
    const { need, connectionsPerHost, messagesPerConnection } = this.#settings
    const hints = hintsOf(mail.data.steadymail)
    const wanted = hints.tls === 'required' ? 'encrypted' : hints.tls === 'verified' ? 'verified' : 'none'
    return {
      route,
      sts,
      need: sts === 'enforce' ? 'verified' : stricter(need, wanted),
      connections: atMost(connectionsPerHost, hints.concurrency),
      messagesPerConnection: atMost(messagesPerConnection, hints.messagesPerConnection),
      lane: laneOf(hints),
      mayBegin: () => mail.message.mayBegin?.() ?? true,
      stop: mail.data.signal && new Stop(),
      transaction: {
        from: sender,
        to: to.length === 1 ? to : [...new Set(to)],
        size: body.size,
        eightBit: body.eightBit,
        utf8: !isPlain(sender) || !to.every(isPlain),
        requireTls: mail.data.requireTLSExtensionEnabled === true,
        dsn,
        body: body.open,
      },
    }
  }

  #send(parcel: Parcel, signal: AbortSignal | undefined): Promise<Conversation> {
    const { stop, transaction } = parcel
    if (signal?.aborted) stop?.abort()
    const talk = this.#parts.converse(parcel)
    if (!signal || !stop) return talk
    return new Promise((resolve, reject) => {
      // a session that is talking answers within the turn; who waits for one is not kept waiting
      const give = () => resolve(refused(transaction.to, { text: 'aborted', errno: 'EABORT' }))
      const aborted = () => {
        stop.abort()
        this.#parts.clock.turn(give)
      }
      signal.addEventListener('abort', aborted)
      if (signal.aborted) aborted()
      const done = () => signal.removeEventListener('abort', aborted)
      talk.then(
        (conversation) => {
          done()
          resolve(conversation)
        },
        (error) => {
          done()
          reject(error)
        },
      )
    })
  }
}

const NOWHERE = { text: 'no route' }

/** What all parts of a mail share. */
interface Sealed {
  readonly sender: string
  readonly dsn: Dsn | undefined
  readonly body: Contents
}

interface Hints {
  readonly tls?: unknown
  readonly concurrency?: unknown
  readonly messagesPerConnection?: unknown
  readonly lane?: unknown
  readonly sessions?: unknown
}

const NO_HINTS: Hints = {}

function hintsOf(given: unknown): Hints {
  return typeof given === 'object' && given !== null ? given : NO_HINTS
}

function atMost(limit: number, hint: unknown): number {
  return typeof hint === 'number' && hint >= 1 ? Math.min(limit, Math.floor(hint)) : limit
}

/** Where the engine hands messages over ahead: whose they are, and how many sessions it has for them. */
function laneOf({ lane, sessions }: Hints): LaneWish | undefined {
  if (typeof lane !== 'string' || typeof sessions !== 'number' || !(sessions >= 1)) return undefined
  return { key: lane, sessions }
}

interface Contents {
  readonly size: number
  readonly eightBit: boolean
  readonly open: Transaction['body']
}

/** steadymail's own mail: its body is behind a gate, which is asked when the server wants it. */
function ownContents({ message }: Mail): Contents | undefined {
  if (!message.takeBody || !message.bodyFacts) return undefined
  const { size, eightBit } = message.bodyFacts()
  return { size, eightBit, open: () => message.takeBody?.() ?? message.createReadStream() }
}

/** Anybody else's is read to its end first: its size and octets decide what the server is told. */
async function foreignContents({ message }: Mail): Promise<Contents> {
  const pieces: Uint8Array[] = []
  for await (const piece of message.createReadStream()) pieces.push(piece)
  const bytes = Buffer.concat(pieces)
  return { size: bytes.length, eightBit: !isAscii(bytes), open: () => bytes }
}

/** With its domain in ASCII, which needs no extension; address literals as they are. */
function onWire(address: string): string {
  if (isPlain(address)) return address
  const at = address.lastIndexOf('@')
  return at < 0 || address.endsWith(']') ? address : `${address.slice(0, at)}@${domainOf(address)}`
}

function isPlain(address: string): boolean {
  return !/[^\x00-\x7f]/.test(address)
}

function byDomain(addresses: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>()
  for (const address of addresses) {
    const domain = domainOf(address)
    const known = found.get(domain)
    if (known) known.push(address)
    else found.set(domain, [address])
  }
  return found
}

function refused(
  to: readonly string[],
  reply: Omit<Reply, 'phase'> & { readonly phase?: Phase },
): Conversation {
  const said = to.map((address): Said => {
    return { address, accepted: false, reply: { phase: 'unknown', ...reply }, uncertain: false }
  })
  return { said, chapters: [[`* ${reply.text}`]], refusal: undefined }
}

/** One answer for the whole envelope, in its order and with its spellings. */
function together(
  to: readonly string[],
  spelled: readonly string[],
  parts: readonly Conversation[],
): Conversation {
  const [first] = parts
  if (first && parts.length === 1 && to.length === 1 && to[0] === spelled[0]) return first
  const said = new Map(parts.flatMap((part) => part.said.map((one) => [one.address, one] as const)))
  return {
    // every spelling is on a stop or lost, so it was answered
    said: to.map((address, i) => ({ ...(said.get(spelled[i] as string) as Said), address })),
    chapters: parts.flatMap(({ chapters }) => chapters),
    refusal: parts.find(({ refusal }) => refusal)?.refusal,
  }
}
