// How a message and its deliveries become rows: new ones, and ones that have ended before any table heard of them.

import type { Delivery } from '../../core/delivery.ts'
import type { Message } from '../../core/message.ts'
import type { NewDelivery, NewMessage } from '../store.ts'
import type { SqliteConnection, SqliteStatement } from './driver.ts'
import { stateCode, sweepAt, wireText } from './rows.ts'

/** Of a message whose last recipient has ended. */
export interface End {
  readonly at: number
  /** 1: nobody acknowledged its outcome yet. */
  readonly outcome: number
}

/** How often a delivery was tried, and how that went. */
export type Tried = Pick<Delivery, 'attempts' | 'tries' | 'uncounted' | 'uncertain' | 'crashes'>

export class Inserts {
  readonly #message: SqliteStatement
  readonly #body: SqliteStatement
  readonly #delivery: SqliteStatement

  constructor(db: SqliteConnection) {
    this.#message = db.prepare(
      `INSERT INTO message (id, ticket, key, message_id, mail_from, from_domain, size, priority, created_at, expires_at,
         recipients, on_uncertain, wire, meta, open, failed, dead, settled_at, outcome)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?)`,
    )
    this.#body = db.prepare('INSERT INTO body (id, bytes) VALUES (?, ?)')
    this.#delivery = db.prepare(
      `INSERT INTO delivery (id, message, state, claim, lane, sender, priority, due_at, expires_at, sweep_at, address,
         domain, attempts, tries, uncounted, uncertain, crashes, created_at, settled_at, reason, shared, erase, last)
       VALUES (?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, 0, ?)`,
    )
  }

  /** A new message, with its bytes and its deliveries under the ids that follow its own. */
  all(id: number, { message, bytes, deliveries }: NewMessage): void {
    this.message(id, message, deliveries.length)
    this.#body.run(id, bytes)
    for (const [at, delivery] of deliveries.entries()) this.delivery(id + at, id, delivery, deliveries.length)
  }

  /** A message with `recipients` open deliveries, or one that has ended with all of them accepted. */
  message(id: number, message: Message, recipients: number, end?: End): void {
    this.#message.run(
      id,
      message.id,
      message.key ?? null,
      message.messageId,
      message.from,
      message.fromDomain,
      message.size,
      message.priority,
      message.createdAt,
      message.expiresAt,
      recipients,
      message.onUncertain ?? null,
      wireText(message.wire),
      message.meta ?? null,
      end ? 0 : recipients,
      end ? end.at : null,
      end ? end.outcome : 0,
    )
  }

  delivery(id: number, message: number, delivery: NewDelivery, recipients: number): void {
    this.#write(
      id,
      message,
      delivery,
      stateCode[delivery.state],
      sweepAt(delivery),
      delivery,
      null,
      recipients,
      null,
    )
  }

  /** The only delivery of its message, accepted. @param record JSON */
  accepted(id: number, delivery: NewDelivery, tried: Tried, at: number, record: string): void {
    this.#write(id, id, delivery, stateCode.accepted, null, tried, at, 1, record)
  }

  #write(
    id: number,
    message: number,
    delivery: NewDelivery,
    state: number,
    sweep: number | null,
    tried: Tried,
    settledAt: number | null,
    recipients: number,
    last: string | null,
  ): void {
    this.#delivery.run(
      id,
      message,
      state,
      delivery.lane,
      delivery.sender,
      delivery.priority,
      delivery.dueAt,
      delivery.expiresAt,
      sweep,
      delivery.address,
      delivery.domain,
      tried.attempts,
      tried.tries,
      tried.uncounted,
      tried.uncertain,
      tried.crashes,
      delivery.createdAt,
      settledAt,
      recipients > 1 ? 1 : 0,
      last,
    )
  }
}
