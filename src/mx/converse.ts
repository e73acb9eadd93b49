// One message's recipients on one route: a session, a transaction, and the next MX host while none has been
// given the body (RFC 5321 §5.1). A session that turns out to be closed costs the message nothing.
// Not here: several routes (transport.ts), sessions (pool.ts).

import type { Reply } from '../core/reply.ts'
import { telling } from './connect.ts'
import type { Exchange, ExchangeResult, Said, Transaction } from './exchange.ts'
import type { Hosts } from './hosts.ts'
import { HELD, type LaneWish, type Pool } from './pool.ts'
import type { MxRoute } from './resolver.ts'
import type { Follower, Session } from './session.ts'
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
  readonly lane: LaneWish | undefined
  /** Whether it may still begin, after it has waited. */
  readonly mayBegin: () => boolean
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
  const { route, need, sts, connections, lane, mayBegin, stop } = parcel
  const chapters: (readonly string[])[] = []
  const tried = new Set<string>()
  const most = (session: Session) =>
    Math.min(parcel.messagesPerConnection, hosts.limit(session.host) ?? Number.POSITIVE_INFINITY)
  const next = (session: Session) => {
    const goesOn = session.messages + 1 < most(session) && session.errors < MAX_ERRORS
    return goesOn && !hosts.isApart(session.host) ? pool.follower(session) : undefined
  }
  let { transaction } = parcel
  let earlier: readonly Said[] = []
  let refusal: Reply | undefined
  let fresh = false
  let follows = true
  for (;;) {
    const wish = {
      route,
      need,
      sts,
      connections,
      lane,
      stop,
      tried,
      fresh,
      transaction,
      next,
      follows,
      mayBegin,
    }
    const asked = pool.lease(wish)
    const lease = asked instanceof Promise ? await asked : asked
    chapters.push(lease.lines)
    if (!lease.session) {
      const said = [...earlier, ...all(transaction.to, telling(refusal, lease.reply))]
      return { said, chapters, refusal: undefined }
    }
    if (asked instanceof Promise && !lease.begun && !stop?.aborted && !mayBegin()) {
      pool.release(lease.session, false)
      const said = [...earlier, ...all(transaction.to, HELD)]
      return { said, chapters, refusal: undefined }
    }
    const { session, reused, begun } = lease
    const answer = begun ? watched(session, begun, stop) : transact(session, transaction, next, stop)
    const result = answer instanceof Promise ? await answer : answer
    if (stop) stop.act = undefined
    chapters.push(result.lines)
    learn(session, result, parts)
    if (!result.passedOn) {
      pool.release(session, session.messages >= most(session) || session.errors >= MAX_ERRORS)
    }
    const { ended } = result
    const said = earlier.length === 0 ? result.said : [...earlier, ...result.said]
    if (!ended || result.unanswered.length === 0) return { said, chapters, refusal: result.refusal }
    if (stop?.aborted)
      return { said: [...said, ...all(result.unanswered, ended)], chapters, refusal: undefined }
    earlier = said
    if (result.unanswered.length < transaction.to.length)
      transaction = { ...transaction, to: result.unanswered }
    if (reused && !fresh && !result.heard) {
      // it had been closed while it waited, or says so now: what a new one hears is what counts; where it ended
      // with the message before, any other that is free will do
      if (!begun) fresh = true
      else if (ended.errno === 'ETIMEDOUT' || ended.errno === 'EPROTOCOL') hosts.deaf(session.host)
      follows = false
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
  next: Follower['next'],
  stop: Stop | undefined,
): ExchangeResult | Promise<ExchangeResult> {
  const unable = session.unable(transaction)
  if (unable) return unsent(all(transaction.to, unable), [`* ${unable.text}`])
  if (stop?.aborted) {
    return unsent(
      all(transaction.to, { text: 'aborted', phase: 'mail', host: session.host, errno: 'EABORT' }),
      [],
    )
  }
  return watched(session, session.deliver(transaction, next), stop)
}

function watched(session: Session, exchange: Exchange, stop: Stop | undefined): Promise<ExchangeResult> {
  if (stop) {
    stop.act = () => session.giveUp(exchange, 'aborted')
    if (stop.aborted) stop.act()
  }
  return exchange.result
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
    passedOn: false,
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
