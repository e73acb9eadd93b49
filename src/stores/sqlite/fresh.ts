// New mail on its way to the tables. What one commit stores is one row, what is known of it and its bytes; most of it
// is accepted before any table hears of it, and then gets its last row at once (fold.ts): nothing is written to be
// changed, and no index entry to be taken out again. Only the process that delivers writes such rows, and it knows by
// heart what is in them; everybody else brings the mail to the tables first, or finds single messages here.
//
// The bytes are enciphered with a key of their row, which is overwritten when the row goes. That is what wipes them:
// to overwrite them too would be half of all that is written for such a message.

import { createCipheriv, randomBytes } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { type Delivery, deliveryOf } from '../../core/delivery.ts'
import { SteadymailError } from '../../core/error.ts'
import { FleetingMap, FleetingSet } from '../../core/fleeting.ts'
import type { Message, OnUncertain, Priority, WireOptions } from '../../core/message.ts'
import type { NewMessage } from '../store.ts'
import type { Transaction } from './commits.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import { type Head, queueKey } from './windows.ts'

/** Larger mail goes to the tables: so much is read again for one message of a row. */
export const SMALL = 64 << 10
const META = 2 << 10
/** Bytes after which a commit begins another row. */
const ROW = 256 << 10
/** Kept here at most: what a process leaves when it is killed is brought to the tables by the next one, some 50 µs each. */
const MAILS = 32_768
const BYTES = 128 << 20
/** A row whose first message has ended so long ago goes, whatever waits in it: nobody wants those bytes any more. */
const ENDED_MS = 1_000
/** What was not sent in that time is not sent soon, and makes room. */
const AGED_MS = 30_000
/** Rows whose bytes are remembered: the next messages are in them too. */
const READ = 8
const CIPHER = 'aes-256-ctr'
const KEY = 32
/** Each key is used once. */
const COUNTER = new Uint8Array(16)
/** Heads of a queue that wait no longer, and are still in line: so many at least before they are taken out. */
const STALE = 128

/** One message with its only recipient. */
export interface FreshMail extends Head {
  readonly row: number
  /** Of its row's bytes; `null` where they are as they were. */
  readonly key: Uint8Array | null
  readonly message: Message
  /** As it was stored: waiting. */
  readonly delivery: Delivery
  readonly offset: number
  readonly length: number
  /** In which it waits. */
  queue: Queue | undefined
  /** The tables have it. */
  isGone: boolean
}

interface Row {
  readonly id: number
  readonly key: Uint8Array | null
  readonly bornAt: number
  bytes: number
  readonly mails: FreshMail[]
  /** Not in the tables yet. */
  left: number
  /** In the tables by now. */
  readonly gone: number[]
  /** When the first of them was accepted or put into the tables alone. */
  endedAt?: number
}

interface Draft {
  readonly row: Row
  readonly texts: string[]
  readonly bodies: Uint8Array[]
}

interface RowText {
  readonly id: number
  readonly mail: string
  readonly key: Uint8Array | null
}

/** What waits in one queue, by due_at and id; those that wait no longer are skipped. */
interface Queue {
  readonly key: string
  heads: FreshMail[]
  waiting: number
}

export class Fresh {
  readonly #clock: Clock
  readonly #db: SqliteConnection
  readonly #insert: SqliteStatement
  readonly #insertBytes: SqliteStatement
  readonly #delete: SqliteStatement
  readonly #deleteBytes: SqliteStatement
  readonly #bytes: SqliteStatement
  readonly #any: SqliteStatement
  readonly #all: SqliteStatement
  readonly #around: SqliteStatement
  readonly #next: SqliteStatement
  readonly #naming: SqliteStatement
  readonly #rows = new FleetingMap<number, Row>()
  /** Of which the tables have everything. */
  readonly #finished = new FleetingSet<Row>()
  /** In the order in which the first of them ended. */
  readonly #ended = new FleetingSet<Row>()
  readonly #mails = new FleetingMap<number, FreshMail>()
  readonly #tickets = new FleetingMap<string, FreshMail>()
  readonly #queues = new FleetingMap<string, Queue>()
  readonly #read = new FleetingMap<number, Uint8Array>()
  /** The bytes of the row that is written: made anew each time they would be garbage that V8 counts. */
  readonly #scratch = Buffer.allocUnsafeSlow(ROW + SMALL)
  #draft: Draft | undefined
  #size = 0
  /** Whether what is remembered here is what the file has: all of it, or as much as somebody wanted. */
  #known: 'no' | 'some' | 'all' = 'no'

  constructor(db: SqliteConnection, clock: Clock) {
    this.#clock = clock
    this.#db = db
    this.#insert = db.prepare('INSERT INTO fresh_mail (id, mail, key) VALUES (?, ?, ?)')
    this.#insertBytes = db.prepare('INSERT INTO fresh_bytes (id, bytes) VALUES (?, ?)')
    this.#delete = db.prepare('DELETE FROM fresh_mail WHERE id = ?')
    this.#deleteBytes = db.prepare('DELETE FROM fresh_bytes WHERE id = ?')
    this.#bytes = db.prepare('SELECT bytes FROM fresh_bytes WHERE id = ?')
    this.#any = db.prepare('SELECT 1 AS yes FROM fresh_mail LIMIT 1')
    this.#all = db.prepare('SELECT id, mail, key FROM fresh_mail ORDER BY id')
    this.#around = db.prepare('SELECT id, mail, key FROM fresh_mail WHERE id <= ? ORDER BY id DESC LIMIT 1')
    this.#next = db.prepare('SELECT id, mail, key FROM fresh_mail WHERE id > ? ORDER BY id LIMIT 1')
    this.#naming = db.prepare('SELECT id, mail, key FROM fresh_mail WHERE instr(mail, ?)')
  }

  /** Whether all that the file has is remembered here. */
  get known(): boolean {
    return this.#known === 'all'
  }

  /** Messages that no table has. */
  get count(): number {
    return this.#mails.size
  }

  /** Whether the file has rows. */
  any(): boolean {
    return this.#draft !== undefined || this.#any.get() !== undefined
  }

  /** Whether this is where a new message belongs. */
  takes({ message, bytes, deliveries }: NewMessage): boolean {
    return (
      this.known &&
      deliveries.length === 1 &&
      deliveries[0]?.state === 'waiting' &&
      bytes.length <= SMALL &&
      (message.meta?.length ?? 0) <= META &&
      this.#mails.size < MAILS &&
      this.#size < BYTES
    )
  }

  /** The row is written with the transaction's others: `write`. */
  put(tx: Transaction, id: number, { message, bytes, deliveries }: NewMessage): void {
    const [stored] = deliveries
    if (!stored) return // `takes` saw one
    if (this.#tickets.has(message.id))
      throw new SteadymailError('STORE_FAILED', `${message.id}: there is another message of that name`)
    if (this.#draft && this.#draft.row.bytes >= ROW) this.write()
    this.#draft ??= { row: this.#row(id, newKey()), texts: [], bodies: [] }
    const { row, texts, bodies } = this.#draft
    const delivery = deliveryOf(id, stored)
    texts.push(toText(id, bytes.length, message, delivery))
    bodies.push(bytes)
    const { key, bytes: offset } = row
    const { length } = bytes
    // biome-ignore format: on one line it is short
    const mail: FreshMail = { id, due_at: delivery.dueAt, row: row.id, key, message, delivery, offset, length, queue: undefined, isGone: false }
    this.#remember(row, mail)
    row.bytes += length
    this.#size += length
    tx.pages += 1 + Math.ceil(bytes.length / 4096)
  }

  /** Writes what was put since the last time. */
  write(): void {
    const draft = this.#draft
    if (!draft) return
    this.#draft = undefined
    const { row, texts, bodies } = draft
    let at = 0
    for (const bytes of bodies) {
      this.#scratch.set(bytes, at)
      at += bytes.length
    }
    this.#insert.run(row.id, `[${texts.join()}]`, row.key)
    this.#insertBytes.run(row.id, cipher(this.#scratch.subarray(0, at), row.key))
  }

  #row(id: number, key: Uint8Array | null): Row {
    const row: Row = { id, key, bornAt: this.#clock.monotonic(), bytes: 0, mails: [], left: 0, gone: [] }
    this.#rows.set(id, row)
    return row
  }

  #remember(row: Row, mail: FreshMail): void {
    row.mails.push(mail)
    row.left++
    this.#mails.set(mail.id, mail)
    this.#tickets.set(mail.message.id, mail)
    this.#line(mail)
  }

  #line(mail: FreshMail): void {
    const key = queueKey(mail.delivery)
    let queue = this.#queues.get(key)
    if (!queue) {
      queue = { key, heads: [], waiting: 0 }
      this.#queues.set(key, queue)
    }
    mail.queue = queue
    queue.waiting++
    const { heads } = queue
    const { due_at: dueAt } = mail
    let place = heads.length
    if (place === 0 || (heads[place - 1] as FreshMail).due_at <= dueAt) {
      heads.push(mail)
      return
    }
    // ids only grow: behind all that are due no later
    let low = 0
    while (low < place) {
      const middle = (low + place) >> 1
      if ((heads[middle] as FreshMail).due_at > dueAt) place = middle
      else low = middle + 1
    }
    heads.splice(place, 0, mail)
  }

  /** The first `limit` that wait in a queue. */
  heads(key: string, limit: number): Head[] {
    const queue = this.#queues.get(key)
    if (!queue) return []
    const { heads } = queue
    const found: Head[] = []
    let past = 0
    for (const mail of heads) {
      if (waits(mail)) {
        if (found.push(mail) >= limit) break
      } else if (found.length === 0) past++
    }
    if (past > 0) heads.splice(0, past)
    return found
  }

  /** How many of a queue are in line, those included that wait no longer. */
  length(key: string): number {
    return this.#queues.get(key)?.heads.length ?? 0
  }

  get(id: number): FreshMail | undefined {
    return this.#mails.get(id)
  }

  /** One that waits; from now on it does not. */
  take(id: number): FreshMail | undefined {
    const mail = this.#mails.get(id)
    if (!mail?.queue) return undefined
    this.#unline(mail)
    return mail
  }

  #unline(mail: FreshMail): void {
    const { queue } = mail
    if (!queue) return
    mail.queue = undefined
    if (--queue.waiting === 0) this.#queues.delete(queue.key)
    else if (queue.heads.length > STALE + 2 * queue.waiting) queue.heads = queue.heads.filter(waits)
  }

  /** It was accepted, or lives on elsewhere: its bytes are not to stay here. */
  ended(id: number): void {
    const mail = this.#mails.get(id)
    const row = mail && this.#rows.get(mail.row)
    if (!row || row.endedAt !== undefined) return
    row.endedAt = this.#clock.monotonic()
    this.#ended.add(row)
  }

  /** The tables have it. */
  gone(mail: FreshMail): void {
    const row = this.#rows.get(mail.row)
    this.#unline(mail)
    this.#mails.delete(mail.id)
    this.#tickets.delete(mail.message.id)
    if (!row || mail.isGone) return
    mail.isGone = true
    row.gone.push(mail.id)
    if (--row.left === 0) this.#finished.add(row)
  }

  /** Deletes the rows of which the tables have everything; the ids that were in them. */
  sweepOut(tx: Transaction): number[] {
    const ids: number[] = []
    if (this.#finished.size === 0) return ids
    for (const row of this.#finished) {
      this.#delete.run(row.id)
      if (row.key === null) this.#deleteBytes.run(row.id)
      tx.pages += 3
    }
    this.#letGo()
    for (const row of this.#finished) {
      this.#rows.delete(row.id)
      this.#ended.delete(row)
      this.#read.delete(row.id)
      this.#size -= row.bytes
      for (const id of row.gone) ids.push(id)
    }
    this.#finished.clear()
    return ids
  }

  /** Bytes whose key is gone are not overwritten page by page. */
  #letGo(): void {
    this.#db.exec('PRAGMA secure_delete = FAST')
    try {
      for (const { id, key } of this.#finished) if (key !== null) this.#deleteBytes.run(id)
    } finally {
      this.#db.exec('PRAGMA secure_delete = ON')
    }
  }

  /** @throws when its row is gone: then somebody else has brought it to the tables */
  bytes(mail: FreshMail): Uint8Array {
    const bytes = this.bytesIfThere(mail)
    if (!bytes)
      throw new SteadymailError('STORE_FAILED', `${mail.message.id}: its bytes are elsewhere by now`)
    return bytes
  }

  bytesIfThere({ row, key, offset, length }: FreshMail): Uint8Array | undefined {
    let bytes = this.#read.get(row)
    if (!bytes) {
      this.write() // it may be in the draft
      const found = this.#bytes.get(row) as { bytes: Uint8Array } | undefined
      if (!found) return undefined
      bytes = cipher(found.bytes, key)
      for (const oldest of this.#read.keys()) {
        if (this.#read.size < READ) break
        this.#read.delete(oldest)
      }
      this.#read.set(row, bytes)
    }
    return bytes.subarray(offset, offset + length)
  }

  /** The oldest that are still here. */
  first(most: number): FreshMail[] {
    const found: FreshMail[] = []
    for (const { mails } of this.#rows.values()) {
      if (found.length >= most) break
      found.push(...mails.filter(isHere))
    }
    return found.slice(0, most)
  }

  /** What must not stay, or has stayed long enough. */
  overdue(most: number): FreshMail[] {
    const now = this.#clock.monotonic()
    const found: FreshMail[] = []
    for (const row of this.#ended) {
      if (found.length >= most || now - (row.endedAt ?? now) < ENDED_MS) break
      found.push(...row.mails.filter(isHere))
    }
    for (const row of this.#rows.values()) {
      if (found.length >= most || now - row.bornAt < AGED_MS) break
      if (!this.#ended.has(row)) found.push(...row.mails.filter(isHere))
    }
    return found.slice(0, most)
  }

  /** In how many ms something will be overdue; `undefined` when there is nothing. */
  overdueIn(): number | undefined {
    const now = this.#clock.monotonic()
    const [ended] = this.#ended
    let at = ended?.endedAt === undefined ? Number.POSITIVE_INFINITY : ended.endedAt + ENDED_MS
    for (const row of this.#rows.values()) {
      if (this.#ended.has(row)) continue
      at = Math.min(at, row.bornAt + AGED_MS)
      break
    }
    return at === Number.POSITIVE_INFINITY ? undefined : Math.max(0, at - now)
  }

  /** Whether the time of any of them has passed. */
  anyExpired(now: number): boolean {
    for (const { delivery } of this.#mails.values()) if (delivery.expiresAt <= now) return true
    return false
  }

  /** Of what is remembered. */
  named(ticket: string): FreshMail | undefined {
    return this.#tickets.get(ticket)
  }

  /** By a look into the file. @param gone what the tables have of it */
  find(ticket: string, gone: ReadonlySet<number>): FreshMail | undefined {
    for (const row of this.#naming.all(`[${JSON.stringify(ticket)},`) as RowText[])
      for (const mail of fromText(row)) if (mail.message.id === ticket && !gone.has(mail.id)) return mail
    return undefined
  }

  /**
   * Remembers what the file has: all of it, or the rows of `ids` and as many more as have `most` messages.
   * @param gone what the tables have of it
   */
  load(gone: ReadonlySet<number>, part?: { readonly ids: Iterable<number>; readonly most: number }): void {
    this.forget()
    this.#known = part ? 'some' : 'all'
    if (!part) {
      for (const row of this.#all.all() as RowText[]) this.#take(row, gone)
      return
    }
    let after = -1
    for (;;) {
      const row = this.#next.get(after) as RowText | undefined
      if (!row) {
        this.#known = 'all' // there was no more
        return
      }
      if (this.#mails.size >= part.most) break
      this.#take(row, gone)
      after = row.id
    }
    for (const id of part.ids) {
      if (id <= after || this.#mails.has(id)) continue
      const row = this.#around.get(id) as RowText | undefined
      if (row && !this.#rows.has(row.id)) this.#take(row, gone)
    }
  }

  #take(text: RowText, gone: ReadonlySet<number>): void {
    const row = this.#row(text.id, text.key)
    for (const mail of fromText(text)) {
      row.bytes += mail.length
      if (gone.has(mail.id)) row.gone.push(mail.id)
      else this.#remember(row, mail)
    }
    this.#size += row.bytes
    if (row.left === 0) this.#finished.add(row)
  }

  /** What is remembered may not be what is in the file. */
  forget(): void {
    this.#draft = undefined
    this.#rows.clear()
    this.#finished.clear()
    this.#ended.clear()
    this.#mails.clear()
    this.#tickets.clear()
    this.#queues.clear()
    this.#read.clear()
    this.#size = 0
    this.#known = 'no'
  }
}

function waits({ queue }: FreshMail): boolean {
  return queue !== undefined
}

function isHere({ isGone }: FreshMail): boolean {
  return !isGone
}

/** Drawn many at a time: each call of the system's generator costs as much as writing a message. */
const KEYS = 64
let keys: Buffer = Buffer.alloc(0)

function newKey(): Uint8Array {
  if (keys.length === 0) keys = randomBytes(KEYS * KEY)
  const key = keys.subarray(0, KEY)
  keys = keys.subarray(KEY)
  return key
}

/** Back and forth. */
function cipher(bytes: Uint8Array, key: Uint8Array | null): Uint8Array {
  return key === null ? bytes : createCipheriv(CIPHER, key, COUNTER).update(bytes)
}

/** One mail as it is in the file: its message, by whose name it is searched for, then its delivery. Where its bytes begin is told by those before it. */
type MailJson = readonly [
  ...of: readonly [ticket: string, id: number, length: number],
  ...names: readonly [key: string | null, messageId: string, from: string, fromDomain: string],
  ...facts: readonly [size: number, priority: Priority, createdAt: number, expiresAt: number],
  ...wishes: readonly [onUncertain: OnUncertain | null, wire: WireOptions | null, meta: string | null],
  ...queue: readonly [lane: string, sender: string, rank: Priority, dueAt: number, until: number],
  ...to: readonly [address: string, domain: string, since: number],
  ...tried: readonly [attempts: number, tries: number, uncounted: number, uncertain: number, crashes: number],
]

function toText(id: number, length: number, m: Message, d: Delivery): string {
  let wire: WireOptions | null = null // the usual case: nothing
  for (const _ in m.wire) wire = m.wire
  // biome-ignore format: as the type has them
  return JSON.stringify([
    m.id, id, length,
    m.key ?? null, m.messageId, m.from, m.fromDomain,
    m.size, m.priority, m.createdAt, m.expiresAt,
    m.onUncertain ?? null, wire, m.meta ?? null,
    d.lane, d.sender, d.priority, d.dueAt, d.expiresAt,
    d.address, d.domain, d.createdAt,
    d.attempts, d.tries, d.uncounted, d.uncertain, d.crashes,
  ] satisfies MailJson)
}

function* fromText({ id: row, mail, key: ofRow }: RowText): Iterable<FreshMail> {
  let offset = 0
  for (const f of JSON.parse(mail) as MailJson[]) {
    const message: { -readonly [K in keyof Message]: Message[K] } = {
      id: f[0],
      messageId: f[4],
      from: f[5],
      fromDomain: f[6],
      size: f[7],
      priority: f[8],
      createdAt: f[9],
      expiresAt: f[10],
      recipients: 1,
      wire: f[12] ?? {},
    }
    if (f[3] !== null) message.key = f[3]
    if (f[11] !== null) message.onUncertain = f[11]
    if (f[13] !== null) message.meta = f[13]
    const delivery: Delivery = {
      id: f[1],
      ticket: f[0],
      address: f[19],
      domain: f[20],
      lane: f[14],
      sender: f[15],
      priority: f[16],
      state: 'waiting',
      attempts: f[22],
      tries: f[23],
      uncounted: f[24],
      uncertain: f[25],
      crashes: f[26],
      dueAt: f[17],
      expiresAt: f[18],
      createdAt: f[21],
    }
    const [, id, length] = f
    const facts = { id, due_at: delivery.dueAt, row, key: ofRow, message, delivery, offset, length }
    yield { ...facts, queue: undefined, isGone: false }
    offset += f[2]
  }
}
