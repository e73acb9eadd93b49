// One message's recipients on one route: a session, a transaction, and the next MX host while none has been
// given the body (RFC 5321 §5.1). A session that turns out to be closed costs the message nothing.
// Not here: several routes (transport.ts), sessions (pool.ts).

import type { Reply } from '../core/reply.ts'
import { telling } from './connect.ts'
import type { ExchangeResult, Said, Transaction } from './exchange.ts'
import type { Hosts } from './hosts.ts'
import type { Pool } from './pool.ts'
import type { MxRoute } from './resolver.ts'
import type { Session } from './session.ts'
import type { Stop } from './stop.ts'
import type { StsMode } from './sts.ts'
import type { TlsLevel } from './tls.ts'

export interface Parcel {
  readonly route: MxRoute
  readonly transaction: Transaction
  readonly need: TlsLevel
  readonly sts: StsMode
  readonly connections: number
  readonly messagesPerConnection: number
  readonly stop: Stop | undefined
}

export interface Conversation {
  readonly said: readonly Said[]
  /** What was said to whom, session by session. */
  readonly chapters: readonly (readonly string[])[]
  /** What the body's gate threw. */
  readonly refusal: { readonly error: unknown } | undefined
}

export interface ConverseParts {
  readonly pool: Pool
  readonly hosts: Hosts
  /** Whether a reply only asks for another connection. */
  readonly isRecycle: (reply: Reply) => boolean
}

/** Postfix answers ever more slowly from the eleventh refused command on (smtpd_soft_error_limit). */
const MAX_ERRORS = 8

export async function converse(parcel: Parcel, parts: ConverseParts): Promise<Conversation> {
  const { pool, hosts } = parts
  const { transaction, stop } = parcel
  const chapters: (readonly string[])[] = []
  const tried = new Set<string>()
  let earlier: readonly Said[] = []
  let pending = transaction.to
  let refusal: Reply | undefined
  let fresh = false
  for (;;) {
    const { route, need, sts, connections } = parcel
    const asked = pool.lease({ route, need, sts, connections, tried, fresh, stop })
    const lease = asked instanceof Promise ? await asked : asked
    chapters.push(lease.lines)
    if (!lease.session) {
      const said = [...earlier, ...all(pending, telling(refusal, lease.reply))]
      return { said, chapters, refusal: undefined }
    }
    const { session, reused } = lease
    const answer = transact(
      session,
      pending === transaction.to ? transaction : { ...transaction, to: pending },
      stop,
    )
    const result = answer instanceof Promise ? await answer : answer
    if (stop) stop.act = undefined
    chapters.push(result.lines)
    learn(session, result, parts)
    const learned = hosts.limit(session.host) ?? Number.POSITIVE_INFINITY
    const spent = session.messages >= Math.min(parcel.messagesPerConnection, learned)
    pool.release(session, spent || session.errors >= MAX_ERRORS)
    const { ended } = result
    const said = earlier.length === 0 ? result.said : [...earlier, ...result.said]
    if (!ended || result.unanswered.length === 0) return { said, chapters, refusal: result.refusal }
    if (stop?.aborted)
      return { said: [...said, ...all(result.unanswered, ended)], chapters, refusal: undefined }
    earlier = said
    pending = result.unanswered
    if (reused && !fresh && !result.heard) {
      // it had been closed while it waited, or says so now: what a new one hears is what counts
      fresh = true
      continue
    }
    refusal = telling(refusal, ended)
    tried.add(session.address)
    hosts.refused(session.address, ended)
  }
}

/** One transaction, or what stands in its place, ended when the message is given up. */
function transact(
  session: Session,
  transaction: Transaction,
  stop: Stop | undefined,
): ExchangeResult | Promise<ExchangeResult> {
  const unable = session.unable(transaction)
  if (unable) return unsent(all(transaction.to, unable), [`* ${unable.text}`])
  if (!stop) return session.deliver(transaction)
  if (stop.aborted) {
    return unsent(
      all(transaction.to, { text: 'aborted', phase: 'mail', host: session.host, errno: 'EABORT' }),
      [],
    )
  }
  stop.act = () => session.abort('aborted')
  return session.deliver(transaction)
}

function unsent(said: readonly Said[], lines: readonly string[]): ExchangeResult {
  return {
    said,
    unanswered: [],
    ended: undefined,
    heard: true,
    refusal: undefined,
    errors: 0,
    lines,
    after: 'ready',
  }
}

function all(to: readonly string[], reply: Reply): Said[] {
  return to.map((address) => ({ address, accepted: false, reply, uncertain: false }))
}

/** A server that ends sessions after so many messages need not be asked for one more next time. */
function learn(session: Session, result: ExchangeResult, { hosts, isRecycle }: ConverseParts): void {
  if (session.messages === 0 || (result.ended === undefined && result.said.every((one) => one.accepted)))
    return
  const replies = [result.ended, ...result.said.map((one) => one.reply)]
  if (replies.some((reply) => reply?.code !== undefined && reply.code >= 400 && isRecycle(reply))) {
    hosts.recycled(session.host, session.messages)
  }
}
