// The store that ends with the process: the same contract on plain maps and heaps.
// Here is what is stored and what changes it; what waits, in which order, is waiting.ts.

import { type AttemptRecord, copyDelivery, type Delivery } from '../core/delivery.ts'
import { SteadymailError } from '../core/error.ts'
import { FleetingMap, FleetingSet } from '../core/fleeting.ts'
import { Heap } from '../core/heap.ts'
import type { Message } from '../core/message.ts'
import {
  bytesGone,
  erasable,
  isDeadLetter,
  isFinal,
  newsOf,
  noRoom,
  ownerLost,
  recipientSet,
  withoutAddress,
  withoutRecipient,
} from './rules.ts'
import type {
  Added,
  Amendment,
  Claim,
  Claimed,
  ClaimRequest,
  Counts,
  ListFilter,
  NewMessage,
  Notice,
  QueueHead,
  Room,
  Settlement,
  Store,
  Stored,
  StoredLane,
  Turn,
  TurnResult,
} from './store.ts'
import { besides, type Held, type Mail, Waiting } from './waiting.ts'

interface Key {
  readonly ticket: string
  /** `undefined` once a recipient was erased: then any set is taken for the same. */
  recipients: string | undefined
}

const PAGE = 1000
const NONE: readonly never[] = []

/** A store that lasts as long as the process: what waits in it at exit is lost. */
export function memoryStore(): Store {
  return new MemoryStore()
}

class MemoryStore implements Store {
  readonly name = 'memory'
  readonly durable = false

  readonly #mails = new Map<string, Mail>()
  readonly #deliveries = new Map<number, Held>()
  readonly #waiting = new Waiting()
  readonly #lanes = new Map<string, string>()
  readonly #claims = new FleetingMap<number, Held[]>()
  readonly #keys = new Map<string, Key>()
  /** By moment of settling. */
  readonly #settled = { accepted: new Heap<Mail>(), failed: new Heap<Mail>() }
  // these two keep the order of insertion, which is that of settling
  readonly #endedKeys = new Map<string, number>()
  readonly #outcomes = new FleetingSet<string>()
  readonly #dueNotices = new Map<string, Extract<Notice, { kind: 'due' }>>()
  /** Tickets in order; purged ones stay as holes until they are half of it. */
  #order: string[] = []
  #notices: Notice[] = []
  readonly #counts = {
    waiting: 0,
    claimed: 0,
    parked: 0,
    accepted: 0,
    failed: 0,
    openMessages: 0,
    openBytes: 0,
  }
  #lastId = 0
  #lastFence = 0
  #owner = { name: undefined as string | undefined, fence: 0, until: 0 }

  async open(): Promise<void> {}
  async close(): Promise<void> {}

  async own(owner: string, now: number, until: number): Promise<number | undefined> {
    const held = this.#owner.name !== undefined && this.#owner.name !== owner && this.#owner.until > now
    if (held) return undefined
    this.#owner = { name: owner, fence: this.#owner.fence + 1, until }
    this.#dueNotices.clear() // the new owner reads the heads
    return this.#owner.fence
  }

  async renew(fence: number, until: number): Promise<boolean> {
    if (!this.#isOwner(fence)) return false
    this.#owner.until = until
    return true
  }

  async disown(fence: number): Promise<void> {
    if (this.#isOwner(fence)) this.#owner.name = undefined
  }

  #isOwner(fence: number): boolean {
    return this.#owner.name !== undefined && this.#owner.fence === fence
  }

  async add(added: NewMessage, room: Room | undefined, owner: number): Promise<Added> {
    const { message, bytes, deliveries } = added
    if (message.key !== undefined) {
      const known = this.#keys.get(message.key)
      if (known) {
        const same = known.recipients === undefined || known.recipients === recipientSet(added)
        return { kind: same ? 'duplicate' : 'conflict', ticket: known.ticket }
      }
    }
    const counts = this.#counts
    const full = noRoom(room, { messages: counts.openMessages, bytes: counts.openBytes }, message.size)
    if (full) throw full
    if (this.#mails.has(message.id))
      throw new SteadymailError('STORE_FAILED', `${message.id}: this ticket exists`)

    const mail: Mail = {
      message,
      held: [],
      bytes,
      open: deliveries.length,
      settledAt: undefined,
      outcome: undefined,
    }
    const ids: number[] = []
    for (const fresh of deliveries) {
      const delivery = copyDelivery(fresh as Delivery)
      delivery.id = ++this.#lastId
      const held: Held = {
        delivery,
        mail,
        queue: undefined,
        fence: 0,
        expiring: undefined,
        earlier: undefined,
        erase: false,
      }
      mail.held.push(held)
      ids.push(delivery.id)
      this.#deliveries.set(delivery.id, held)
      counts[delivery.state]++
      if (delivery.state === 'waiting') this.#waiting.add(held)
      this.#announce(undefined, delivery, owner)
    }
    this.#mails.set(message.id, mail)
    this.#sortIn(message.id)
    if (message.key !== undefined)
      this.#keys.set(message.key, { ticket: message.id, recipients: recipientSet(added) })
    counts.openMessages++
    counts.openBytes += message.size
    return { kind: 'added', ids }
  }

  async turn(turn: Turn): Promise<TurnResult> {
    if (!this.#isOwner(turn.owner)) throw ownerLost()
    const stale: number[] = []
    const ended: string[] = []
    turn.settle.forEach((settlement, index) => {
      const held = this.#deliveries.get(settlement.delivery.id)
      if (!held || held.fence === 0 || held.fence !== settlement.fence) stale.push(index)
      else if (this.#settle(held, settlement, turn)) ended.push(held.mail.message.id)
    })
    const claims = turn.claims.map((request) => this.#claim(request, turn.now))
    for (const lane of turn.lanes(claims)) {
      if (lane.state === undefined) this.#lanes.delete(lane.key)
      else this.#lanes.set(lane.key, lane.state)
    }
    return { claims, stale, ended, durable: Promise.resolve() }
  }

  async bytes(ticket: string): Promise<Uint8Array | undefined> {
    return this.#mails.get(ticket)?.bytes
  }

  async *heads(): AsyncIterable<readonly QueueHead[]> {
    const heads = this.#waiting.heads()
    for (let at = 0; at < heads.length; at += PAGE) yield heads.slice(at, at + PAGE)
  }

  async *lanes(): AsyncIterable<readonly StoredLane[]> {
    let page: StoredLane[] = []
    for (const [key, state] of this.#lanes) {
      page.push({ key, state })
      if (page.length < PAGE) continue
      yield page
      page = []
    }
    if (page.length > 0) yield page
  }

  async openClaims(): Promise<readonly Claim[]> {
    return [...this.#claims].map(([fence, held]) =>
      claimOf(
        fence,
        held.toSorted((a, b) => a.delivery.id - b.delivery.id),
      ),
    )
  }

  async claimExpired(owner: number, now: number, _until: number, limit: number): Promise<readonly Claim[]> {
    if (!this.#isOwner(owner)) throw ownerLost()
    const found = new Map<Mail, Held[]>()
    for (const held of this.#waiting.expired(now, limit)) {
      const beside = found.get(held.mail)
      if (beside) beside.push(held)
      else found.set(held.mail, [held])
    }
    return [...found.values()].map((held) => this.#take(held.sort((a, b) => a.delivery.id - b.delivery.id)))
  }

  async notices(owner: number): Promise<readonly Notice[]> {
    if (!this.#isOwner(owner)) return []
    if (this.#dueNotices.size === 0 && this.#notices.length === 0) return []
    const notices = [...this.#dueNotices.values(), ...this.#notices]
    this.#dueNotices.clear()
    this.#notices = []
    return notices
  }

  async notify(notice: Notice): Promise<void> {
    if (notice.kind === 'due') this.#noticeDue(notice)
    else this.#notices.push(notice)
  }

  async get(ticket: string): Promise<Stored | undefined> {
    const mail = this.#mails.get(ticket)
    return mail && stored(mail)
  }

  async byKey(key: string): Promise<Stored | undefined> {
    const known = this.#keys.get(key)
    return known && this.get(known.ticket)
  }

  async history(deliveryId: number): Promise<readonly AttemptRecord[]> {
    const held = this.#deliveries.get(deliveryId)
    const { last } = held?.delivery ?? {}
    return [...(held?.earlier ?? []), ...(last ? [last] : [])]
  }

  async list(filter: ListFilter): Promise<readonly Stored[]> {
    const { state, settledSince, after, limit } = filter
    const found: Stored[] = []
    for (
      let at = after === undefined ? 0 : this.#rank(after);
      at < this.#order.length && found.length < limit;
      at++
    ) {
      const ticket = this.#order[at] as string // at is in range
      const mail = this.#mails.get(ticket)
      if (!mail || ticket === after) continue
      if (settledSince !== undefined && (mail.settledAt === undefined || mail.settledAt < settledSince))
        continue
      if (state !== undefined && !mail.held.some((held) => held.delivery.state === state)) continue
      found.push(stored(mail))
    }
    return found
  }

  async counts(): Promise<Counts> {
    return { ...this.#counts }
  }

  async amend(
    ticket: string,
    change: Amendment,
    now: number,
    owner: number,
    keepOutcomes: boolean,
  ): Promise<Stored | undefined> {
    const mail = this.#mails.get(ticket)
    if (!mail) return undefined
    const free = mail.held.filter((held) => held.fence === 0)
    const written = change({ ...stored(mail), deliveries: free.map((held) => held.delivery) })
    const changes = written.flatMap((delivery) => {
      const held = free.find((one) => one.delivery.id === delivery.id)
      return held ? [{ held, delivery }] : []
    })
    if (mail.bytes === undefined && changes.some(({ delivery }) => !isFinal(delivery.state)))
      throw bytesGone(ticket)
    for (const { held, delivery } of changes) this.#put(held, delivery, { now, owner, keepOutcomes })
    return stored(mail)
  }

  async outcomes(limit: number): Promise<readonly string[]> {
    const tickets: string[] = []
    for (const ticket of this.#outcomes) {
      if (tickets.length >= limit) break
      tickets.push(ticket)
    }
    return tickets
  }

  async acknowledge(tickets: readonly string[]): Promise<void> {
    for (const ticket of tickets) this.#outcomes.delete(ticket)
  }

  async purge(
    before: { settledBefore: number; failedBefore: number; keysBefore: number },
    limit: number,
  ): Promise<number> {
    const accepted = this.#forgetOld('accepted', before.settledBefore, limit)
    const gone = accepted + this.#forgetOld('failed', before.failedBefore, limit - accepted)
    let room = limit
    for (const [key, endedAt] of this.#endedKeys) {
      if (room-- <= 0 || endedAt >= before.keysBefore) break
      this.#endedKeys.delete(key)
      this.#keys.delete(key)
    }
    return gone
  }

  async erase(
    address: string,
    now: number,
    owner: number,
    keepOutcomes: boolean,
  ): Promise<readonly string[]> {
    const wanted = erasable(address)
    const tickets = new Set<string>()
    for (const held of this.#deliveries.values()) {
      if (erasable(held.delivery.address) !== wanted) continue
      const { message } = held.mail
      tickets.add(message.id)
      const key = this.#holdsKey(message) ? this.#keys.get(message.key) : undefined
      if (key) key.recipients = undefined
      if (held.fence !== 0) held.erase = true
      else this.#blank(held, held.delivery, { now, owner, keepOutcomes })
    }
    return [...tickets]
  }

  /** Tells the owner of what somebody else made wait. */
  #announce(before: Delivery | undefined, next: Delivery, by: number): void {
    if (this.#owner.name === undefined || this.#owner.fence === by) return
    const count = newsOf(before, next)
    const { lane, sender, priority, dueAt } = next
    if (count !== undefined) this.#noticeDue({ kind: 'due', lane, sender, priority, dueAt, count })
  }

  #noticeDue(notice: Extract<Notice, { kind: 'due' }>): void {
    const key = `${notice.lane}\n${notice.sender}\n${notice.priority}`
    const known = this.#dueNotices.get(key)
    this.#dueNotices.set(
      key,
      known
        ? { ...known, dueAt: Math.min(known.dueAt, notice.dueAt), count: known.count + notice.count }
        : notice,
    )
  }

  #claim(request: ClaimRequest, now: number): Claimed {
    const queue = this.#waiting.find(request)
    if (!queue) return {}
    const first = this.#waiting.first(queue, now, request.avoid ?? NONE)
    const claim = first && this.#take(besides(first, now, Math.max(1, request.limit)))
    const nextDueAt = this.#waiting.nextDueAt(queue)
    if (claim === undefined || first?.mail.bytes === undefined)
      return { ...(claim && { claim }), ...(nextDueAt !== undefined && { nextDueAt }) }
    const { bytes } = first.mail
    return nextDueAt === undefined ? { claim, bytes } : { claim, bytes, nextDueAt }
  }

  #take(taken: readonly Held[]): Claim {
    const fence = ++this.#lastFence
    for (const held of taken) {
      held.fence = fence
      this.#waiting.leave(held)
      const delivery = copyDelivery(held.delivery)
      delivery.state = 'claimed'
      held.delivery = delivery
    }
    this.#counts.waiting -= taken.length
    this.#counts.claimed += taken.length
    this.#claims.set(fence, [...taken])
    return claimOf(fence, taken)
  }

  /** True when it was the message's last. */
  #settle(
    held: Held,
    { delivery, record }: Settlement,
    turn: Pick<Turn, 'owner' | 'now' | 'keepOutcomes'>,
  ): boolean {
    const { last } = held.delivery
    if (record && last) held.earlier = [...(held.earlier ?? []), last]
    const newest = record ?? last
    const next = delivery.last === newest || !newest ? delivery : { ...delivery, last: newest }
    return held.erase ? this.#blank(held, next, turn) : this.#put(held, next, turn)
  }

  #blank(held: Held, delivery: Delivery, turn: Pick<Turn, 'owner' | 'now' | 'keepOutcomes'>): boolean {
    const { address } = held.delivery
    held.earlier = held.earlier?.map((record) => withoutAddress(record, address))
    held.erase = false
    return this.#put(held, withoutRecipient({ ...delivery, address }, turn.now), turn)
  }

  /** Replaces a delivery and keeps every count and index true; true when its message ended by it. */
  #put(held: Held, next: Delivery, turn: Pick<Turn, 'owner' | 'now' | 'keepOutcomes'>): boolean {
    const { mail, delivery: before } = held
    if (before.state === 'waiting') this.#waiting.leave(held)
    if (held.fence !== 0 && next.state !== 'claimed') this.#release(held)
    held.delivery = next
    this.#counts[before.state]--
    this.#counts[next.state]++
    this.#announce(before, next, turn.owner)
    if (next.state === 'waiting') this.#waiting.add(held)
    this.#waiting.tidy(this.#counts.waiting + this.#counts.claimed)

    const opened = Number(isFinal(before.state)) - Number(isFinal(next.state))
    if (opened === 0) {
      if (isFinal(next.state)) this.#file(mail)
      return false
    }
    mail.open += opened
    if (mail.open === 0) this.#end(mail, turn)
    else if (mail.settledAt !== undefined) this.#reopen(mail)
    return mail.open === 0
  }

  #release(held: Held): void {
    const beside = this.#claims.get(held.fence)?.filter((one) => one !== held) ?? []
    if (beside.length > 0) this.#claims.set(held.fence, beside)
    else this.#claims.delete(held.fence)
    held.fence = 0
  }

  #end(mail: Mail, { now, keepOutcomes }: Pick<Turn, 'now' | 'keepOutcomes'>): void {
    const { message } = mail
    mail.settledAt = now
    this.#file(mail)
    this.#counts.openMessages--
    this.#counts.openBytes -= message.size
    if (this.#holdsKey(message)) this.#endedKeys.set(message.key, now)
    if (keepOutcomes) this.#outcomes.add(message.id)
  }

  /** Puts an ended message where purging finds it, and wipes its bytes unless it is a dead letter. */
  #file(mail: Mail): void {
    if (mail.settledAt === undefined) return
    if (!mail.held.some(({ delivery }) => isDeadLetter(delivery))) mail.bytes = undefined
    mail.outcome = mail.held.some(({ delivery }) => delivery.state === 'failed') ? 'failed' : 'accepted'
    this.#settled[mail.outcome].push(mail.settledAt, mail)
  }

  #reopen(mail: Mail): void {
    const { message } = mail
    mail.settledAt = undefined
    this.#counts.openMessages++
    this.#counts.openBytes += message.size
    if (this.#holdsKey(message)) this.#endedKeys.delete(message.key)
    this.#outcomes.delete(message.id)
  }

  /** A key that was purged may be another message's by now. */
  #holdsKey(message: Message): message is Message & { readonly key: string } {
    return message.key !== undefined && this.#keys.get(message.key)?.ticket === message.id
  }

  /** At most `limit` that settled before then; how many. */
  #forgetOld(outcome: 'accepted' | 'failed', before: number, limit: number): number {
    const settled = this.#settled[outcome]
    const kept: Mail[] = []
    let gone = 0
    while (gone < limit && settled.next < before) {
      const at = settled.next
      const mail = settled.pop()
      // it may have been opened again since
      if (!mail || mail.settledAt !== at || mail.outcome !== outcome || !this.#mails.has(mail.message.id))
        continue
      if (this.#outcomes.has(mail.message.id)) kept.push(mail)
      else {
        this.#forget(mail)
        gone++
      }
    }
    for (const mail of kept) settled.push(mail.settledAt ?? before, mail)
    return gone
  }

  #forget(mail: Mail): void {
    for (const { delivery } of mail.held) {
      this.#deliveries.delete(delivery.id)
      this.#counts[delivery.state]--
    }
    this.#mails.delete(mail.message.id)
    if (this.#order.length > 2 * this.#mails.size + 1024)
      this.#order = this.#order.filter((ticket) => this.#mails.has(ticket))
  }

  /** Tickets come in order but for those made in the same moment elsewhere. */
  #sortIn(ticket: string): void {
    const last = this.#order.at(-1)
    if (last === undefined || last < ticket) this.#order.push(ticket)
    else this.#order.splice(this.#rank(ticket), 0, ticket)
  }

  /** How many tickets come before this one. */
  #rank(ticket: string): number {
    let low = 0
    let high = this.#order.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#order[middle] as string) < ticket)
        low = middle + 1 // low ≤ middle < high
      else high = middle
    }
    return low
  }
}

function claimOf(fence: number, held: readonly Held[]): Claim {
  const [first] = held as readonly [Held, ...Held[]] // a claim holds at least one
  return { fence, message: first.mail.message, deliveries: held.map(({ delivery }) => delivery) }
}

function stored(mail: Mail): Stored {
  return {
    message: mail.message,
    deliveries: mail.held.map(({ delivery }) => delivery),
    ...(mail.settledAt !== undefined && { settledAt: mail.settledAt }),
  }
}
